/** Links under which others read a chat: loaded with the pages that show them. */

import { signal } from '@preact/signals';
import { json, part, request } from './api';
import { tried } from './noticed';
import type { Problem, Role } from './wire';

export interface Share {
  id: string;
  chat_id: string;
  title: string | null;
  url: string;
  /** The last message that is shared. */
  leaf: string;
  created_at: string;
  updated_at: string;
}

/** What a visitor is given. */
export interface Shown {
  title: string | null;
  model: string | null;
  created_at: string;
  messages: { role: Role; content: string; created_at: string; citations: string[] }[];
}

/** Null: not loaded yet. The newest first. */
export const shares = signal<readonly Share[] | null>(null);

export const linkOf = (share: Share): string => `${location.origin}${share.url}`;

export const load = (): Promise<Problem | null> =>
  tried(async () => void (shares.value = (await json<{ data: Share[] }>('GET', '/shares')).data));

/** Shares the chat, or its newest state under the link that it has. */
export const share = (chatId: string): Promise<Problem | null> =>
  tried(async () => {
    const made = await json<Share>('POST', `/chat/${part(chatId)}/share`, {});
    shares.value = [made, ...(shares.peek() ?? []).filter(({ chat_id }) => chat_id !== chatId)];
  });

export const withdraw = (chatId: string): Promise<Problem | null> =>
  tried(async () => {
    await request('DELETE', `/chat/${part(chatId)}/share`);
    shares.value = (shares.peek() ?? []).filter(({ chat_id }) => chat_id !== chatId);
  });
