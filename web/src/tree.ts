/** A chat is a tree of messages; what one reads is the path from a root to one leaf. */

import type { Message } from './wire';

export type Messages = Readonly<Record<string, Message>>;

/** Oldest first. Ids are UUIDv7, so their order is the order of creation, without trusting anybody's clock format. */
const byAge = (a: Message, b: Message): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

export type Children = ReadonlyMap<string | null, readonly Message[]>;

/** A message whose parent is not loaded (an older page) counts as a root, so that nothing is ever hidden. */
export function childrenOf(messages: Messages): Children {
  const children = new Map<string | null, Message[]>();
  for (const message of Object.values(messages)) {
    const parent = message.parent_id !== null && messages[message.parent_id] ? message.parent_id : null;
    const list = children.get(parent);
    if (list) list.push(message);
    else children.set(parent, [message]);
  }
  for (const list of children.values()) list.sort(byAge);
  return children;
}

/** From the root to the leaf. A cycle, which only broken data can hold, ends the walk. */
export function pathTo(messages: Messages, leaf: string | null): Message[] {
  const path: Message[] = [];
  const seen = new Set<string>();
  for (let at = leaf === null ? undefined : messages[leaf]; at && !seen.has(at.id); ) {
    seen.add(at.id);
    path.push(at);
    at = at.parent_id === null ? undefined : messages[at.parent_id];
  }
  return path.reverse();
}

/** The newest leaf below a message: where switching to its branch leads. */
export function newestLeaf(children: Children, from: string): string {
  let at = from;
  for (let next = children.get(at)?.at(-1); next; next = children.get(at)?.at(-1)) at = next.id;
  return at;
}

export function newestMessage(messages: Messages): string | null {
  return Object.values(messages).sort(byAge).at(-1)?.id ?? null;
}

export interface Siblings {
  ids: readonly string[];
  index: number;
}

export function siblingsOf(messages: Messages, children: Children, message: Message): Siblings {
  const parent = message.parent_id !== null && messages[message.parent_id] ? message.parent_id : null;
  const ids = (children.get(parent) ?? [message]).filter((other) => other.role === message.role).map((other) => other.id);
  return { ids, index: ids.indexOf(message.id) };
}
