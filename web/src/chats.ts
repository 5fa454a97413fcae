/** The list of chats and what a reader does to a whole chat: rename, pin, archive, delete. */

import { api, part, type ChatPatch } from './api';
import { dropKept } from './kept';
import { deleteLater, deleteTheRest, leaving, undo } from './deletes';
import { dropDraft } from './lib/drafts';
import { dropWaiting } from './lib/outbox';
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
    const data = page.data.filter((chat) => !isLeaving(chat.id));
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

const pathOf = (id: string): string => `/chat/${part(id)}`;
export const isLeaving = (id: string): boolean => leaving.peek().has(pathOf(id));

/** A deleted chat goes for good when the time to undo is over. */
export function deleteChat(chat: Chat): void {
  hideChat(chat);
  deleteLater(pathOf(chat.id), (how) => (how === 'gone' ? forgetChat(chat.id) : dispatch({ type: 'chat-put', chat })));
}

export function undoDelete(chat: Chat): void {
  if (!undo(pathOf(chat.id))) return;
  dispatch({ type: 'chat-put', chat });
  // Where it belongs among the found only the server knows.
  if (state.peek().list.query !== '') void loadChats();
}

function forgetChat(id: string): void {
  dropDraft(id);
  dropWaiting(id);
  dropKept(id);
  dispatch({ type: 'chat-gone', id });
  tell({ chat: id, what: 'gone' });
}

/** What was deleted shortly before this page opened goes too. */
export const finishDeletes = (): void =>
  deleteTheRest((how, path) => {
    if (!path.startsWith(pathOf(''))) return;
    if (how === 'gone') forgetChat(decodeURIComponent(path.slice(pathOf('').length)));
    else void loadChats();
  });
