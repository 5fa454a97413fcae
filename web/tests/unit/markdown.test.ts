// @vitest-environment happy-dom
import { beforeAll, describe, expect, test } from 'vitest';
import { heal } from '../../src/markdown/parse';
import { Prose, type ProseLabels } from '../../src/markdown/prose';
import { safeUrl } from '../../src/markdown/write';
import { ATTACKS, LONG, TEXTS } from './corpus';

const labels: ProseLabels = {
  image: (alt) => `Image: ${alt}`,
  table: 'Table',
  taskDone: 'Done',
  taskOpen: 'To do',
  copy: 'Copy',
  copyCode: 'Copy code',
  plainText: 'text',
  citation: (index) => `Source ${index}`,
  showImages: (host) => `Show images from ${host}`,
  footnotes: 'Footnotes',
  footnote: (number) => `Footnote ${number}`,
  footnoteBack: (number) => `Back to ${number}`,
  wrap: 'Wrap',
  wrapLines: 'Wrap long lines',
  showAll: (lines) => `Show all ${lines} lines`,
  showFewer: 'Show fewer',
  maySee: ({ hostname }) => hostname === 'seen.example',
};

const once = (text: string): HTMLElement => {
  const root = document.createElement('div');
  new Prose(root, labels).finish(text);
  return root;
};

/** The tree as text, with attributes in a fixed order: the order in which they were set is not a difference. */
function drawn(node: Node): string {
  if (!(node instanceof HTMLElement)) return node.nodeType === 3 ? JSON.stringify(node.nodeValue) : node.nodeName;
  const attributes = node.getAttributeNames().sort();
  const kids = [...node.childNodes].map(drawn).join('');
  return `<${node.tagName} ${attributes.map((name) => `${name}=${node.getAttribute(name)}`).join(' ')}>${kids}</>`;
}

/** A small generator with a seed, so that a failure can be run again. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

beforeAll(async () => {
  // KaTeX refuses to draw in a page without a doctype, which is what the test's document looks like.
  Object.defineProperty(document, 'compatMode', { value: 'CSS1Compat' });
  // Load the lazy parts first: then every paint is synchronous and two trees can be compared.
  await import('../../src/markdown/highlight');
  await import('../../src/markdown/tex');
  once('```js\n1\n```\n\n$x$');
  await new Promise((resolve) => setTimeout(resolve, 50));
});

describe('a streamed answer', () => {
  test('ends as the same nodes as one written at once, wherever it was cut', () => {
    for (const [seed, text] of TEXTS.entries()) {
      const whole = drawn(once(text));
      const next = random(seed + 1);
      for (let round = 0; round < 6; round++) {
        const root = document.createElement('div');
        const prose = new Prose(root, labels);
        for (let at = 0; at < text.length; ) {
          at = Math.min(text.length, at + 1 + Math.floor(next() * (round < 2 ? 3 : 40)));
          prose.write(text.slice(0, at));
        }
        prose.finish(text);
        expect(drawn(root), JSON.stringify(text)).toBe(whole);
      }
    }
  });

  test('keeps the nodes of closed blocks while the rest grows', () => {
    const root = document.createElement('div');
    const prose = new Prose(root, labels);
    const cut = LONG.indexOf('| Step');
    prose.write(LONG.slice(0, cut + 40));
    const kept = [...root.children].slice(0, -1);
    const code = root.querySelector('figure code');

    for (let at = cut + 40; at < LONG.length; at += 7) prose.write(LONG.slice(0, at));

    expect([...root.children].slice(0, kept.length)).toEqual(kept);
    expect(root.querySelector('figure code')).toBe(code);
  });

  test('starts again when the text is replaced', () => {
    const root = document.createElement('div');
    const prose = new Prose(root, labels);
    prose.write('# One\n\ntwo');
    prose.write('Other');

    expect(root.innerHTML).toBe('<p dir="auto">Other</p>');
  });
});

describe('citations', () => {
  const cited = new Set([1, 2, 12]);
  const TEXT = 'So it is [1], and also [1, 2] or 【12】.\n\n- not [3]\n- `a[1]` and [1](https://x.example)\n\n| a |\n|---|\n| b[2] |\n\n[1]: https://evil.example';

  test('are buttons where the answer has that passage, and text elsewhere', () => {
    const root = document.createElement('div');
    new Prose(root, labels, () => cited).finish(TEXT);

    expect([...root.querySelectorAll('.cite')].map((one) => one.textContent)).toEqual(['1', '1', '2', '12', '2']);
    expect(root.querySelector('.cite')!.getAttribute('aria-label')).toBe('Source 1');
    expect(root.querySelector('li')!.textContent).toBe('not [3]');
    expect(root.querySelector('code')!.textContent).toBe('a[1]');
    expect(once(TEXT).querySelector('.cite')).toBeNull();
  });

  test('never show half a mark, wherever the text is cut, and end as when written at once', () => {
    const whole = document.createElement('div');
    new Prose(whole, labels, () => cited).finish(TEXT);
    for (let at = 1; at < TEXT.length; at++) {
      const root = document.createElement('div');
      const prose = new Prose(root, labels, () => cited);
      prose.write(TEXT.slice(0, at));
      const half = /[[【]\d*[,， ]*$/.exec(root.querySelector('p')!.textContent ?? '');
      expect(half, JSON.stringify(TEXT.slice(0, at))).toBeNull();
      prose.finish(TEXT);
      expect(drawn(root)).toBe(drawn(whole));
    }
  });
});

describe('half-typed marks', () => {
  const shown = (text: string) => {
    const root = document.createElement('div');
    new Prose(root, labels).write(text);
    return root.innerHTML;
  };

  test.each([
    ['**bo', '<p dir="auto"><strong>bo</strong></p>'],
    ['a `co', '<p dir="auto">a <code>co</code></p>'],
    ['see [the', '<p dir="auto">see the</p>'],
    ['see [the](https://exa', '<p dir="auto">see the</p>'],
    ['text\n-', '<p dir="auto">text</p>'],
    ['see [^no', '<p dir="auto">see</p>'],
    ['see[^1]\n\n[^1', 'see<sup>'],
    ['see[^1]\n\n[^1]', 'see<sup>'],
    ['| a | b |', ''],
    ['| a | b |\n|--', ''],
    ['```', '<figure class="code"'],
    ['sum \\(x^2', '<p dir="auto">sum</p>'],
    ['sum $x^2', '<p dir="auto">sum</p>'],
    ['costs $5', '<p dir="auto">costs $5</p>'],
  ])('%j', (text, html) => {
    expect(shown(text).replace(/(sum|see) </, '$1<')).toContain(html);
    expect(shown(text)).not.toContain('^');
    if (html === '') expect(shown(text)).toBe('');
  });

  test('a table shows as soon as its second line is whole', () => {
    expect(shown('| a | b |\n|---|---|')).toContain('<table>');
    expect(heal('| a | b |\n| c | d |')).toContain('c');
  });
});

describe('blocks', () => {
  test('heading levels start below the message and skip none', () => {
    const levels = [...once('# 1\n#### 4\n## 2\n###### 6\n# 1').children].map((node) => node.tagName);

    expect(levels).toEqual(['H3', 'H4', 'H4', 'H5', 'H3']);
  });

  test('code has its language, a copy button and coloured spans', () => {
    const figure = once('```js\nconst a = 1;\n```').querySelector('figure')!;

    expect(figure.querySelector('figcaption span')!.textContent).toBe('js');
    expect([...figure.querySelectorAll('button')].map((one) => one.textContent)).toEqual(['Wrap', 'Copy']);
    expect(figure.dir).toBe('ltr');
    expect(figure.querySelector('code')!.textContent).toBe('const a = 1;');
    expect(figure.querySelector('.hl-keyword')!.textContent).toBe('const');
  });

  test('formulas are typeset, money is not', () => {
    const root = once('$x^2$ costs $5 and $6');

    expect(root.querySelectorAll('.katex').length).toBe(1);
    expect(root.textContent).toContain('$5 and $6');
  });

  test('tasks, tables and ordered lists', () => {
    const root = once('- [x] a\n- [ ] b\n\n3. c\n\n| a |\n|--:|\n| 1<br>2 |');

    expect(root.querySelectorAll('.task').length).toBe(2);
    expect(root.querySelector('.task.done')!.getAttribute('aria-label')).toBe('Done');
    expect(root.querySelector('ol')!.getAttribute('start')).toBe('3');
    expect(root.querySelector('td')!.className).toBe('to-right');
    expect(root.querySelector('td br')).not.toBeNull();
  });
});

describe('footnotes', () => {
  const TEXT = 'One[^b] and two[^a], one again[^b]; not this[^none].\n\n[^a]: The **first** in the source.\n[^b]: Another,\nover two lines.\n\n    And a paragraph.\n\nGoing on.\n\n[^left]: Nothing names it.';

  test('are numbered as they are named and stand at the end with a way back', () => {
    const root = once(TEXT);

    expect([...root.querySelectorAll('.note-mark')].map((one) => one.textContent)).toEqual(['1', '2', '1']);
    expect(root.querySelector('.note-mark')!.getAttribute('aria-label')).toBe('Footnote 1');
    expect(root.textContent).toContain('not this[^none].');
    const notes = [...root.lastElementChild!.querySelectorAll('li')];
    expect(notes.map((note) => note.textContent)).toEqual(['Another,\nover two lines.And a paragraph. ↩', 'The first in the source. ↩', 'Nothing names it.']);
    expect(notes[0]!.getAttribute('data-note-text')).toBe(notes[0]!.querySelector('button')!.dataset.noteBack);
    expect(root.querySelector(':scope > p + p')!.textContent).toBe('Going on.');
  });

  test('keep their numbers while the text grows, and end as when written at once', () => {
    const whole = drawn(once(TEXT));
    const root = document.createElement('div');
    const prose = new Prose(root, labels);
    for (let at = 1; at <= TEXT.length; at++) {
      prose.write(TEXT.slice(0, at));
      const numbers = [...root.querySelectorAll('.note-mark')].map((one) => one.textContent);
      expect(['1', '2', '1', '3'].slice(0, numbers.length)).toEqual(numbers);
      expect(root.querySelector('p')!.textContent).not.toMatch(/\[\^?\w*$/);
    }
    prose.finish(TEXT);
    expect(drawn(root)).toBe(whole);
  });

  test('a note that names itself, or another that names it, ends', () => {
    expect(once('x[^a]\n\n[^a]: see [^b]\n[^b]: see [^a]').querySelectorAll('li').length).toBe(2);
  });
});

describe('pictures', () => {
  test('come only from hosts that the reader allowed; others say theirs and offer it', () => {
    const root = once('![a cat](https://seen.example/cat.png) ![a dog](https://other.example/dog.png) ![x](http://seen.example.evil/x.png)');

    expect([...root.querySelectorAll('img')].map((one) => [one.src, one.alt, one.referrerPolicy])).toEqual([['https://seen.example/cat.png', 'a cat', 'no-referrer']]);
    expect([...root.querySelectorAll('a')].map((one) => one.textContent)).toEqual(['Image: a dog\u00a0other.example', 'Image: x\u00a0seen.example.evil']);
    expect([...root.querySelectorAll('button')].map((one) => [one.textContent, one.dataset.host])).toEqual([['Show images from other.example', 'other.example']]);
  });
});

describe('directions', () => {
  test('each block has its own, and what is inside takes it', () => {
    const root = once('English.\n\nعربي\n\n> עברית\n\n- a\n\n| a |\n|---|\n| b |');

    expect([...root.children].map((one) => (one as HTMLElement).dir)).toEqual(Array(5).fill('auto'));
    expect(root.querySelectorAll('[dir] [dir]').length).toBe(0);
  });
});

describe('a very long block of code', () => {
  const line = (n: number) => `value_${n} = compute(${n})  # line ${n}\n`;
  const code = Array.from({ length: 10_000 }, (_, n) => line(n)).join('');
  const TEXT = `Here:\n\n\`\`\`python\n${code}\`\`\`\n\nThat is all.`;

  test('opens folded, in chunks, coloured where it begins, and copies whole', () => {
    const figure = once(TEXT).querySelector('figure')!;

    expect(figure.classList.contains('folded')).toBe(true);
    expect(figure.querySelector('[data-fold]')!.textContent).toBe('Show all 10000 lines');
    expect(figure.querySelector('code')!.textContent).toBe(code.slice(0, -1));
    expect(figure.querySelectorAll('.chunk').length).toBeGreaterThan(30);
    expect(figure.querySelector('.hl-comment')).not.toBeNull();
    expect(figure.querySelector('.chunk .hl-comment')).toBeNull();
  });

  test('grows without being drawn anew, and is the same text', () => {
    const root = document.createElement('div');
    const prose = new Prose(root, labels);
    prose.write(TEXT.slice(0, 40_000));
    const chunk = root.querySelector('.chunk')!;
    const step = 4_096;
    for (let at = 40_000; at < TEXT.length; at += step) prose.write(TEXT.slice(0, at));
    prose.finish(TEXT);

    expect(root.querySelector('.chunk')).toBe(chunk);
    expect(root.querySelector('code')!.textContent).toBe(code.slice(0, -1));
    expect(root.querySelector('.folded')).toBeNull();
  });

  test.each(['```py\na\n\n b\n```\nafter', '~~~\n```\n~~~~\nx', '````\n```\n````', '```\r\na\r\n```\r\nb', '``` js x\n``\n`````\ny'])(
    'is shown as the lexer reads it at every cut: %j',
    (text) => {
      const root = document.createElement('div');
      const prose = new Prose(root, labels);
      for (let at = 1; at <= text.length; at++) {
        prose.write(text.slice(0, at));
        const fresh = document.createElement('div');
        new Prose(fresh, labels).write(text.slice(0, at));
        // Blank lines at its open end are no matter.
        const read = (node: Element) => [...node.children].map((one) => `${one.tagName} ${one.textContent!.trimEnd()}`);
        expect(read(root), JSON.stringify(text.slice(0, at))).toEqual(read(fresh));
      }
    },
  );
});

describe('safety', () => {
  const TAGS = new Set(
    'SUP IMG P H3 H4 H5 H6 STRONG EM DEL BLOCKQUOTE CODE BR HR A SPAN UL OL LI DIV TABLE THEAD TBODY TR TH TD FIGURE FIGCAPTION BUTTON PRE'.split(' '),
  );
  const ATTRIBUTES = new Set(
    'class href target rel title role aria-label tabindex scope start type data-copy data-wrap aria-pressed title style aria-hidden dir data-host data-note data-note-text data-note-back src alt loading decoding referrerpolicy'.split(' '),
  );

  test.each(ATTACKS)('%j', (text) => {
    const root = document.createElement('div');
    const prose = new Prose(root, labels);
    for (let at = 1; at <= text.length; at++) prose.write(text.slice(0, at));
    for (const state of ['growing', 'done']) {
      if (state === 'done') prose.finish(text);
      for (const node of root.querySelectorAll('*')) {
        if (node.closest('.katex') || node.closest('math')) {
          expect(node.getAttribute('href')).toBeNull();
          expect(node.tagName).not.toBe('IMG');
          continue;
        }
        expect(TAGS).toContain(node.tagName.toUpperCase());
        for (const name of node.getAttributeNames()) expect(ATTRIBUTES).toContain(name);
        const src = node.getAttribute('src');
        if (src !== null) expect(src).toMatch(/^https:\/\/seen\.example\//);
        const href = node.getAttribute('href');
        if (href !== null) expect(href).toMatch(/^(https?:|mailto:)/);
        if (href !== null) expect(node.getAttribute('rel')).toContain('noopener');
      }
    }
  });

  test('a link says its host when its text does not, or lies', () => {
    const host = (text: string) => once(text).querySelector('a .host')?.textContent?.trim() ?? null;

    expect(host('[docs](https://example.com/x)')).toBe('example.com');
    expect(host('https://example.com/x')).toBeNull();
    expect(host('[example.com](https://www.example.com)')).toBeNull();
    expect(host('[https://bank.example](https://evil.example)')).toBe('evil.example');
    expect(host('[bank.example.evil](https://bank.example)')).toBe('bank.example');
    expect(host('[x](https://аpple.com)')).toBe('xn--pple-43d.com');
  });

  test('addresses', () => {
    expect(safeUrl('https://a.b')?.href).toBe('https://a.b/');
    for (const bad of ['javascript:1', '/x', '#x', '//x.y', 'data:,x', 'https://u:p@x.y', '']) expect(safeUrl(bad)).toBeNull();
  });
});
