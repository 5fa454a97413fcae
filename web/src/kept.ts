/** The reader's opened chats on this device: kept while there is a network, read while there is none. */

import { dispatch, state } from './store';
import { forgetAll, load, save } from './lib/stored';
import { change } from './lib/settings';
import { allWaiting } from './lib/outbox';
import type { Chat, ChatDetail } from './wire';

const offline = () => import('./lib/offline');
const isText = (value: unknown): value is string => typeof value === 'string';
/** Whose chats these are, as this browser knows without asking. Signing out in any tab forgets it. */
const reader = (): string | null => load<string | null>('reader', null, isText);

/** Chats that are on the screen as they were kept: asked for again when the server answers. */
const shownFromHere = new Set<string>();
export const isFromHere = (id: string): boolean => shownFromHere.has(id);

/** The server has said who is reading. Whatever another reader left in this browser goes first. */
export function readerIs(id: string): void {
  const before = reader();
  if (before !== null && before !== id) {
    forgetAll();
    change({}); // how the page looks is nobody's secret
  }
  save('reader', id);
  void offline().then(({ claim }) => claim(id), ignore);
  const { open } = state.peek();
  if (open !== null) keepChat(open);
}

/** Keeps an opened chat as it is now, unless it is to leave no trace. */
export function keepChat(id: string): void {
  const { profile, threads } = state.peek();
  const thread = threads[id];
  const owner = profile?.id;
  if (!owner || reader() !== owner || !thread?.chat || thread.chat.temporary || thread.state !== 'ready' || thread.run) return;
  const messages = Object.values(thread.messages)
    .filter((message) => !thread.unsent[message.id])
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const detail: ChatDetail = { ...thread.chat, messages, has_more: thread.hasEarlier, first_id: thread.firstId };
  shownFromHere.delete(id);
  void offline().then(({ keep }) => keep(owner, detail), ignore);
}

/** Shows a chat as it was kept. False when it was not. */
export async function showKept(id: string): Promise<boolean> {
  const owner = reader();
  const detail = owner && (await offline().then(({ read }) => read(owner, id), ignore));
  if (!detail || state.peek().session === 'out') return false;
  shownFromHere.add(id);
  dispatch({ type: 'thread-came', detail });
  return true;
}

/** The list of what can be read, while the server cannot be asked for the whole one. */
export async function listKept(): Promise<void> {
  const owner = reader();
  const kept = owner && (await offline().then(({ list }) => list(owner), ignore));
  const chats = [...notYet(), ...(kept || [])];
  if (chats.length === 0 || state.peek().list.state === 'ready') return;
  dispatch({ type: 'list-asked', query: '', more: false });
  dispatch({ type: 'list-came', query: '', page: { data: chats, has_more: false, last_id: null }, more: false });
}

/** Chats that no server has heard of: their first message waits for the network. */
const notYet = (): Chat[] =>
  allWaiting()
    .filter(([, { isNew, temporary }]) => isNew && !temporary)
    .map(([id, { text, at }]) => ({ id, title: text.slice(0, 60), model: null, system_prompt: null, created_at: at, updated_at: at, pinned: false, archived: false, active_leaf: null, active_run: null }))
    .reverse();

export function dropKept(id: string): void {
  const owner = reader();
  if (owner) void offline().then(({ drop }) => drop(owner, id), ignore);
}

/** This part of the program did not come: then nothing is kept. */
const ignore = () => null;
