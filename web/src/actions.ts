/** What a reader can do. Each action asks the server and reports to the store; components call these (and `models.ts`). */

import { signal } from '@preact/signals';
import { api, ApiError, dropSilentStreams, type Completion } from './api';
import { finishDeletes, isLeaving, loadChats, patchChat } from './chats';
import { deleteAll } from './deletes';
import { dropDraft } from './lib/drafts';
import { carryOver, isGrounded } from './lib/grounded';
import { newId } from './lib/ids';
import { allWaiting, dropWaiting, keepWaiting, waitingIn } from './lib/outbox';
import { carryTuning, samplingOf, tuningOf } from './lib/tuning';
import { forgetAll } from './lib/stored';
import { refreshModels } from './models';
import { hasEnded, noticed, problemOf } from './noticed';
import { isFromHere, keepChat, listKept, readerIs, showKept } from './kept';
import { follow, type Link } from './run';
import { dispatch, state } from './store';
import { tabs, tell, type Word } from './tabs';
import { childrenOf, newestLeaf } from './tree';
import { isTerminal, type Message, type ModelInfo, type Phase, type Problem, type UsageReport } from './wire';

const now = (): number => performance.now();
const threadOf = (id: string) => state.peek().threads[id] ?? null;

// ---------------------------------------------------------------- waiting

let wake: (() => void)[] = [];
/** Sleeps, but not through the return of the network. */
export const wait = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      wake = wake.filter((other) => other !== done);
      resolve();
    }
    wake.push(done);
  });

export function setOnline(online: boolean): void {
  const wasOnline = state.peek().online;
  dispatch({ type: 'online', online });
  if (!online) return;
  for (const one of wake.slice()) one();
  if (wasOnline || state.peek().session !== 'in') return;
  void loadChats();
  askAgain();
  void sendWaiting();
}

/** The open chat, if it could not be loaded or is shown as this device has kept it. */
function askAgain(): void {
  const { open } = state.peek();
  if (open !== null && !following.has(open) && (isFromHere(open) || threadOf(open)?.state === 'failed')) void loadThread(open);
}

/** The reader comes back to the page: what changed meanwhile is fetched, and nothing waits for its turn any more. */
export function cameBack(awayMs: number): void {
  const { session, open } = state.peek();
  if (session !== 'in') return;
  dropSilentStreams();
  setOnline(navigator.onLine);
  void loadChats();
  void loadProfile();
  void refreshModels();
  if (awayMs > AWAY_MS && open !== null && !following.has(open)) void loadThread(open);
}
const AWAY_MS = 20_000;

// ---------------------------------------------------------------- other tabs

export function listenToTabs(): void {
  tabs?.addEventListener('message', ({ data }: MessageEvent<Word>) => {
    if (data.what === 'gone') dispatch({ type: 'chat-gone', id: data.chat });
    else if (state.peek().open === data.chat) void loadThread(data.chat);
    else void loadChats();
  });
}

// ---------------------------------------------------------------- session and models

export async function start(): Promise<void> {
  await loadServer();
  if (state.peek().session === 'out') return;
  askAgain();
  finishDeletes();
  await Promise.all([loadChats(), loadProfile()]);
  await sendWaiting();
}

export async function loadServer(): Promise<void> {
  for (let failures = 1; ; failures++) {
    try {
      const server = await api.status();
      dispatch({ type: 'session', session: 'in' });
      dispatch({ type: 'server', server });
      return;
    } catch (error) {
      const problem = noticed(error);
      if (state.peek().session === 'out') return;
      dispatch({ type: 'server-failed', problem });
      if (failures === 1) void listKept();
      await wait(Math.min(10_000, 1000 * 2 ** (failures - 1)));
    }
  }
}

export function chooseModel(model: ModelInfo): void {
  dispatch({ type: 'model', model: model.id });
  const open = state.peek().open;
  if (open !== null && threadOf(open)?.chat) void patchChat(open, { model: model.id });
}

export async function loadProfile(): Promise<void> {
  try {
    const profile = await api.me();
    dispatch({ type: 'profile', profile });
    if (profile.id) readerIs(profile.id);
  } catch (error) {
    noticed(error);
  }
}

export async function saveInstructions(text: string): Promise<Problem | null> {
  try {
    dispatch({ type: 'profile', profile: await api.saveMe({ custom_instructions: text }) });
    return null;
  } catch (error) {
    return noticed(error);
  }
}

/** What the caller's answers have used since the beginning of a day of UTC. */
export async function loadUsage(from: string): Promise<{ report: UsageReport } | { problem: Problem }> {
  try {
    return { report: await api.usage(from) };
  } catch (error) {
    return { problem: noticed(error) };
  }
}

export async function signIn(token: string): Promise<Problem | null> {
  try {
    await api.signIn(token);
  } catch (error) {
    return problemOf(error);
  }
  hasEnded.value = false;
  dispatch({ type: 'session', session: 'in' });
  void start().then(() => {
    const open = state.peek().open;
    if (open !== null) void loadThread(open);
  });
  return null;
}

export async function signOut(): Promise<void> {
  await deleteAll();
  let elsewhere: string | null = null;
  try {
    elsewhere = await api.signOut();
  } catch {
    // Whatever the server says, this browser forgets.
  }
  forgetAll();
  for (const one of following.values()) one.abort();
  location.hash = '';
  hasEnded.value = false;
  dispatch({ type: 'session', session: 'out' });
  if (elsewhere !== null) location.assign(elsewhere);
}

// ---------------------------------------------------------------- one chat

export async function openChat(id: string | null): Promise<void> {
  isTemporary.value = false;
  dispatch({ type: 'opened', id });
  if (id !== null) await loadThread(id);
}

export async function loadThread(id: string): Promise<void> {
  if (threadOf(id)?.state === 'new') return;
  dispatch({ type: 'thread-asked', id });
  try {
    const detail = await api.chat(id);
    dispatch({ type: 'thread-came', detail });
    const model = detail.model;
    if (model !== null && state.peek().open === id && state.peek().server?.models.some((one) => one.id === model)) {
      dispatch({ type: 'model', model });
    }
    if (detail.active_run !== null) attach(id, detail.active_run);
    else if (showWaiting(id)) void sendWaiting();
    keepChat(id);
  } catch (error) {
    const isAway = error instanceof ApiError && error.status === 0;
    if (isAway && threadOf(id)?.state !== 'ready' && ((await showKept(id)) || waitingIn(id))) return void showWaiting(id);
    // An address that no chat can have is refused as bad input: to its reader it is just as missing.
    const missing = error instanceof ApiError && (error.status === 404 || error.status === 400);
    // The chat was made here and never reached the server; its text is still ours.
    if (missing && (await isOurs()) && showWaiting(id)) return void sendWaiting();
    dispatch({ type: 'thread-failed', id, problem: noticed(error), missing });
  }
}

export async function loadEarlier(id: string): Promise<void> {
  const before = threadOf(id)?.firstId;
  if (!before) return;
  try {
    dispatch({ type: 'thread-earlier', detail: await api.chat(id, { before }) });
  } catch (error) {
    noticed(error);
  }
}

export function switchBranch(chatId: string, messageId: string): void {
  const thread = threadOf(chatId);
  if (!thread) return;
  const leaf = newestLeaf(childrenOf(thread.messages), messageId);
  dispatch({ type: 'leaf', id: chatId, leaf });
  // A convenience for next time; reading the branch does not depend on it.
  if (leaf !== thread.run?.assistantId) api.patchChat(chatId, { active_leaf: leaf }).catch(noticed);
}

// ---------------------------------------------------------------- sending

/** Sends a message: into the open chat, or into a new one. Returns at once; what happens is told to the store. */
export function send(text: string, parentId?: string | null): void {
  const open = state.peek().open;
  const chatId = open ?? newId();
  if (open === null) {
    carryOver(chatId);
    carryTuning(chatId);
    if (isTemporary.peek()) temporary.add(chatId);
    isTemporary.value = false;
    dispatch({ type: 'thread-new', id: chatId });
    dispatch({ type: 'opened', id: chatId });
    // An entry of its own: one step back from a first chat is the empty page, not whatever was before Parley.
    history.pushState(null, '', `#/c/${chatId}`);
    dropDraft(null);
  }
  if (parentId === undefined) showWaiting(chatId); // another tab may have left it
  const thread = threadOf(chatId);
  if (!thread) return;
  dropDraft(chatId);
  // What has not arrived can be followed by nothing: what still waits there goes out with this, in one message.
  const late = thread.messages[thread.leaf ?? ''];
  const isLate = late !== undefined && late.role === 'user' && thread.unsent[late.id] !== undefined;
  const isMore = parentId === undefined && isLate && thread.unsent[late.id]!.problem.code === 'network';
  const parent = parentId === undefined ? (isLate ? late.parent_id : thread.leaf) : parentId;
  const message: Message = {
    id: newId(),
    chat_id: chatId,
    parent_id: parent,
    role: 'user',
    content: isMore ? `${late.content}\n\n${text}` : text,
    created_at: new Date().toISOString(),
    status: 'complete',
  };
  const isEdited = parentId !== undefined && isLate && late.parent_id === parentId;
  deliver(chatId, message, isMore || isEdited ? [late.id] : []);
}

/** Sends again what did not get through, under the same id: the server knows it if it did arrive. */
export function resend(chatId: string, messageId: string): void {
  const message = threadOf(chatId)?.messages[messageId];
  if (message) deliver(chatId, message);
}

function deliver(chatId: string, message: Message, instead: readonly string[] = []): void {
  const { model, threads } = state.peek();
  const isNew = threads[chatId]?.chat === null;
  dispatch({ type: 'sent', id: chatId, message, model, at: now(), instead });
  const { id, content: text, parent_id: parent, created_at: at } = message;
  keepWaiting(chatId, { id, text, parent, at, isNew, temporary: temporary.has(chatId), refused: null });
  const body: Completion = {
    message: { id: message.id, content: message.content, parent_id: message.parent_id },
    ...wishes(chatId, model),
  };
  void run(chatId, message.id, async (signal) => {
    if (isNew && threadOf(chatId)?.chat === null) await makeChat(chatId, model ?? undefined);
    return api.complete(chatId, body, message.id, signal);
  });
}

/** What the outbox has for this chat, under what is there. False: it has nothing, or that is on its way. */
function showWaiting(chatId: string): boolean {
  const waiting = waitingIn(chatId);
  const thread = threadOf(chatId);
  if (!waiting || !thread || following.has(chatId)) return false;
  const { id, text, parent, at, refused } = waiting;
  if (thread.messages[id] && !thread.unsent[id]) return dropWaiting(chatId), false; // it did arrive
  if (thread.unsent[id] && thread.leaf === id) return true;
  if (waiting.temporary) temporary.add(chatId);
  const message: Message = { id, chat_id: chatId, parent_id: parent, role: 'user', content: text, created_at: at, status: 'complete' };
  dispatch({ type: 'sent', id: chatId, message, model: state.peek().model, at: now() });
  dispatch({ type: 'unsent', id: chatId, messageId: id, unsent: { problem: refused ?? { code: 'network', message: '' }, retryAt: null } });
  return true;
}

/** Whether who reads here is known: what somebody else had left in this browser is then gone. */
async function isOurs(): Promise<boolean> {
  if (state.peek().profile === null) await loadProfile();
  return state.peek().profile !== null;
}

/** The network is there: what waits for nothing else goes out, in whichever chat it is. */
async function sendWaiting(): Promise<void> {
  if (allWaiting().length === 0 || !(await isOurs())) return;
  for (const [chatId, { id, refused }] of allWaiting()) {
    if (refused !== null || following.has(chatId) || isLeaving(chatId)) continue;
    if (threadOf(chatId)?.unsent[id]) resend(chatId, id);
    else await loadThread(chatId); // which shows it, and comes back here
  }
}

/** What this chat wants of every answer. */
const wishes = (chatId: string, model: string | null): Omit<Completion, 'message' | 'regenerate'> => ({
  ...samplingOf(chatId),
  ...(model ? { model } : {}),
  ...(isGrounded(chatId) ? { knowledge: true } : {}),
});

/** Chats of this page that are to leave no trace, before the server knows them. */
const temporary = new Set<string>();
/** Whether the next new chat is to be one. */
export const isTemporary = signal(false);

async function makeChat(chatId: string, model: string | undefined): Promise<void> {
  try {
    const { system_prompt } = tuningOf(chatId);
    const values = { ...(model ? { model } : {}), ...(system_prompt ? { system_prompt } : {}), ...(temporary.has(chatId) ? { temporary: true } : {}) };
    dispatch({ type: 'chat-put', chat: await api.openChat(chatId, values) });
  } catch (error) {
    // Made by an earlier try whose answer was lost.
    if (!(error instanceof ApiError && error.status === 409)) throw error;
    const { messages: _, summary: __, ...chat } = await api.chat(chatId);
    dispatch({ type: 'chat-put', chat });
  }
}

/** The key of a request for a new answer, until it was heard: asking again after a lost reply makes no second one. */
const keys = new Map<string, string>();

/** A new answer to the same message; the old one stays as a branch. */
export function regenerate(chatId: string, assistantId: string): void {
  const thread = threadOf(chatId);
  if (!thread || thread.run) return;
  const { model } = state.peek();
  dispatch({ type: 'regenerating', id: chatId, messageId: assistantId, model, at: now() });
  const key = keys.get(assistantId) ?? newId();
  keys.set(assistantId, key);
  const body: Completion = { regenerate: assistantId, ...wishes(chatId, model) };
  void run(chatId, assistantId, (signal) => api.complete(chatId, body, key, signal));
}

function attach(chatId: string, runId: string): void {
  if (following.has(chatId)) return;
  dispatch({ type: 'attached', id: chatId, runId, at: now() });
  void run(chatId, null, null, runId);
}

export function stop(chatId: string): void {
  const run = threadOf(chatId)?.run;
  if (!run || run.stopping) return;
  dispatch({ type: 'stopping', id: chatId });
  if (run.runId !== null) void stopRun(run.runId);
}

async function stopRun(runId: string): Promise<void> {
  for (let failures = 0; failures < 4; failures++) {
    try {
      return await api.stopRun(runId);
    } catch (error) {
      noticed(error);
      if (!(error instanceof ApiError && error.isPassing)) return;
      await wait(1000);
    }
  }
}

// ---------------------------------------------------------------- following

const following = new Map<string, AbortController>();

/**
 * Follows a run of this chat to its end. `subject` is the message whose sending this is: an error that comes before
 * the run does is shown there.
 */
async function run(
  chatId: string,
  subject: string | null,
  startRun: Parameters<typeof follow>[0]['start'],
  runId: string | null = null,
): Promise<void> {
  following.get(chatId)?.abort();
  const mine = new AbortController();
  following.set(chatId, mine);
  let told = false;
  try {
    const outcome = await follow({
      start: startRun,
      resume: api.events,
      runId,
      after: 0,
      signal: mine.signal,
      wait,
      onLink: (link: Link) => dispatch({ type: 'link', id: chatId, link }),
      onEvents: (events) => {
        const wasAsleep = isWaking(threadOf(chatId)?.run?.phase);
        dispatch({ type: 'events', id: chatId, events, at: now() });
        // The picker says the same as the answer does.
        if (!wasAsleep && isWaking(threadOf(chatId)?.run?.phase)) void refreshModels();
        if (!told) {
          told = true;
          if (subject !== null) keys.delete(subject);
          accepted(chatId, subject);
        }
        if (events.some(({ event }) => isTerminal(event))) afterwards(chatId);
      },
    });
    if (outcome === 'idle') lost(chatId, mine);
  } catch (error) {
    if (mine.signal.aborted) return;
    const problem = noticed(error);
    const status = error instanceof ApiError ? error.status : 0;
    if (problem.code === 'paused') void loadProfile();
    if (subject === null || told) return lost(chatId, mine);
    const waiting = waitingIn(chatId);
    // A session that ended says nothing about the message.
    if (waiting?.id === subject && status !== 401 && !(error instanceof ApiError && error.isPassing)) keepWaiting(chatId, { ...waiting, refused: problem });
    const retryAfterMs = error instanceof ApiError ? error.retryAfterMs : null;
    dispatch({
      type: 'unsent',
      id: chatId,
      messageId: subject,
      // A budget may be raised at any time: nobody is made to wait for it to renew.
      unsent: { problem, retryAt: retryAfterMs === null || problem.code === 'insufficient_quota' ? null : now() + retryAfterMs },
    });
    // Another tab's answer is being written: show that one meanwhile.
    if (status === 409 && problem.code === 'run_active') {
      following.delete(chatId);
      void loadThread(chatId);
    }
  } finally {
    if (following.get(chatId) === mine) following.delete(chatId);
  }
}

const isWaking = (phase: Phase | undefined): boolean => phase === 'waking' || phase === 'loading';

/** The first event: the message is stored, so it waits no more and the other tabs may know. */
function accepted(chatId: string, subject: string | null): void {
  const thread = threadOf(chatId);
  if (subject !== null && waitingIn(chatId)?.id === subject) dropWaiting(chatId);
  if (subject !== null) tell({ chat: chatId, what: 'run' });
  if (thread?.run?.stopping && thread.run.runId) void stopRun(thread.run.runId);
  // Another tab's message: this one has only heard its answer begin.
  const parent = thread?.run?.userMessageId;
  if (parent && !thread.messages[parent]) void loadThread(chatId);
}

function afterwards(chatId: string): void {
  void refreshModels();
  void syncVerdicts(chatId);
  keepChat(chatId);
}

/** A rail may have masked the message that we sent; the stored one is the truth. */
async function syncVerdicts(chatId: string): Promise<void> {
  const thread = threadOf(chatId);
  const latest = thread?.ended && thread.messages[thread.ended.messageId];
  if (!latest?.verdicts?.some((verdict) => verdict.stage === 'input')) return;
  try {
    dispatch({ type: 'thread-came', detail: await api.chat(chatId) });
  } catch (error) {
    noticed(error);
  }
}

/** There is no run to follow any more: what the server has is what there is. */
function lost(chatId: string, mine: AbortController): void {
  if (following.get(chatId) === mine) following.delete(chatId);
  dispatch({ type: 'run-lost', id: chatId });
  if (state.peek().session !== 'out') void loadThread(chatId);
}
