/**
 * Markdown that is still being written → specs.
 *
 * Every block but the last is closed: it is parsed once and its spec is kept, so a long answer costs no more per
 * update than its last block. The last block is parsed again on each update, with half-typed marks closed for it.
 * At the end the whole text is parsed once, so what stays on the screen never depends on how the text arrived.
 */

import { Marked, type Token, type TokenizerAndRendererExtension, type Tokens } from 'marked';
import remend from 'remend';
import { footnote, footnoteMark, Notes, type NoteToken } from './footnotes';
import type { Code, Spec } from './spec';
import { isFenceClosed, langOf, Writer, type Labels, type MathToken } from './write';

// ---------------------------------------------------------------- grammar

const BLOCK_MATH = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;
const OPEN_BLOCK_MATH = /^ {0,3}(?:\$\$|\\\[)(?![^\n]*(?:\$\$|\\\]))([\s\S]*)$/;
// A dollar sign is money unless it hugs its text on the inside and no digit follows: `$x$`, never `$5 and $6`.
const INLINE_MATH =
  /^(?:\$\$((?:[^$\\\n]|\\.)+?)\$\$|\$(?![\s$])((?:[^$\\\n]|\\.)*?(?:[^$\\\s]|\\[^\s]))\$(?![\d$\p{L}])|\\\(([\s\S]+?)\\\)|\\\[([^\n]+?)\\\])/u;

/** True while the text may still grow; only then is an unclosed formula more than plain text. */
let growing = false;

// `[1]`, `[1, 3]`, and the brackets that Chinese models like. Before `(` or `:` it is a link or its definition.
const CITATION = /^[[【](\d{1,3}(?:\s?[,，、]\s?\d{1,3})*)[\]】](?![(:])/;
const OPEN_CITATION = /[[【](?:\d{1,3}(?:\s?[,，、]\s?\d{0,3})*)?$/;
const NOTHING_CITED: ReadonlySet<number> = new Set();

/** The passages that the answer being read has; a number without a passage is only a number. */
let cited: ReadonlySet<number> = NOTHING_CITED;

const citation: TokenizerAndRendererExtension = {
  name: 'citation',
  level: 'inline',
  start: (source) => (cited.size > 0 ? /[[【]\d/.exec(source)?.index : undefined),
  tokenizer(source): Tokens.Generic | undefined {
    const match = cited.size > 0 ? CITATION.exec(source) : null;
    const indices = match?.[1]?.split(/[,，、]/).map(Number) ?? [];
    if (!match || !indices.every((index) => cited.has(index))) return undefined;
    return { type: 'citation', raw: match[0], indices };
  },
};

const blockMath: TokenizerAndRendererExtension = {
  name: 'formula',
  level: 'block',
  start: (source) => /(?:^|\n) {0,3}(?:\$\$|\\\[)/.exec(source)?.index,
  tokenizer(source): Tokens.Generic | undefined {
    const whole = BLOCK_MATH.exec(source);
    if (whole) return formula(whole[0], whole[1] ?? whole[2] ?? '', true, true);
    const open = growing ? OPEN_BLOCK_MATH.exec(source) : null;
    return open ? formula(open[0], open[1] ?? '', true, false) : undefined;
  },
};

const inlineMath: TokenizerAndRendererExtension = {
  name: 'inline-formula',
  level: 'inline',
  start: (source) => /\$|\\[([]/.exec(source)?.index,
  tokenizer(source): Tokens.Generic | undefined {
    const match = INLINE_MATH.exec(source);
    if (!match) return undefined;
    const tex = match[1] ?? match[2] ?? match[3] ?? match[4] ?? '';
    return formula(match[0], tex, match[1] !== undefined || match[4] !== undefined, true);
  },
};

const formula = (raw: string, tex: string, display: boolean, closed: boolean): MathToken => ({
  type: 'formula',
  raw,
  tex: tex.trim(),
  display,
  closed,
});

const marked = new Marked({ gfm: true, breaks: false }, { extensions: [blockMath, inlineMath, citation, footnote, footnoteMark] });

function lex(source: string, passages: ReadonlySet<number>, mayGrow: boolean): Token[] {
  growing = mayGrow;
  cited = passages;
  try {
    return marked.lexer(source);
  } finally {
    growing = false;
    cited = NOTHING_CITED;
  }
}

// ---------------------------------------------------------------- growing text

export class Growing {
  private closed: Spec[] = [];
  /** Where the open block starts in `source`. */
  private from = 0;
  private source = '';
  private level = 2;
  private notes = new Notes();
  private fence: OpenFence | null = null;

  /** `passages` gives the numbers that the answer may cite; they do not change once it has text. */
  constructor(
    private readonly labels: Labels,
    private readonly passages: () => ReadonlySet<number> = () => NOTHING_CITED,
  ) {}

  /** The specs of the text so far. Closed blocks are the very same objects as last time. */
  update(source: string): Spec[] {
    if (!source.startsWith(this.source)) this.reset();
    this.source = source;
    const code = this.fence?.grown(source);
    if (code) return [...this.closed, code, ...new Writer(this.labels, this.level, this.notes.copy()).footnotes()];

    let tokens = lex(source.slice(this.from), this.passages(), true);
    let last = tokens.length - 1;
    while (last > 0 && tokens[last]!.type === 'space') last--;
    if (last > 0) {
      const done = tokens.slice(0, last);
      const writer = new Writer(this.labels, this.level, this.notes);
      this.closed.push(...writer.blocks(done));
      this.level = writer.level;
      this.from += done.reduce((sum, token) => sum + token.raw.length, 0);
      tokens = tokens.slice(last);
    }
    return [...this.closed, ...this.open(tokens)];
  }

  /** The specs of the whole text, parsed as one piece: late link definitions reach back to earlier text. */
  finish(source: string): Spec[] {
    this.reset();
    const tokens = lex(source, this.passages(), false);
    // A mark without its note is text; while an answer grows, the note may still come.
    const defined = tokens.flatMap((token) => (token.type === 'footnote' ? [(token as unknown as NoteToken).id] : []));
    const writer = new Writer(this.labels, 2, new Notes(new Set(defined)));
    return [...writer.blocks(tokens), ...writer.footnotes()];
  }

  private reset(): void {
    this.closed = [];
    this.from = 0;
    this.source = '';
    this.level = 2;
    this.notes = new Notes();
    this.fence = null;
  }

  private open(tokens: Token[]): Spec[] {
    const first = tokens[0];
    if (!first) return new Writer(this.labels, this.level, this.notes.copy()).footnotes();
    this.fence = tokens.length === 1 ? openFence(first, this.from) : null;
    const isVerbatim = first.type === 'code' || (first.type === 'formula' && !(first as unknown as MathToken).closed);
    if (!isVerbatim) {
      const raw = this.source.slice(this.from);
      const shown = heal(this.passages().size > 0 ? raw.replace(OPEN_CITATION, '') : raw);
      if (shown !== raw) tokens = lex(shown, this.passages(), true);
    }
    // On a copy: half a block may count notes that the whole one does not have.
    const writer = new Writer(this.labels, this.level, this.notes.copy(), true);
    return [...writer.blocks(tokens), ...writer.footnotes()];
  }
}

/**
 * A code block that is being written: until its closing fence comes, all there is to do is to take more text. So a
 * block of ten thousand lines costs no more per update than a short one.
 */
class OpenFence {
  constructor(
    private readonly lang: string,
    private readonly from: number,
    private readonly end: RegExp,
    private seen = from,
  ) {}

  /** Null when the block has ended, or may have. */
  grown(source: string): Code | null {
    const lines = source.slice(source.lastIndexOf('\n', this.seen - 1) + 1);
    this.seen = source.length;
    if (this.end.test(lines)) return null;
    const isLineOpen = source.endsWith('\n');
    return { kind: 'code', lang: this.lang, text: source.slice(this.from, isLineOpen ? -1 : undefined), closed: false };
  }
}

function openFence(token: Token, from: number): OpenFence | null {
  const head = token.type === 'code' ? /^(`{3,}|~{3,})[^\n]*\n/.exec(token.raw) : null;
  if (!head || isFenceClosed(token.raw)) return null;
  const fence = head[1]!;
  // A carriage return is a line end to the lexer, so it has to look at the text.
  const end = new RegExp(`^ {0,3}\\${fence[0]}{${fence.length},}|\\r`, 'm');
  return new OpenFence(langOf(token as Tokens.Code), from + head[0].length, end);
}

/**
 * Closes what is half typed and holds back what cannot be read yet: a bullet without text would flash as a heading
 * underline, a table's first line as pipes, a formula as its source.
 */
export function heal(raw: string): string {
  const held = withoutTableHead(raw)
    .replace(/(^|\n)[ \t]*(?:[-*+>]|#{1,6}|\d{1,9}[.)]?|`{1,2}|~{1,2}|=+|-{2,}|\*{2,}|_{1,})[ \t]*$/, '$1')
    .replace(/\\\((?:(?!\\\))[\s\S]){0,400}$/, '')
    .replace(/(^|[^$\\\w])\$(?![\s$\d])[^$\n]{0,160}$/, '$1')
    // A footnote's mark, and its number before the note itself has come.
    .replace(/(?:(^|\n) {0,3}\[(?:\^[^\]\s]{0,40}\]?:?)?|\[\^[^\]\s]{0,40})[ \t]*$/, '$1');
  return remend(held, { katex: false, linkMode: 'text-only', comparisonOperators: false, singleTilde: false });
}

/** Drops a first table line at the end of the text until the line under it is whole: it is not a table before. */
function withoutTableHead(raw: string): string {
  const lines = raw.split('\n');
  const isRow = (line: string | undefined) => line !== undefined && /^ {0,3}\|/.test(line);
  const [before, above, last] = [lines.at(-3), lines.at(-2), lines.at(-1)!];
  if (isRow(last) && !isRow(above)) return lines.slice(0, -1).join('\n');
  if (isRow(above) && !isRow(before) && /^[|:\- \t]*$/.test(last)) {
    const cells = (line: string) => line.trim().replace(/^\||\|$/g, '').split('|').length;
    const isWhole = cells(last) >= cells(above!) && /[-:|]\s*$/.test(last);
    if (!isWhole) return lines.slice(0, -2).join('\n');
  }
  return raw;
}
