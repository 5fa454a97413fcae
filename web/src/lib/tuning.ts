/** How the answers of one chat are sampled. Kept per chat, in this browser; what is absent is the model's own default. */

import { signal } from '@preact/signals';
import { NEW_CHAT } from './drafts';
import { load, save } from './stored';

export interface Tuning {
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
  /** Of a chat that is not made yet; afterwards the server has it. */
  system_prompt?: string;
}

const isNumber = (value: unknown, least: number, most: number): boolean =>
  value === undefined || (typeof value === 'number' && value >= least && value <= most);

export const isTuning = (value: unknown): value is Tuning => {
  if (typeof value !== 'object' || value === null) return false;
  const { temperature, top_p, max_tokens, system_prompt } = value as Record<string, unknown>;
  return (
    isNumber(temperature, 0, 2) &&
    isNumber(top_p, Number.MIN_VALUE, 1) &&
    isNumber(max_tokens, 1, 1_000_000) &&
    (system_prompt === undefined || typeof system_prompt === 'string')
  );
};

const key = (chat: string | null): string => `tuning.${chat ?? NEW_CHAT}`;
const changes = signal(0);

export function tuningOf(chat: string | null): Tuning {
  void changes.value;
  return load(key(chat), {}, isTuning);
}

export function tune(chat: string | null, values: Tuning): void {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  save(key(chat), kept.length > 0 ? Object.fromEntries(kept) : null);
  changes.value++;
}

/** What goes with a message. */
export function samplingOf(chat: string | null): Omit<Tuning, 'system_prompt'> {
  const { system_prompt: _, ...sampling } = tuningOf(chat);
  return sampling;
}

/** A new chat has got its id; the next new one starts with the defaults again. */
export function carryTuning(chat: string): void {
  tune(chat, tuningOf(null));
  tune(null, {});
}
