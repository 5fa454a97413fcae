/** Tokens of the lexer → specs: what of Markdown there is in an answer, and how it is made safe to look at. */

import type { Token, Tokens } from 'marked';
import { decoded } from './entities';
import type { Notes, NoteToken } from './footnotes';
import { box, joined, type Box, type Spec, type Tag } from './spec';

export interface Labels {
  image: (alt: string) => string;
  showImages: (host: string) => string;
  footnotes: string;
  footnote: (number: number) => string;
  footnoteBack: (number: number) => string;
  table: string;
  taskDone: string;
  taskOpen: string;
  citation: (index: number) => string;
  /** Whether the reader has allowed pictures from there. */
  maySee: (url: URL) => boolean;
}

export interface MathToken {
  type: 'formula';
  raw: string;
  tex: string;
  display: boolean;
  closed: boolean;
}

export const langOf = (token: Tokens.Code): string => (/^[^\s{,:]+/.exec(token.lang ?? '')?.[0] ?? '').toLowerCase();

const SAFE_SCHEMES: ReadonlySet<string> = new Set(['http:', 'https:', 'mailto:']);

/** An absolute address of a kind that only opens a page or a letter; everything else is shown as text. */
export function safeUrl(href: string): URL | null {
  try {
    const url = new URL(decoded(href).trim());
    return SAFE_SCHEMES.has(url.protocol) && url.username === '' && url.password === '' ? url : null;
  } catch {
    return null;
  }
}

export class Writer {
  constructor(
    private readonly labels: Labels,
    /** The last heading's level: a message starts below its own h2, and a level is never skipped. */
    public level: number,
    private readonly notes: Notes,
    private readonly isOpen = false,
  ) {}

  blocks(tokens: readonly Token[]): Spec[] {
    const out: Spec[] = [];
    for (const token of tokens) {
      const spec = this.block(token as Tokens.Generic);
      // Each block has its own direction: an answer in Arabic may quote English, and the other way round.
      if (spec !== null) out.push(typeof spec === 'object' && spec.kind === 'box' ? { ...spec, attrs: { ...spec.attrs, dir: 'auto' } } : spec);
    }
    return out;
  }

  /** The notes at the end: those that were named, in that order, then any that nothing refers to. */
  footnotes(): Spec[] {
    const items: Spec[] = [];
    for (const [number, tokens] of this.notes.all()) {
      const back = box('button', ['↩'], {
        type: 'button',
        class: 'note-back',
        'data-note-back': String(number),
        'aria-label': this.labels.footnoteBack(number),
      });
      const isMarked = this.notes.isMarked(number);
      const kids = tokens.flatMap((token) => (token.type === 'paragraph' ? this.inline((token as Tokens.Paragraph).tokens) : this.inner([token])));
      items.push(box('li', joined(isMarked ? [...kids, ' ', back] : kids), { 'data-note-text': String(number), tabindex: '-1' }));
    }
    if (items.length === 0) return [];
    return [box('div', [box('ol', items)], { class: 'footnotes', role: 'group', 'aria-label': this.labels.footnotes, dir: 'auto' })];
  }

  /** Blocks inside a block: they take its direction. */
  private inner(tokens: readonly Token[]): Spec[] {
    return tokens.map((token) => this.block(token as Tokens.Generic)).filter((spec) => spec !== null);
  }

  private block(token: Tokens.Generic): Spec | null {
    switch (token.type) {
      case 'space':
      case 'def':
        return null;
      case 'heading': {
        this.level = Math.min(token.depth + 2, this.level + 1, 6);
        return box(`h${this.level}` as Tag, this.inline(token.tokens));
      }
      case 'paragraph':
        return box('p', this.inline(token.tokens));
      case 'text':
        return box('p', this.inline(token.tokens ?? [token as Token]));
      case 'blockquote':
        return box('blockquote', this.inner(token.tokens ?? []));
      case 'code':
        return {
          kind: 'code',
          lang: langOf(token as Tokens.Code),
          text: token.text,
          closed: !this.isOpen || token.codeBlockStyle === 'indented' || isFenceClosed(token.raw),
        };
      case 'formula':
        return this.formula(token as unknown as MathToken);
      case 'footnote': {
        const { id, tokens } = token as unknown as NoteToken;
        this.notes.define(id, tokens);
        return null;
      }
      case 'hr':
        return box('hr');
      case 'list':
        return this.list(token as Tokens.List);
      case 'table':
        return this.table(token as Tokens.Table);
      case 'html':
        return box('p', html(token.raw.replace(/\n+$/, '')));
      default:
        return box('p', [token.raw]);
    }
  }

  private list(token: Tokens.List): Box {
    const items = token.items.map((item) => {
      const kids: Spec[] = [];
      for (const part of item.tokens as Tokens.Generic[]) {
        if (part.type === 'checkbox') continue;
        if (part.type === 'text') kids.push(...this.inline(part.tokens ?? [part as Token]));
        else {
          const spec = this.block(part);
          if (spec !== null) kids.push(spec);
        }
      }
      if (!item.task) return box('li', joined(kids));
      const label = item.checked ? this.labels.taskDone : this.labels.taskOpen;
      const mark = box('span', [], { class: item.checked ? 'task done' : 'task', role: 'img', 'aria-label': label });
      return box('li', [mark, ...joined(kids)], { class: 'has-task' });
    });
    if (!token.ordered) return box('ul', items);
    return token.start === 1 || token.start === '' ? box('ol', items) : box('ol', items, { start: String(token.start) });
  }

  private table(token: Tokens.Table): Box {
    const cell = (tag: 'th' | 'td') => (content: Tokens.TableCell, column: number) => {
      const align = token.align[column];
      const attrs: Record<string, string> = {};
      if (align) attrs.class = `to-${align}`;
      if (tag === 'th') attrs.scope = 'col';
      return box(tag, this.inline(content.tokens), attrs);
    };
    const head = box('thead', [box('tr', token.header.map(cell('th')))]);
    const body = box('tbody', token.rows.map((row) => box('tr', row.map(cell('td')))));
    // Wide tables scroll inside their own box, which therefore must be reachable by keyboard and have a name.
    return box('div', [box('table', [head, body])], {
      class: 'table',
      tabindex: '0',
      role: 'group',
      'aria-label': this.labels.table,
    });
  }

  private inline(tokens: readonly Token[] | undefined): Spec[] {
    return joined((tokens ?? []).flatMap((token) => this.span(token as Tokens.Generic)));
  }

  private span(token: Tokens.Generic): Spec[] {
    switch (token.type) {
      case 'text':
        return token.tokens ? this.inline(token.tokens) : [decoded(token.text)];
      case 'escape':
        return [token.text];
      case 'strong':
      case 'em':
      case 'del':
        return [box(token.type, this.inline(token.tokens))];
      case 'codespan':
        return [box('code', [token.text])];
      case 'br':
        return [box('br')];
      case 'formula':
        return [this.formula(token as unknown as MathToken)];
      case 'citation':
        return (token.indices as number[]).map((index) =>
          box('button', [String(index)], {
            type: 'button',
            class: 'cite',
            'data-cite': String(index),
            'aria-label': this.labels.citation(index),
          }),
        );
      case 'footnote-mark': {
        const number = this.notes.mark(token.id as string);
        if (number === null) return [token.raw];
        const label = this.labels.footnote(number);
        return [box('sup', [box('button', [String(number)], { type: 'button', class: 'note-mark', 'data-note': String(number), 'aria-label': label })])];
      }
      case 'link':
        return this.link(token as Tokens.Link);
      case 'image':
        return this.image(token as Tokens.Image);
      case 'html':
        return html(token.raw);
      default:
        return [token.raw ?? ''];
    }
  }

  /** Loading a picture tells a stranger's server who reads this answer and when: the reader decides, host by host. */
  private image(token: Tokens.Image): Spec[] {
    const url = safeUrl(token.href);
    const alt = decoded(token.text);
    if (!url) return [this.labels.image(alt)];
    if (this.labels.maySee(url)) {
      return [box('img', [], { src: url.href, alt, class: 'picture', loading: 'lazy', decoding: 'async', referrerpolicy: 'no-referrer' })];
    }
    const link = anchor(url, [this.labels.image(alt)], this.labels.image(alt), null);
    if (url.protocol !== 'https:') return link;
    const show = box('button', [this.labels.showImages(url.hostname)], { type: 'button', class: 'show-images', 'data-host': url.hostname });
    return [...link, ' ', show];
  }

  private link(token: Tokens.Link): Spec[] {
    const url = safeUrl(token.href);
    const kids = this.inline(token.tokens);
    return url ? anchor(url, kids, plain(kids), token.title ?? null) : kids;
  }

  private formula(token: MathToken): Spec {
    return { kind: 'formula', tex: token.tex, raw: token.raw.trim(), display: token.display, closed: token.closed };
  }
}

const plain = (specs: readonly Spec[]): string =>
  specs
    .map((spec) => (typeof spec === 'string' ? spec : spec.kind === 'box' ? plain(spec.kids) : spec.kind === 'code' ? spec.text : spec.raw))
    .join('');

/** A link says where it leads when its text does not. `hostname` is punycode, so look-alike letters show. */
function anchor(url: URL, kids: readonly Spec[], text: string, title: string | null): Spec[] {
  const attrs: Record<string, string> = { href: url.href, target: '_blank', rel: 'noopener noreferrer nofollow' };
  if (title) attrs.title = decoded(title);
  const shown = text.trim().toLowerCase();
  const host = url.hostname.replace(/^www\./, '');
  const saysHost =
    url.protocol === 'mailto:'
      ? shown.includes(url.pathname.toLowerCase())
      : new RegExp(`^(?:https?://)?(?:www\\.)?${host.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?:[/?#:]|$)`).test(shown);
  const where = url.protocol === 'mailto:' ? url.pathname : host;
  return [box('a', saysHost ? kids : [...kids, box('span', [`\u00a0${where}`], { class: 'host' })], attrs)];
}

/** Raw HTML is text, but for a line break, which models use inside table cells. */
function html(raw: string): Spec[] {
  return joined(raw.split(/(<br\s*\/?>)/i).map((piece, at) => (at % 2 === 1 ? box('br') : piece)));
}

export function isFenceClosed(raw: string): boolean {
  const fence = /^ {0,3}(`{3,}|~{3,})/.exec(raw)?.[1];
  if (!fence) return true;
  return new RegExp(`\\n {0,3}\\${fence[0]}{${fence.length},}[ \\t]*\\n*$`).test(raw);
}
