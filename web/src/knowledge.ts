/** The reader's documents: collections, uploads and how far each has been read. Loaded with the page that shows it. */

import { computed, signal } from '@preact/signals';
import { ApiError, json, part, query, refusalOf, request } from './api';
import { deleteLater, deleteNow, leaving, undo } from './deletes';
import { noticed, tried } from './noticed';
import type { Page, Problem } from './wire';

export type Role = 'reader' | 'editor' | 'owner';

export interface Collection {
  id: string;
  name: string;
  /** It came with its owner's first document, and has no name but the server's. */
  unnamed: boolean;
  shared: boolean;
  role: Role;
  /** Whose it is. */
  owner: string;
  /** Whether the reader's answers lean on it: of one that was offered only once they say so. */
  joined: boolean;
  documents: number;
}

export interface Document {
  id: string;
  collection_id: string;
  title: string;
  filename: string;
  size_bytes: number;
  status: 'queued' | 'indexing' | 'ready' | 'failed';
  chunks: number;
  chunks_done: number;
  error: Problem | null;
}

/** A file on its way, before the server has made a document of it. */
export interface Upload {
  key: number;
  file: File;
  share: number;
  problem: Problem | null;
}

export interface Member {
  principal: string;
  role: Exclude<Role, 'owner'>;
}

export const FILE_BYTES = 25 * 1024 * 1024;
export const ACCEPTED = '.pdf,.docx,.html,.htm,.md,.markdown,.txt';
const AT_ONCE = 50;
const POLL_MS = [700, 1_000, 1_500, 2_000, 3_000];

export const collections = signal<readonly Collection[] | null>(null);
/** Null: the reader's own, which is made with its first document. */
export const chosen = signal<string | null>(null);
export const documents = signal<readonly Document[] | null>(null);
export const hasMore = signal(false);
export const uploads = signal<readonly Upload[]>([]);

export const collection = computed(() => collections.value?.find(({ id }) => id === chosen.value) ?? null);
export const canChange = computed(() => (collection.value?.role ?? 'owner') !== 'reader');

// ---------------------------------------------------------------- collections

export const loadCollections = (): Promise<Problem | null> =>
  tried(async () => {
    collections.value = (await json<Page<Collection>>('GET', '/collections')).data;
    if (!collections.value.some(({ id }) => id === chosen.peek())) chosen.value = collections.value[0]?.id ?? null;
  });

export async function choose(id: string): Promise<Problem | null> {
  chosen.value = id;
  documents.value = null;
  return load();
}

export const makeCollection = (name: string, shared: boolean): Promise<Problem | null> =>
  tried(async () => {
    const made = await json<Collection>('POST', '/collections', { name, shared });
    collections.value = [...(collections.peek() ?? []), made];
    chosen.value = made.id;
    documents.value = [];
  });

export const renameCollection = (id: string, name: string): Promise<Problem | null> =>
  tried(async () => {
    const changed = await json<Collection>('PATCH', `/collections/${part(id)}`, { name });
    collections.value = (collections.peek() ?? []).map((one) => (one.id === id ? changed : one));
  });

export const deleteCollection = (id: string): Promise<Problem | null> =>
  tried(async () => {
    await request('DELETE', `/collections/${part(id)}`);
    collections.value = (collections.peek() ?? []).filter((one) => one.id !== id);
    chosen.value = collections.value[0]?.id ?? null;
    documents.value = null;
    await load();
  });

export const join = (id: string): Promise<Problem | null> =>
  tried(async () => {
    const joined = await json<Collection>('POST', `/collections/${part(id)}/join`);
    collections.value = (collections.peek() ?? []).map((one) => (one.id === id ? joined : one));
  });

/** A member leaves, or declines what was offered. */
export const leave = (id: string, me: string): Promise<Problem | null> =>
  tried(async () => {
    await request('DELETE', memberUrl(id, me));
    chosen.value = null;
    documents.value = null;
    await loadCollections();
    await load();
  });

const memberUrl = (id: string, name = ''): string => `/collections/${part(id)}/members${name && `/${part(name)}`}`;
export const members = async (id: string): Promise<readonly Member[]> => (await json<Page<Member>>('GET', memberUrl(id))).data;
export const putMember = (id: string, { principal, role }: Member): Promise<Problem | null> =>
  tried(async () => void (await request('PUT', memberUrl(id, principal), { role })));
export const dropMember = (id: string, name: string): Promise<Problem | null> =>
  tried(async () => void (await request('DELETE', memberUrl(id, name))));

// ---------------------------------------------------------------- documents

let lastId: string | null = null;

export const load = (more = false): Promise<Problem | null> =>
  tried(async () => {
    const asked = chosen.peek();
    const before = more ? (documents.peek() ?? []) : [];
    const page = await json<Page<Document>>('GET', `/knowledge${query({ collection: asked, limit: AT_ONCE, after: more ? lastId : null })}`);
    if (asked !== chosen.peek()) return;
    documents.value = [...before, ...page.data];
    hasMore.value = page.has_more;
    lastId = page.last_id;
    watch();
  });

let watching: ReturnType<typeof setTimeout> | undefined;

/** Looks again while something is being read, less and less often. */
function watch(round = 0): void {
  clearTimeout(watching);
  const open = (documents.peek() ?? []).filter(({ status }) => status === 'queued' || status === 'indexing');
  if (open.length === 0) return;
  watching = setTimeout(
    async () => {
      let hasMoved = false;
      for (const { id, chunks_done, status } of open) {
        try {
          const now = await json<Document>('GET', `/knowledge/${part(id)}`);
          hasMoved ||= now.chunks_done !== chunks_done || now.status !== status;
          put(now);
        } catch (error) {
          noticed(error);
          if (error instanceof ApiError && error.status === 404) drop(id);
        }
      }
      watch(hasMoved ? 0 : round + 1);
    },
    POLL_MS[Math.min(round, POLL_MS.length - 1)],
  );
}

export const stopWatching = (): void => clearTimeout(watching);

const put = (one: Document): void => {
  const list = documents.peek() ?? [];
  documents.value = list.some(({ id }) => id === one.id) ? list.map((old) => (old.id === one.id ? one : old)) : [one, ...list];
};
const drop = (id: string): void => void (documents.value = (documents.peek() ?? []).filter((one) => one.id !== id));

export const retry = (id: string): Promise<Problem | null> =>
  tried(async () => {
    put(await json<Document>('POST', `/knowledge/${part(id)}/retry`));
    watch();
  });

const PREFIX = '/knowledge/';
const pathOf = (id: string): string => PREFIX + part(id);
export const isLeaving = (id: string): boolean => leaving.value.has(pathOf(id));

export function remove(id: string): void {
  deleteLater(pathOf(id), (how) => {
    if (how === 'gone') drop(id);
    void loadCollections();
  });
}

export const keep = (id: string): boolean => undo(pathOf(id));

/** The page is closed: what was to be deleted is deleted now. */
export const finishAll = (): void => void deleteNow(PREFIX);

// ---------------------------------------------------------------- uploads

let lastKey = 0;

/** Sends the files one after the other; each shows how far it is, and what was wrong with it. */
export async function upload(files: Iterable<File>, tooLarge: string): Promise<void> {
  const mine = [...files].map((file): Upload => ({
    key: ++lastKey,
    file,
    share: 0,
    problem: file.size > FILE_BYTES ? { code: 'too_large', message: tooLarge } : null,
  }));
  uploads.value = [...uploads.peek(), ...mine];
  for (const { key, problem } of mine) if (!problem) await send(key);
}

export async function send(key: number): Promise<void> {
  const one = uploads.peek().find((other) => other.key === key);
  if (!one) return;
  change(key, { problem: null, share: 0 });
  const problem = await tried(async () => {
    const made = await sent(one.file, chosen.peek(), (share) => change(key, { share }));
    uploads.value = uploads.peek().filter((other) => other.key !== key);
    await loadCollections(); // one was made with the first document, and each says how many it has
    if (made.collection_id === chosen.peek()) {
      put(made);
      watch();
    }
  });
  if (problem) change(key, { problem });
}

export const dismiss = (key: number): void => void (uploads.value = uploads.peek().filter((one) => one.key !== key));
const change = (key: number, values: Partial<Upload>): void =>
  void (uploads.value = uploads.peek().map((one) => (one.key === key ? { ...one, ...values } : one)));

/** `fetch` does not say how much of a body has left; this does. */
const sent = (file: File, into: string | null, onShare: (share: number) => void): Promise<Document> =>
  new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open('POST', `/knowledge${query({ collection: into, filename: file.name })}`);
    call.setRequestHeader('Content-Type', file.type || 'application/octet-stream');
    call.upload.onprogress = ({ loaded, total }) => onShare(total > 0 ? loaded / total : 0);
    call.onerror = call.onabort = call.ontimeout = () => reject(new ApiError(0, 'network', ''));
    call.onload = () => {
      if (call.status < 300) resolve(JSON.parse(call.responseText) as Document);
      else reject(refusalOf(call.status, call.responseText));
    };
    call.send(file);
  });
