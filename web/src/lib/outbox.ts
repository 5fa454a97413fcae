/**
 * Messages that were sent and that no server has taken yet: one of each chat, kept in this browser, so that neither a
 * reload nor another tab loses one. It goes out under the id it was given at first, so no server takes it twice.
 */

import type { Problem } from '../wire';
import { load, save, stored } from './stored';

export interface Waiting {
  id: string;
  text: string;
  parent: string | null;
  at: string;
  /** The server has not heard of its chat either. */
  isNew: boolean;
  temporary: boolean;
  /** Why the server did not want it: then its reader decides whether it is sent again. */
  refused: Problem | null;
}

const KEY = 'waiting.';
const isWaiting = (value: unknown): value is Waiting | null =>
  value === null || (typeof value === 'object' && typeof (value as Waiting).id === 'string' && typeof (value as Waiting).text === 'string');

export const waitingIn = (chat: string): Waiting | null => load<Waiting | null>(KEY + chat, null, isWaiting);
export const keepWaiting = (chat: string, message: Waiting): void => save(KEY + chat, message);
export const dropWaiting = (chat: string): void => save(KEY + chat, null);

/** The chats in which something waits, and what: the oldest first. */
export const allWaiting = (): [string, Waiting][] =>
  stored(KEY)
    .map((chat): [string, Waiting | null] => [chat, waitingIn(chat)])
    .filter((one): one is [string, Waiting] => one[1] !== null)
    .sort(([, a], [, b]) => (a.id < b.id ? -1 : 1));
