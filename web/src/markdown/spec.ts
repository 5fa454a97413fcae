/**
 * What an answer looks like, as plain values: a small tree that `dom.ts` turns into nodes.
 *
 * Keeping it a value makes the writer testable without a browser, and makes an update a comparison of two trees.
 * There is no way to say "HTML" in it, so no text of a model can become markup.
 */

export type Spec = string | Box | Code | Formula;

export interface Box {
  kind: 'box';
  tag: Tag;
  attrs?: Readonly<Record<string, string>>;
  kids: readonly Spec[];
}

export interface Code {
  kind: 'code';
  lang: string;
  text: string;
  /** False while more of the block may come: colours may wait. */
  closed: boolean;
}

export interface Formula {
  kind: 'formula';
  tex: string;
  raw: string;
  display: boolean;
  /** False while the closing mark has not come: the source is shown instead of an error. */
  closed: boolean;
}

export type Tag =
  | 'p'
  | 'h3'
  | 'h4'
  | 'h5'
  | 'h6'
  | 'strong'
  | 'em'
  | 'del'
  | 'blockquote'
  | 'code'
  | 'br'
  | 'hr'
  | 'a'
  | 'span'
  | 'button'
  | 'sup'
  | 'img'
  | 'ul'
  | 'ol'
  | 'li'
  | 'div'
  | 'table'
  | 'thead'
  | 'tbody'
  | 'tr'
  | 'th'
  | 'td';

export const box = (tag: Tag, kids: readonly Spec[] = [], attrs?: Record<string, string>): Box =>
  attrs ? { kind: 'box', tag, kids, attrs } : { kind: 'box', tag, kids };

/** Neighbouring pieces of text become one, so that the same answer is the same tree however it was cut. */
export function joined(specs: readonly Spec[]): Spec[] {
  const out: Spec[] = [];
  for (const spec of specs) {
    if (spec === '') continue;
    const last = out.at(-1);
    if (typeof spec === 'string' && typeof last === 'string') out[out.length - 1] = last + spec;
    else out.push(spec);
  }
  return out;
}
