import { describe, expect, test } from 'vitest';
import { asFile, composed, keepable, sorted } from '../../src/lib/attached';
import { fit, ranked } from '../../src/lib/fuzzy';
import { gapsOf, nextGap } from '../../src/lib/gaps';
import { between, layOut, reveal } from '../../src/lib/lines';
import { pick, picked, pickTo, stopPicking, stretch } from '../../src/lib/selection';
import { aimOf, shareAt, staysOpen } from '../../src/lib/swipe';

describe('a long list', () => {
  const sizes = { head: 30, row: 20, tall: 50 };
  const rows = (n: number, from = 0) => Array.from({ length: n }, (_, i) => from + i);
  const layout = layOut([{ label: 'a', rows: rows(3) }, { label: 'b', rows: rows(997, 3) }], sizes, (row) => row % 10 === 9);

  test('stands line under line, heads and tall rows counted', () => {
    expect(layout.lines.slice(0, 4).map(({ top }) => top)).toEqual([30, 50, 70, 120]);
    expect(layout.sections).toEqual([
      { label: 'a', top: 0, height: 90, first: 0, size: 3 },
      { label: 'b', top: 90, height: layout.height - 90, first: 3, size: 997 },
    ]);
    expect(layout.height).toBe(2 * 30 + 900 * 20 + 100 * 50);
  });

  test('is drawn where one looks, and nowhere else: the same as by looking at each line', () => {
    for (let top = -40; top < layout.height + 100; top += 137) {
      const [from, to] = between(layout.lines, top, top + 300);
      const seen = layout.lines.filter((line) => line.top + line.height > top && line.top < top + 300);
      expect(layout.lines.slice(from, to)).toEqual(seen);
    }
    expect(between([], 0, 100)).toEqual([0, 0]);
  });

  test('is scrolled no further than it takes to see a line whole', () => {
    const line = { row: 0, top: 500, height: 20 };
    expect(reveal(line, 400, 300, 0)).toBeNull();
    expect(reveal(line, 510, 300, 30)).toBe(470);
    expect(reveal(line, 100, 300, 0)).toBe(220);
  });
});

describe('a few letters', () => {
  test('fit a part of a name, the beginnings of its words, and nothing by chance', () => {
    expect(fit('kyo', 'Trip to Kyoto')?.pieces).toEqual(['Trip to ', 'Kyo', 'to']);
    expect(fit('ttk', 'Trip to Kyoto')?.pieces).toEqual(['', 'T', 'rip ', 't', 'o ', 'K', 'yoto']);
    expect(fit('微积', '复习微积分')?.pieces).toEqual(['复习', '微积', '分']);
    expect(fit('bin', 'Debugging a race in asyncio')).toBeNull();
    expect(fit('xyz', 'Trip to Kyoto')).toBeNull();
    expect(fit('', 'anything')?.pieces).toEqual(['anything']);
  });

  test('rank the beginning of a word above its middle, and keep the order of equals', () => {
    const names = ['resettle', 'My settings', 'Settings', 'Chat settings', 'A set'];
    expect(ranked('set', names, (name) => name).map(({ one }) => one)).toEqual(['Settings', 'A set', 'My settings', 'Chat settings', 'resettle']);
    expect(ranked('', names, (name) => name).map(({ one }) => one)).toEqual(names);
  });

  test('are never marked in another text than the name', () => {
    for (const name of ['Straße', 'İstanbul', '😀 a b', 'plain']) for (const query of ['s', 'a', 'ab', 'st', '😀']) {
      const found = fit(query, name);
      if (found) expect(found.pieces.join('')).toBe(name);
    }
  });
});

describe('gaps', () => {
  const text = 'Dear {{ name }}, about {{what}} and {{what}}. {not} {{}} {{a\nb}}';

  test('are names in two braces', () => {
    expect(gapsOf(text).map(({ name }) => name)).toEqual(['name', 'what', 'what']);
    for (const { start, end } of gapsOf(text)) expect(text.slice(start, end)).toMatch(/^\{\{.*\}\}$/);
  });

  test('follow each other, and at the end there is none', () => {
    const [first, second, third] = gapsOf(text);
    expect(nextGap(text, 0)).toEqual(first);
    expect(nextGap(text, first!.end)).toEqual(second);
    expect(nextGap(text, third!.end)).toBeNull();
    expect(nextGap(text, third!.start, true)).toEqual(second);
    expect(nextGap(text, first!.start, true)).toBeNull();
  });
});

describe('texts that go with a message', () => {
  test('stand under their names in a fence that they cannot close', () => {
    const files = [{ id: '1', name: 'a.py', text: 'print(1)\n' }, { id: '2', name: null, text: '````\ncode\n````' }];
    expect(composed('  Explain: ', files, 'Pasted text')).toBe(
      'Explain:\n\n**a.py**\n\n```python\nprint(1)\n```\n\n**Pasted text**\n\n`````\n````\ncode\n````\n`````',
    );
    expect(composed('', [{ id: '1', name: 'b.txt', text: 'x' }], '')).toBe('**b.txt**\n\n```\nx\n```');
  });

  test('are small, and text: whatever else is a file goes elsewhere', async () => {
    const file = (name: string, ...parts: BlobPart[]) => new File(parts, name);
    const files = [file('a.md', '# A'), file('b.pdf', '%PDF'), file('c.txt', new Uint8Array([0xff, 0xfe, 0])), file('d.csv', 'x'.repeat(70_000)), file('e.json', '{}')];
    const { texts, others } = await sorted(files);
    expect(texts.map(({ name, text }) => [name, text])).toEqual([['a.md', '# A'], ['e.json', '{}']]);
    expect(others.map(({ name }) => name)).toEqual(['b.pdf', 'c.txt', 'd.csv']);
  });

  test('become documents under a name that says so', async () => {
    expect(asFile({ id: '1', name: 'a.py', text: 'x' }).name).toBe('a.py.txt');
    expect(asFile({ id: '1', name: 'a.md', text: 'x' }).name).toBe('a.md');
    expect(asFile({ id: '1', name: null, text: 'x' }).name).toMatch(/^pasted-.*\.txt$/);
    expect(await asFile({ id: '1', name: null, text: 'käse' }).text()).toBe('käse');
  });

  test('are kept with a draft as long as there is room', () => {
    const of = (id: string, n: number) => ({ id, name: null, text: 'x'.repeat(n) });
    expect(keepable([of('a', 100_000), of('b', 10)]).map(({ id }) => id)).toEqual(['a', 'b']);
    expect(keepable([of('a', 200_000)])).toEqual([]);
  });
});

describe('picking', () => {
  const all = ['a', 'b', 'c', 'd', 'e'];

  test('one by one, in stretches from the last one, and with the keyboard from where one was', () => {
    pick('b', all);
    pick('d', all, true);
    expect([...picked.value!]).toEqual(['b', 'c', 'd']);
    pick('c', all);
    expect([...picked.value!]).toEqual(['b', 'd']);
    pick('a', all, true);
    expect([...picked.value!].sort()).toEqual(['a', 'b', 'c', 'd']);
    stopPicking();
    expect(picked.value).toBeNull();
    pickTo('c', 'd', all);
    pickTo('d', 'e', all);
    expect([...picked.value!]).toEqual(['c', 'd', 'e']);
    stopPicking();
    pick('d', all, true);
    expect([...picked.value!]).toEqual(['d']);
    stopPicking();
  });

  test('a stretch from what is not there is its end alone', () => {
    expect(stretch(all, 'gone', 'c')).toEqual(['c']);
    expect(stretch(all, 'd', 'b')).toEqual(['b', 'c', 'd']);
  });
});

describe('a finger', () => {
  const p = (x: number, y: number, at = 0) => ({ x, y, at });

  test('that moves sideways opens the drawer, and back closes it; a scroll that wavers does neither', () => {
    expect(aimOf(p(50, 50), p(55, 52), false)).toBeNull();
    expect(aimOf(p(50, 50), p(90, 60), false)).toBe('swipe');
    expect(aimOf(p(50, 50), p(90, 60), true)).toBe('other');
    expect(aimOf(p(90, 50), p(50, 60), true)).toBe('swipe');
    expect(aimOf(p(50, 50), p(70, 70), false)).toBe('other');
  });

  test('decides by its flick, or by where it lets go', () => {
    expect(shareAt(p(0, 0), p(160, 0), false, 320)).toBe(0.5);
    expect(shareAt(p(300, 0), p(-900, 0), true, 320)).toBe(0);
    expect(staysOpen(p(0, 0), p(60, 0, 0), p(100, 0, 50), false, 320)).toBe(true);
    expect(staysOpen(p(0, 0), p(298, 0, 0), p(300, 0, 300), false, 320)).toBe(true);
    expect(staysOpen(p(0, 0), p(98, 0, 0), p(100, 0, 300), false, 320)).toBe(false);
    expect(staysOpen(p(300, 0), p(280, 0, 0), p(240, 0, 50), true, 320)).toBe(false);
  });
});
