/**
 * Chats that the reader has opened, kept in this browser to be read without a network.
 *
 * They belong to one reader: each row carries whose it is, another reader's rows are deleted when somebody else signs
 * in, and all of them at sign-out and with "delete everything" (`forgetAll` in `stored.ts`). Temporary chats never come
 * here. A browser without a database, or without room, just does not have them.
 */

import type { Chat, ChatDetail } from '../wire';
import { OFFLINE_DB } from './stored';

const STORE = 'chats';
/** Of one reader; the one opened longest ago leaves first. */
const MOST = 200;

interface Row {
  owner: string;
  id: string;
  opened: number;
  detail: ChatDetail;
}

const settled = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

let opening: Promise<IDBDatabase> | null = null;
/** Another tab forgets everything: nothing of this one may come after it. */
let isOver = false;

function database(): Promise<IDBDatabase> {
  return (opening ??= new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open(OFFLINE_DB, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: ['owner', 'id'] });
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      request.result.onversionchange = () => {
        isOver = true;
        request.result.close();
      };
      resolve(request.result);
    };
  }));
}

async function within<T>(mode: IDBTransactionMode, job: (rows: IDBObjectStore) => Promise<T>, fallback: T): Promise<T> {
  if (isOver) return fallback;
  try {
    const db = await database();
    return await job(db.transaction(STORE, mode).objectStore(STORE));
  } catch {
    return fallback;
  }
}

/** Every row of this reader. */
const ofOwner = (owner: string): IDBKeyRange => IDBKeyRange.bound([owner], [owner, []]);
const allOf = (rows: IDBObjectStore, owner: string): Promise<Row[]> => settled<Row[]>(rows.getAll(ofOwner(owner)));

export const keep = (owner: string, detail: ChatDetail): Promise<void> =>
  within(
    'readwrite',
    async (rows) => {
      if (detail.temporary) return;
      const row: Row = { owner, id: detail.id, opened: Date.now(), detail: { ...detail, active_run: null } };
      await settled(rows.put(row));
      const all = await allOf(rows, owner);
      all.sort((a, b) => b.opened - a.opened);
      for (const { id } of all.slice(MOST)) rows.delete([owner, id]);
    },
    undefined,
  );

export const read = (owner: string, id: string): Promise<ChatDetail | null> =>
  within('readonly', async (rows) => (await settled<Row | undefined>(rows.get([owner, id])))?.detail ?? null, null);

/** What can be opened, newest first. */
export const list = (owner: string): Promise<Chat[]> =>
  within(
    'readonly',
    async (rows) => {
      const all = await allOf(rows, owner);
      const chats = all.map(({ detail: { messages: _, has_more: __, first_id: ___, summary: ____, ...chat } }) => chat);
      return chats.sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
    },
    [],
  );

export const drop = (owner: string, id: string): Promise<void> =>
  within('readwrite', async (rows) => void (await settled(rows.delete([owner, id]))), undefined);

/** This reader is here now: whatever is anybody else's goes. */
export const claim = (owner: string): Promise<void> =>
  within(
    'readwrite',
    async (rows) => {
      for (const key of (await settled(rows.getAllKeys())) as [string, string][]) if (key[0] !== owner) rows.delete(key);
    },
    undefined,
  );
