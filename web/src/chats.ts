/** The list of chats and what a reader does to a whole chat: rename, pin, archive, delete. */

import { api, ApiError, type ChatPatch } from './api';
import { dropKept } from './kept';
import { dropDraft } from './lib/drafts';
import { noticed } from './noticed';
import { dispatch, state } from './store';
import { tell } from './tabs';
import { PAGE, type Chat, type Problem } from './wire';

const threadOf = (id: string) => state.peek().threads[id] ?? null;

let listing: AbortController | null = null;

export async function loadChats(query: string = state.peek().list.query, more = false): Promise<void> {
  listing?.abort();
  const mine = (listing = new AbortController());
  const after = more ? state.peek().list.after : null;
  dispatch({ type: 'list-asked', query, more });
  try {
    const page = await api.chats({ limit: PAGE, after, q: query }, mine.signal);
    const data = page.data.filter((chat) => !leaving.has(chat.id));
    dispatch({ type: 'list-came', query, page: { ...page, data }, more });
  } catch (error) {
    if (!mine.signal.aborted) dispatch({ type: 'list-failed', query, problem: noticed(error) });
  }
}

export async function patchChat(id: string, patch: ChatPatch): Promise<Problem | null> {
  const known = threadOf(id)?.chat ?? state.peek().list.chats.find((chat) => chat.id === id);
  if (known) dispatch({ type: 'chat-put', chat: { ...known, ...patch } });
  try {
    const chat = await api.patchChat(id, patch);
    dispatch({ type: 'chat-put', chat });
    tell({ chat: id, what: 'changed' });
    return null;
  } catch (error) {
    if (known) dispatch({ type: 'chat-put', chat: known });
    return noticed(error);
  }
}

/** Out of the list, and no longer on the screen. */
export function hideChat(chat: Chat): void {
  dispatch({ type: 'chat-hidden', id: chat.id });
  if (state.peek().open === chat.id) location.hash = '';
}

export function archiveChat(chat: Chat): void {
  hideChat(chat);
  void patchChat(chat.id, { archived: true });
}

export async function unarchiveChat(chat: Chat): Promise<Problem | null> {
  const problem = await patchChat(chat.id, { archived: false });
  if (!problem) void loadChats();
  return problem;
}

/** A deleted chat goes for good when the time to undo is over. */
const leaving = new Map<string, { chat: Chat; timer: ReturnType<typeof setTimeout> }>();
export const UNDO_MS = 7_000;

export function deleteChat(chat: Chat): void {
  hideChat(chat);
  leaving.set(chat.id, { chat, timer: setTimeout(() => void finishDelete(chat.id), UNDO_MS) });
}

export function undoDelete(id: string): void {
  const one = leaving.get(id);
  if (!one) return;
  clearTimeout(one.timer);
  leaving.delete(id);
  dispatch({ type: 'chat-put', chat: one.chat });
  // Where it belongs among the found only the server knows.
  if (state.peek().list.query !== '') void loadChats();
}

async function finishDelete(id: string): Promise<void> {
  const one = leaving.get(id);
  if (!one) return;
  clearTimeout(one.timer);
  try {
    await api.deleteChat(id);
    dropDraft(id);
    dropKept(id);
    dispatch({ type: 'chat-gone', id });
    tell({ chat: id, what: 'gone' });
  } catch (error) {
    noticed(error);
    if (!(error instanceof ApiError && error.status === 404)) dispatch({ type: 'chat-put', chat: one.chat });
  }
  leaving.delete(id);
}

/** The page goes away: what was deleted is deleted now. */
export function finishDeletes(): void {
  for (const id of leaving.keys()) void finishDelete(id);
}
