/** Chats that are picked to be archived, deleted or exported together. */

import { signal } from '@preact/signals';

/** Null while nothing is being picked. */
export const picked = signal<ReadonlySet<string> | null>(null);
/** Where a stretch begins that is picked with Shift. */
let anchor: string | null = null;

/** The stretch between two ids, both included, in whichever order; only `to` when `from` is not there. */
export function stretch(ids: readonly string[], from: string | null, to: string): readonly string[] {
  const [a, b] = [from === null ? -1 : ids.indexOf(from), ids.indexOf(to)];
  return a < 0 || b < 0 ? [to] : ids.slice(Math.min(a, b), Math.max(a, b) + 1);
}

export function pick(id: string, all: readonly string[], isStretch = false): void {
  const before = picked.peek() ?? new Set<string>();
  const next = new Set(before);
  if (isStretch && anchor !== null) for (const one of stretch(all, anchor, id)) next.add(one);
  else {
    if (!next.delete(id)) next.add(id);
    anchor = id;
  }
  picked.value = next;
}

/** With the keyboard the stretch begins at the row that one leaves. */
export function pickTo(from: string, id: string, all: readonly string[]): void {
  if (picked.peek() === null) {
    anchor = from;
    picked.value = new Set([from]);
  }
  pick(id, all, true);
}

export const pickAll = (ids: readonly string[]): void => void (picked.value = new Set(ids));

export function stopPicking(): void {
  picked.value = null;
  anchor = null;
}
