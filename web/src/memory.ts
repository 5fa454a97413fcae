/** What Parley remembers of its reader: loaded with the page that shows it. */

import { signal } from '@preact/signals';
import { json, part, query, request } from './api';
import { deleteLater, deleteNow, leaving, undo } from './deletes';
import { tried } from './noticed';
import { dispatch, profile } from './store';
import type { Page, Problem } from './wire';

export interface Memory {
  id: string;
  text: string;
  kind: 'fact' | 'preference' | 'instruction';
  created_at: string;
  updated_at: string;
  chat_id: string | null;
}

/** Null: not loaded yet. Newest first. */
export const memories = signal<readonly Memory[] | null>(null);
const AT_ONCE = 100;

/** All of them: the server keeps a few hundred at most. */
export const load = (): Promise<Problem | null> =>
  tried(async () => {
    const all: Memory[] = [];
    for (let after: string | null = null; ; ) {
      const page: Page<Memory> = await json('GET', `/memories${query({ limit: AT_ONCE, after })}`);
      all.push(...page.data);
      if (!page.has_more) break;
      after = page.last_id;
    }
    memories.value = all;
  });

export const add = (text: string): Promise<Problem | null> =>
  tried(async () => {
    const made = await json<Memory>('POST', '/memories', { text });
    memories.value = [made, ...(memories.peek() ?? []).filter(({ id }) => id !== made.id)];
  });

export const edit = (id: string, text: string): Promise<Problem | null> =>
  tried(async () => {
    const changed = await json<Memory>('PATCH', `/memories/${part(id)}`, { text });
    memories.value = (memories.peek() ?? []).map((one) => (one.id === id ? changed : one));
  });

const PREFIX = '/memories/';
const pathOf = (id: string): string => PREFIX + part(id);
export const isLeaving = (id: string): boolean => leaving.value.has(pathOf(id));

export function forget(id: string): void {
  deleteLater(pathOf(id), (how) => {
    if (how === 'gone') memories.value = (memories.peek() ?? []).filter((one) => one.id !== id);
  });
}

export const keep = (id: string): boolean => undo(pathOf(id));

/** The page is closed: what was to be forgotten is forgotten now. */
export const finishAll = (): void => void deleteNow(PREFIX);

export const forgetAll = (): Promise<Problem | null> =>
  tried(async () => {
    for (const { id } of memories.peek() ?? []) keep(id);
    await request('DELETE', '/memories');
    memories.value = [];
  });

export async function use(memory: boolean): Promise<Problem | null> {
  const before = profile.peek();
  if (before) dispatch({ type: 'profile', profile: { ...before, memory } });
  const problem = await tried(async () => dispatch({ type: 'profile', profile: await json('PATCH', '/me', { memory }) }));
  if (problem && before) dispatch({ type: 'profile', profile: before });
  return problem;
}
