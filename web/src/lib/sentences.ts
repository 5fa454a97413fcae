/**
 * A text that is being written, as sentences to be read aloud: each is given once, when it is whole.
 *
 * Where it ends depends on the text alone, never on how it arrived. Code is named and not read.
 */

/** A full stop counts once something follows it; a Chinese one needs no space. */
const END = /[.!?…][»"'”’)\]*_]*(?=\s)|[。！？][”’」』）]*(?=[^”’」』）])|\n/g;
/** Nobody speaks on for longer without a breath. */
const LONGEST = 400;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;

export class Sentences {
  /** Where the first sentence that was not given yet begins. */
  private from = 0;
  private fence: string | null = null;

  constructor(private readonly codeBlock: string) {}

  /** What became whole since the last call. `isAll`: no more text comes, so what is left is whole too. */
  next(source: string, isAll: boolean): string[] {
    const out: string[] = [];
    for (let piece = this.piece(source, isAll); piece !== null; piece = this.piece(source, isAll)) {
      const spoken = clean(piece);
      if (/[\p{L}\p{N}]/u.test(spoken)) out.push(spoken);
    }
    return out;
  }

  private piece(source: string, isAll: boolean): string | null {
    if (this.from >= source.length) return null;
    const isLineStart = this.from === 0 || source[this.from - 1] === '\n';
    const lineEnd = source.indexOf('\n', this.from);
    if (isLineStart && /^ {0,3}[`~|]/.test(source.slice(this.from, this.from + 4))) {
      // A fence or a row of a table: the line says which when it is whole.
      if (lineEnd < 0 && !isAll) return null;
      return this.line(this.take(source, lineEnd < 0 ? source.length : lineEnd + 1));
    }
    if (this.fence !== null) return lineEnd < 0 && !isAll ? null : this.line(this.take(source, lineEnd < 0 ? source.length : lineEnd + 1));

    END.lastIndex = this.from;
    for (let match = END.exec(source); match; match = END.exec(source)) {
      const end = match.index + match[0].length;
      if (end - this.from > LONGEST) break;
      // "3." begins a point of a list.
      if (match[0] === '.' && /^[\s\d]*$/.test(source.slice(this.from, match.index))) continue;
      return this.take(source, end);
    }
    if (source.length - this.from > LONGEST) {
      const space = source.lastIndexOf(' ', this.from + LONGEST);
      return this.take(source, space > this.from ? space + 1 : this.from + LONGEST);
    }
    return isAll ? this.take(source, source.length) : null;
  }

  private take(source: string, end: number): string {
    const piece = source.slice(this.from, end);
    this.from = end;
    return piece;
  }

  private line(line: string): string {
    const mark = FENCE.exec(line)?.[1];
    if (this.fence !== null) {
      if (mark?.startsWith(this.fence) && line.trim() === mark) this.fence = null;
      return '';
    }
    if (!mark) return line;
    this.fence = mark;
    return this.codeBlock;
  }
}

/** Marks are for the eye. */
export const clean = (text: string): string =>
  text
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\[\^[^\]]*\]|【\d[^】]*】|\[\d{1,3}(?:, ?\d{1,3})*\]/g, '')
    .replace(/^\s*(?:[-+]|\d+[.)])\s+(?:\[[ x]\]\s+)?/, '')
    .replace(/^\s*\|?[\s:|-]+\|?\s*$/, '')
    .replace(/\s*\|\s*/g, ', ')
    .replace(/[*_`#>~]+/g, '')
    .replace(/\s+/g, ' ')
    .replace(/^[\s,]+|[\s,]+$/g, '');
