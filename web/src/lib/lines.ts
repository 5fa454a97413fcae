/** Where each row of a long list stands, so that only those in view are drawn. Pure; measures are pixels. */

export interface Sizes {
  head: number;
  row: number;
  /** A row with a second line. */
  tall: number;
}

export interface Group<T> {
  label: string;
  rows: readonly T[];
}

export interface Line<T> {
  row: T;
  top: number;
  height: number;
}

export interface Section {
  label: string;
  top: number;
  height: number;
  /** Of its first row among all rows. */
  first: number;
  size: number;
}

export interface Layout<T> {
  lines: readonly Line<T>[];
  sections: readonly Section[];
  height: number;
}

export function layOut<T>(groups: readonly Group<T>[], sizes: Sizes, isTall: (row: T) => boolean): Layout<T> {
  const lines: Line<T>[] = [];
  const sections: Section[] = [];
  let top = 0;
  for (const { label, rows } of groups) {
    const from = top;
    const first = lines.length;
    top += sizes.head;
    for (const row of rows) {
      const height = isTall(row) ? sizes.tall : sizes.row;
      lines.push({ row, top, height });
      top += height;
    }
    sections.push({ label, top: from, height: top - from, first, size: rows.length });
  }
  return { lines, sections, height: top };
}

/** The lines that touch the stretch from `top` to `bottom`: from the first, up to but without the second. */
export function between<T>(lines: readonly Line<T>[], top: number, bottom: number): [number, number] {
  return [firstAfter(lines, (line) => line.top + line.height > top), firstAfter(lines, (line) => line.top >= bottom)];
}

/** The first line for which it holds; it holds for all after it. */
function firstAfter<T>(lines: readonly Line<T>[], holds: (line: Line<T>) => boolean): number {
  let [low, high] = [0, lines.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(lines[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Where to scroll so that a line is seen whole, or null when it is. */
export function reveal<T>(line: Line<T>, scrollTop: number, height: number, margin: number): number | null {
  if (line.top - margin < scrollTop) return Math.max(0, line.top - margin);
  if (line.top + line.height > scrollTop + height) return line.top + line.height - height;
  return null;
}
