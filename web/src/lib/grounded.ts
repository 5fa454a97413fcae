/** Whether a chat's answers may lean on the reader's documents. Kept per chat, in this browser. */

import { signal } from '@preact/signals';
import { NEW_CHAT } from './drafts';
import { load, save } from './stored';

const isFlag = (value: unknown): value is boolean => typeof value === 'boolean';
const key = (chat: string | null): string => `knowledge.${chat ?? NEW_CHAT}`;
const changes = signal(0);

export function isGrounded(chat: string | null): boolean {
  void changes.value;
  return load(key(chat), false, isFlag);
}

export function ground(chat: string | null, isOn: boolean): void {
  save(key(chat), isOn ? true : null);
  changes.value++;
}

/** A new chat has got its id. */
export function carryOver(chat: string): void {
  if (!load(key(null), false, isFlag)) return;
  ground(chat, true);
  ground(null, false);
}
