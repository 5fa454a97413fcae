/** The gaps of a template: `{{name}}`. Pure. */

export interface Gap {
  name: string;
  start: number;
  end: number;
}

const GAP = /\{\{\s*([^{}\n]{1,60}?)\s*\}\}/g;

export const gapsOf = (text: string): Gap[] =>
  [...text.matchAll(GAP)].map((found) => ({ name: found[1]!, start: found.index, end: found.index + found[0].length }));

/** The gap after a place, or the one before it; null at the end, where the Tab key is itself again. */
export function nextGap(text: string, from: number, isBack = false): Gap | null {
  const gaps = gapsOf(text);
  return (isBack ? gaps.findLast(({ end }) => end <= from) : gaps.find(({ start }) => start >= from)) ?? null;
}
