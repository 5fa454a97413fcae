/** What is open on the screen and says nothing about the conversation: drawers, dialogs, notes that pass. */

import { signal } from '@preact/signals';
import { change, settings } from '../lib/settings';
import type { Chat, Citation } from '../wire';

export type Dialog = 'settings' | 'help' | 'usage' | 'passage' | 'knowledge' | 'memory' | 'summary' | 'farewell' | 'tuning' | 'archive' | 'palette' | 'templates' | 'import' | 'share' | 'shares' | 'keys' | 'sessions' | 'admin';

export const dialog = signal<Dialog | null>(null);

/** The sources of one answer, and which of them is being read. */
export const passage = signal<{ citations: readonly Citation[]; index: number } | null>(null);

export function openPassage(citations: readonly Citation[], index: number): void {
  if (!citations.some((one) => one.index === index)) return;
  passage.value = { citations, index };
  dialog.value = 'passage';
}

/** The chat that the share dialog is about. */
export const sharing = signal<Chat | null>(null);

export function openShare(chat: Chat): void {
  sharing.value = chat;
  dialog.value = 'share';
}

export const isDrawerOpen = signal(false);

const phone = matchMedia('(max-width: 767px)');
export const isPhone = signal(phone.matches);
phone.addEventListener('change', () => {
  isPhone.value = phone.matches;
  isDrawerOpen.value = false;
});

export function toggleSidebar(): void {
  if (isPhone.value) isDrawerOpen.value = !isDrawerOpen.value;
  else change({ sidebar: !settings.value.sidebar });
}

export function showSidebar(): void {
  if (isPhone.value) isDrawerOpen.value = true;
  else change({ sidebar: true });
}

export interface Toast {
  id: number;
  text: string;
  action?: { label: string; run: () => void };
  ms: number;
}

export const toasts = signal<readonly Toast[]>([]);
let lastToast = 0;

export function toast(text: string, action?: Toast['action'], ms = 4_000): void {
  const id = ++lastToast;
  toasts.value = [...toasts.value.slice(-2), { id, text, action, ms }];
  setTimeout(() => dropToast(id), ms);
}

export const dropToast = (id: number): void => {
  toasts.value = toasts.value.filter((one) => one.id !== id);
};

/** Set by the composer and the search box while they are on the screen. */
export const focus = { composer: (): void => {}, search: (): void => {}, list: (): void => {}, row: (_chat: string): void => {} };

export const go = {
  newChat: (): void => {
    location.hash = '';
    isDrawerOpen.value = false;
    requestAnimationFrame(() => focus.composer());
  },
  chat: (id: string): void => go.found(id, null),
  /** To a message of a chat; again to the same one if need be. */
  found: (id: string, messageId: string | null): void => {
    const hash = `#/c/${id}${messageId === null ? '' : `/${messageId}`}`;
    if (location.hash === hash) dispatchEvent(new HashChangeEvent('hashchange'));
    else location.hash = hash;
    isDrawerOpen.value = false;
  },
};
