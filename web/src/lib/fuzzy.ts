/** How well a few letters fit a name: as a part of it, or scattered through it in their order. Pure. */

export interface Fit {
  score: number;
  /** The name in pieces that alternate between plain and found. */
  pieces: readonly string[];
}

const isStart = (text: string, at: number): boolean => at === 0 || /[\s\-_/.:,("“]/.test(text[at - 1]!);

/** Null when the letters are not there. Higher is better; an empty query fits everything alike. */
export function fit(query: string, text: string): Fit | null {
  const sought = query.trim().toLowerCase();
  if (sought === '') return { score: 0, pieces: [text] };
  const folded = text.toLowerCase();
  // A letter that changes its length when folded would shift the marks.
  const isAligned = folded.length === text.length;
  const at = bestPlace(folded, sought);
  if (at >= 0) return { score: 1_000 - at + (isStart(folded, at) ? 500 : 0) - text.length / 100, pieces: isAligned ? cut(text, range(at, sought.length)) : [text] };
  const places = scattered(folded, sought.replaceAll(' ', ''));
  if (places === null) return null;
  const starts = places.filter((place) => isStart(folded, place)).length;
  const runs = places.filter((place, n) => n > 0 && place === places[n - 1]! + 1).length;
  const spread = places.at(-1)! - places[0]! - places.length;
  // A few letters far from each other are chance.
  if (!isStart(folded, places[0]!) || starts + runs < places.length / 2) return null;
  return { score: starts * 20 + runs * 10 - spread, pieces: isAligned ? cut(text, places) : [text] };
}

/** Where it stands, at the beginning of a word if it does. */
function bestPlace(text: string, sought: string): number {
  const first = text.indexOf(sought);
  for (let at = first; at >= 0; at = text.indexOf(sought, at + 1)) if (isStart(text, at)) return at;
  return first;
}

/** Each letter after the one before it; at the beginning of a word where there is one. */
function scattered(text: string, letters: string): number[] | null {
  const places: number[] = [];
  let from = 0;
  for (const letter of letters) {
    let at = text.indexOf(letter, from);
    if (at < 0) return null;
    if (at !== from || places.length === 0) for (let next = at; next >= 0; next = text.indexOf(letter, next + 1)) {
      if (!isStart(text, next)) continue;
      // Only if the rest still comes after it.
      if (comesAfter(text, letters.slice(places.length + 1), next + 1)) at = next;
      break;
    }
    places.push(at);
    from = at + 1;
  }
  return places;
}

function comesAfter(text: string, letters: string, from: number): boolean {
  let at = from;
  for (const letter of letters) {
    at = text.indexOf(letter, at) + 1;
    if (at === 0) return false;
  }
  return true;
}

const range = (from: number, length: number): number[] => Array.from({ length }, (_, n) => from + n);

function cut(text: string, places: readonly number[]): string[] {
  const pieces: string[] = [];
  const found = new Set(places);
  let from = 0;
  for (let at = 0; at <= text.length; at++) {
    const isEven = pieces.length % 2 === 0;
    if (at < text.length && found.has(at) !== isEven) continue;
    pieces.push(text.slice(from, at));
    from = at;
  }
  return pieces.length % 2 === 0 ? [...pieces, ''] : pieces;
}

/** Those that fit, the best first; equal ones in the order in which they came. */
export function ranked<T>(query: string, all: readonly T[], nameOf: (one: T) => string): (Fit & { one: T })[] {
  const found: (Fit & { one: T; n: number })[] = [];
  all.forEach((one, n) => {
    const how = fit(query, nameOf(one));
    if (how) found.push({ ...how, one, n });
  });
  return found.sort((a, b) => b.score - a.score || a.n - b.n);
}
