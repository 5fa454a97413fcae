/** The one state of the page as a signal, cut into slices so that a component wakes only for what it shows. */

import { computed, signal } from '@preact/signals';
import { load, save } from './lib/stored';
import { initial, reduce, type Change, type State, type Unsent } from './state';
import { childrenOf, pathTo, type Messages } from './tree';
import type { Verdict } from './wire';

const isText = (value: unknown): value is string | null => value === null || typeof value === 'string';

export const state = signal<State>({ ...initial, model: load<string | null>('model', null, isText) });

export const dispatch = (change: Change): void => {
  state.value = reduce(state.peek(), change);
  if (change.type === 'model') save('model', change.model);
};

export const session = computed(() => state.value.session);
export const online = computed(() => state.value.online);
export const server = computed(() => state.value.server);
export const serverProblem = computed(() => state.value.serverProblem);
export const profile = computed(() => state.value.profile);
export const list = computed(() => state.value.list);
export const openId = computed(() => state.value.open);

export const models = computed(() => server.value?.models ?? []);
const modelId = computed(() => state.value.model);
export const model = computed(() => models.value.find((one) => one.id === modelId.value) ?? null);
export const modelName = (id: string | null | undefined): string | null =>
  id ? (models.value.find((one) => one.id === id)?.name ?? id) : null;

const threads = computed(() => state.value.threads);
export const thread = computed(() => (openId.value === null ? null : (threads.value[openId.value] ?? null)));

// Slices of the open thread. Text that arrives changes `run` only, so the finished messages are not looked at.
export const threadState = computed(() => thread.value?.state ?? null);
export const chat = computed(() => thread.value?.chat ?? null);
const NO_MESSAGES: Messages = {};
export const messages = computed(() => thread.value?.messages ?? NO_MESSAGES);
const leaf = computed(() => thread.value?.leaf ?? null);
export const children = computed(() => childrenOf(messages.value));
export const path = computed(() => pathTo(messages.value, leaf.value));
export const run = computed(() => thread.value?.run ?? null);
const NO_VERDICTS: readonly Verdict[] = [];
export const runVerdicts = computed(() => run.value?.verdicts ?? NO_VERDICTS);
export const runLink = computed(() => run.value?.link ?? null);
export const runPhase = computed(() => run.value?.phase ?? null);
export const runPosition = computed(() => run.value?.position ?? null);
export const isStopping = computed(() => run.value?.stopping ?? false);
export const runText = computed(() => run.value?.text ?? '');
export const runMessageId = computed(() => run.value?.assistantId ?? null);
export const isRunning = computed(() => run.value !== null);
const NONE_UNSENT = {};
export const unsent = computed<Readonly<Record<string, Unsent>>>(() => thread.value?.unsent ?? NONE_UNSENT);
export const hasEarlier = computed(() => thread.value?.hasEarlier ?? false);
export const threadProblem = computed(() => thread.value?.problem ?? null);
export const summary = computed(() => thread.value?.summary ?? null);
export const ended = computed(() => thread.value?.ended ?? null);

/** Chats with an answer on its way, for the mark in the list. */
export const busyChats = computed(() => {
  const busy = Object.values(threads.value).filter((one) => one.run !== null);
  return busy.map((one) => one.id).join(' ');
});
export const isBusy = (id: string): boolean => busyChats.value.includes(id);
