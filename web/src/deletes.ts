/**
 * What was deleted and may still be brought back: a chat, a document, something remembered.
 *
 * It goes for good when the time to undo is over, or with the page in which that can be undone. A browser may drop a
 * request that outlives its page; so what is going is also written down, and the next page that opens sees to it.
 */

import { signal } from '@preact/signals';
import { ApiError, request } from './api';
import { load, save } from './lib/stored';
import { noticed } from './noticed';
import type { Problem } from './wire';

export const UNDO_MS = 7_000;

/** The paths of all that is on its way out. */
export const leaving = signal<ReadonlySet<string>>(new Set());

/** Hears how it went: gone, still there for a reason, or undone in another tab. */
type Ended = (how: 'gone' | 'undone' | Problem, path: string) => void;

interface Leave {
  timer: ReturnType<typeof setTimeout>;
  /** It was deleted in this page, so it is undone here and nowhere else. */
  isOurs: boolean;
  /** False where this browser stores nothing. */
  isWritten: boolean;
  ended: Ended;
}
const waiting = new Map<string, Leave>();

/** Storage may be forged: nothing else is ever deleted for what stands there. */
const DELETABLE = /^\/(?:chat|knowledge|memories)\/[\w%-]+$/;
/** By path, when: milliseconds since 1970. */
type Written = Record<string, number>;
const isWritten = (value: unknown): value is Written =>
  typeof value === 'object' && value !== null && Object.entries(value).every(([path, until]) => DELETABLE.test(path) && typeof until === 'number');
const written = (): Written => load('leaving', {}, isWritten);

function write(path: string, until: number | null): void {
  const { [path]: _, ...others } = written();
  const all = until === null ? others : { ...others, [path]: until };
  save('leaving', Object.keys(all).length > 0 ? all : null);
}

function stays(path: string): void {
  clearTimeout(waiting.get(path)?.timer);
  waiting.delete(path);
  leaving.value = new Set([...leaving.peek()].filter((other) => other !== path));
}

function wait(path: string, until: number, isOurs: boolean, ended: Ended): void {
  const timer = setTimeout(() => void go(path), Math.max(0, until - Date.now()));
  waiting.set(path, { timer, isOurs, isWritten: path in written(), ended });
  leaving.value = new Set([...leaving.peek(), path]);
}

/** Deletes `path` when the time to undo is over. */
export function deleteLater(path: string, ended: Ended): void {
  const until = Date.now() + UNDO_MS;
  write(path, until);
  wait(path, until, true, ended);
}

/** Undoes it. False: too late, it is gone. */
export function undo(path: string): boolean {
  if (!waiting.has(path)) return false;
  write(path, null);
  stays(path);
  return true;
}

async function go(path: string): Promise<void> {
  const one = waiting.get(path);
  if (!one) return;
  clearTimeout(one.timer);
  waiting.delete(path);
  const how = one.isWritten && !(path in written()) ? 'undone' : await remove(path);
  write(path, null);
  stays(path);
  one.ended(how, path);
}

async function remove(path: string): Promise<'gone' | Problem> {
  try {
    await request('DELETE', path, undefined, { keepalive: true });
    return 'gone';
  } catch (error) {
    const problem = noticed(error);
    return error instanceof ApiError && error.status === 404 ? 'gone' : problem;
  }
}

/** What is leaving goes now: its page is closed. `prefix`: only that kind. */
export async function deleteNow(prefix = '/'): Promise<void> {
  await Promise.all([...waiting].map(([path, { isOurs }]) => isOurs && path.startsWith(prefix) && go(path)));
}

/** So does all that other pages wrote down: this browser is about to forget it. */
export async function deleteAll(): Promise<void> {
  deleteTheRest(() => {});
  await Promise.all([...waiting.keys()].map(go));
}

/** What another page wrote down goes when its time is over. */
export function deleteTheRest(ended: Ended): void {
  for (const [path, until] of Object.entries(written())) if (!waiting.has(path)) wait(path, Math.min(until, Date.now() + UNDO_MS), false, ended);
}

addEventListener('pagehide', () => void deleteNow());
