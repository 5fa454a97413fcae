/** Footnotes as GitHub writes them: `[^name]` where one is meant, and `[^name]: text` anywhere. */

import type { Token, TokenizerAndRendererExtension, Tokens } from 'marked';

export interface NoteToken {
  type: 'footnote';
  raw: string;
  id: string;
  tokens: Token[];
}

const HEAD = /^ {0,3}\[\^([^\]\s]{1,40})\]:[ \t]*/;
const MARK = /^\[\^([^\]\s]{1,40})\](?!:)/;
/** A line that begins something else, so it does not go on with the note before it. */
const OTHER = /^ {0,3}(?:\[\^|[-*+>#|]|```|~~~|\d{1,9}[.)]\s)/;

/** A note goes on over the lines of its paragraph, and over blank lines where what follows is indented. */
function lengthOf(source: string): number {
  for (let end = source.indexOf('\n'); ; ) {
    if (end < 0) return source.length;
    const gap = /\n(?:[ \t]*\n)*/y;
    gap.lastIndex = end;
    const start = end + gap.exec(source)![0].length;
    const next = source.indexOf('\n', start);
    const line = source.slice(start, next < 0 ? undefined : next);
    const isParagraph = start === end + 1 && line.trim() !== '' && !OTHER.test(line);
    if (!isParagraph && !/^(?: {2}|\t)[ \t]*\S/.test(line)) return start;
    end = next;
  }
}

export const footnote: TokenizerAndRendererExtension = {
  name: 'footnote',
  level: 'block',
  start: (source) => /(?:^|\n) {0,3}\[\^[^\]\s]{1,40}\]:/.exec(source)?.index,
  tokenizer(source): Tokens.Generic | undefined {
    const head = HEAD.exec(source);
    if (!head) return undefined;
    const raw = source.slice(0, lengthOf(source));
    const text = raw.slice(head[0].length).replace(/\n(?: {1,4}|\t)/g, '\n').trim();
    const token: NoteToken = { type: 'footnote', raw, id: head[1]!.toLowerCase(), tokens: [] };
    this.lexer.blockTokens(text, token.tokens);
    return token as unknown as Tokens.Generic;
  },
};

export const footnoteMark: TokenizerAndRendererExtension = {
  name: 'footnote-mark',
  level: 'inline',
  start: (source) => /\[\^/.exec(source)?.index,
  tokenizer(source): Tokens.Generic | undefined {
    const match = MARK.exec(source);
    return match ? { type: 'footnote-mark', raw: match[0], id: match[1]!.toLowerCase() } : undefined;
  },
};

/** The notes of one answer, counted in the order in which they are named. */
export class Notes {
  private readonly numbers = new Map<string, number>();
  private readonly texts = new Map<string, readonly Token[]>();
  private marked = 0;

  /** `defined` names all notes that there are; without it any may still come. */
  constructor(private readonly defined: ReadonlySet<string> | null = null) {}

  copy(): Notes {
    const notes = new Notes(this.defined);
    for (const [id, number] of this.numbers) notes.numbers.set(id, number);
    for (const [id, tokens] of this.texts) notes.texts.set(id, tokens);
    notes.marked = this.marked;
    return notes;
  }

  define(id: string, tokens: readonly Token[]): void {
    if (!this.texts.has(id)) this.texts.set(id, tokens);
  }

  /** The number of a note that is named here; null when there is no such note. */
  mark(id: string): number | null {
    if (this.defined !== null && !this.defined.has(id)) return null;
    const number = this.numbers.get(id) ?? this.numbers.size + 1;
    this.numbers.set(id, number);
    this.marked = Math.max(this.marked, number);
    return number;
  }

  isMarked(number: number): boolean {
    return number <= this.marked;
  }

  /** Notes that name further ones add those while this goes on. */
  *all(): Generator<[number, readonly Token[]]> {
    for (const [id, number] of this.numbers) {
      const tokens = this.texts.get(id);
      if (tokens) yield [number, tokens];
    }
    for (const [id, tokens] of this.texts) {
      if (this.numbers.has(id)) continue;
      const number = this.numbers.size + 1;
      this.numbers.set(id, number);
      yield [number, tokens];
    }
  }
}
