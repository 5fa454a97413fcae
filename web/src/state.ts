/**
 * Everything the client knows, and the only way it changes: `reduce(state, action)`.
 *
 * Pure: no DOM, no fetch, no clock. Times come with the action that brings them.
 */

import type { Link } from './run';
import { newestMessage, pathTo, type Messages } from './tree';
import type { Chat, ChatDetail, Feedback, Message, Page, Phase, Prewarmed, Problem, Profile, RunEvent, ServerStatus, Summary, Verdict } from './wire';

/** A run being followed. Until its `run` event comes, `runId` and `assistantId` are not known. */
export interface LiveRun {
  runId: string | null;
  userMessageId: string | null;
  assistantId: string | null;
  model: string | null;
  phase: Phase;
  /** What the server had measured when it said so, and our own clock at that moment. */
  elapsedMs: number;
  heardAt: number;
  /** When it should write, usually and at most: on the same clock as `elapsedMs`. */
  usualMs: number | null;
  mostMs: number | null;
  /** The place in the queue, from 1. */
  position: number | null;
  text: string;
  lastSeq: number;
  verdicts: readonly Verdict[];
  link: Link;
  stopping: boolean;
}

/** A message that did not get through: it stays where it was written and can be sent again under the same id. */
export interface Unsent {
  problem: Problem;
  retryAt: number | null;
}

/** `withdrawn`: what its reader had seen of it was taken back. */
export type Ending = 'done' | 'stopped' | 'failed' | 'withdrawn';

export interface Thread {
  id: string;
  chat: Chat | null;
  messages: Messages;
  summary: Summary | null;
  leaf: string | null;
  run: LiveRun | null;
  unsent: Readonly<Record<string, Unsent>>;
  state: 'new' | 'loading' | 'ready' | 'missing' | 'failed';
  problem: Problem | null;
  hasEarlier: boolean;
  firstId: string | null;
  /** How the latest run ended here, for the status line that a screen reader hears. */
  ended: { messageId: string; how: Ending } | null;
}

export interface ChatList {
  query: string;
  chats: readonly Chat[];
  hasMore: boolean;
  after: string | null;
  state: 'idle' | 'loading' | 'ready' | 'failed';
  problem: Problem | null;
}

export interface State {
  session: 'unknown' | 'in' | 'out';
  online: boolean;
  server: ServerStatus | null;
  serverProblem: Problem | null;
  profile: Profile | null;
  model: string | null;
  list: ChatList;
  open: string | null;
  threads: Readonly<Record<string, Thread>>;
}

export const initial: State = {
  session: 'unknown',
  online: true,
  server: null,
  serverProblem: null,
  profile: null,
  model: null,
  list: { query: '', chats: [], hasMore: false, after: null, state: 'idle', problem: null },
  open: null,
  threads: {},
};

export type Change =
  | { type: 'session'; session: State['session'] }
  | { type: 'online'; online: boolean }
  | { type: 'server'; server: ServerStatus }
  | { type: 'server-failed'; problem: Problem }
  | { type: 'profile'; profile: Profile }
  | { type: 'model'; model: string }
  | { type: 'prewarmed'; model: Prewarmed }
  | { type: 'list-asked'; query: string; more: boolean }
  | { type: 'list-came'; query: string; page: Page<Chat>; more: boolean }
  | { type: 'list-failed'; query: string; problem: Problem }
  | { type: 'chat-put'; chat: Chat }
  | { type: 'chat-hidden'; id: string }
  | { type: 'chat-gone'; id: string }
  | { type: 'opened'; id: string | null }
  | { type: 'thread-new'; id: string }
  | { type: 'thread-asked'; id: string }
  | { type: 'thread-came'; detail: ChatDetail }
  | { type: 'thread-earlier'; detail: ChatDetail }
  | { type: 'thread-failed'; id: string; problem: Problem; missing: boolean }
  /** `instead`: of messages that never arrived. */
  | { type: 'sent'; id: string; message: Message; model: string | null; at: number; instead?: readonly string[] }
  | { type: 'unsent'; id: string; messageId: string; unsent: Unsent }
  | { type: 'regenerating'; id: string; messageId: string; model: string | null; at: number }
  | { type: 'attached'; id: string; runId: string; at: number }
  | { type: 'events'; id: string; events: readonly { seq: number; event: RunEvent }[]; at: number }
  | { type: 'link'; id: string; link: Link }
  | { type: 'stopping'; id: string }
  | { type: 'run-lost'; id: string }
  | { type: 'feedback'; id: string; messageId: string; feedback: Feedback | null }
  | { type: 'leaf'; id: string; leaf: string };

export function reduce(state: State, change: Change): State {
  switch (change.type) {
    case 'session':
      // Whoever signs out leaves nothing behind on the screen.
      if (change.session !== 'out') return { ...state, session: change.session };
      return { ...initial, session: 'out', server: state.server, online: state.online, open: state.open };
    case 'online':
      return { ...state, online: change.online };
    case 'server': {
      const known = change.server.models.some((model) => model.id === state.model);
      return { ...state, server: change.server, serverProblem: null, model: known ? state.model : change.server.default_model };
    }
    case 'server-failed':
      return { ...state, serverProblem: change.problem };
    case 'profile':
      return { ...state, profile: change.profile };
    case 'model':
      return { ...state, model: change.model };
    case 'prewarmed':
      return { ...state, server: state.server && withModel(state.server, change.model) };

    case 'list-asked':
      return {
        ...state,
        list: { ...state.list, query: change.query, state: 'loading', problem: null },
      };
    case 'list-came': {
      // An answer to a question that is no longer asked.
      if (change.query !== state.list.query) return state;
      const { data, has_more, last_id } = change.page;
      const before = change.more ? state.list.chats : [];
      const known = new Set(before.map((chat) => chat.id));
      return {
        ...state,
        list: {
          query: change.query,
          chats: [...before, ...data.filter((chat) => !known.has(chat.id))],
          hasMore: has_more,
          after: last_id,
          state: 'ready',
          problem: null,
        },
      };
    }
    case 'list-failed':
      if (change.query !== state.list.query) return state;
      return { ...state, list: { ...state.list, state: 'failed', problem: change.problem } };

    case 'chat-put':
      return withThread(putChat(state, change.chat), change.chat.id, (thread) => ({ ...thread, chat: change.chat }));
    case 'chat-hidden':
      return { ...state, list: { ...state.list, chats: state.list.chats.filter((chat) => chat.id !== change.id) } };
    case 'chat-gone': {
      const { [change.id]: _, ...threads } = state.threads;
      return {
        ...state,
        threads,
        open: state.open === change.id ? null : state.open,
        list: { ...state.list, chats: state.list.chats.filter((chat) => chat.id !== change.id) },
      };
    }

    case 'opened':
      return { ...state, open: change.id };
    case 'thread-new':
      return { ...state, threads: { ...state.threads, [change.id]: emptyThread(change.id, 'new') } };
    case 'thread-asked': {
      const thread = state.threads[change.id] ?? emptyThread(change.id, 'loading');
      const known = thread.state === 'ready' || thread.state === 'new';
      return put(state, { ...thread, state: known ? thread.state : 'loading', problem: null });
    }
    case 'thread-came':
      return cameThread(state, change.detail);
    case 'thread-earlier':
      return withThread(state, change.detail.id, (thread) => ({
        ...thread,
        messages: { ...byId(change.detail.messages), ...thread.messages },
        hasEarlier: change.detail.has_more ?? false,
        firstId: change.detail.first_id ?? null,
      }));
    case 'thread-failed':
      return withThread(state, change.id, (thread) => ({
        ...thread,
        state: change.missing ? 'missing' : thread.state === 'ready' ? 'ready' : 'failed',
        problem: change.problem,
      }));

    case 'sent':
      return withThread(state, change.id, (thread) => {
        const { message, instead = [] } = change;
        return {
          ...thread,
          state: 'ready',
          messages: { ...without(thread.messages, (id) => instead.includes(id)), [message.id]: message },
          leaf: message.id,
          unsent: without(thread.unsent, (id) => id === message.id || instead.includes(id)),
          ended: null,
          run: newRun(change.at, { userMessageId: message.id, model: change.model }),
        };
      });
    case 'unsent':
      return withThread(state, change.id, (thread) => ({
        ...thread,
        run: null,
        // Asking again for an answer did not get through: the old answer comes back, with the problem under it.
        leaf: thread.messages[change.messageId]?.role === 'assistant' ? change.messageId : thread.leaf,
        unsent: { ...thread.unsent, [change.messageId]: change.unsent },
      }));
    case 'regenerating':
      return withThread(state, change.id, (thread) => {
        const { [change.messageId]: _, ...unsent } = thread.unsent;
        const userMessageId = thread.messages[change.messageId]?.parent_id ?? null;
        return {
          ...thread,
          leaf: userMessageId ?? thread.leaf,
          ended: null,
          unsent,
          run: newRun(change.at, { userMessageId, model: change.model }),
        };
      });
    case 'attached':
      return withThread(state, change.id, (thread) =>
        thread.run?.runId === change.runId ? thread : { ...thread, ended: null, run: newRun(change.at, { runId: change.runId }) },
      );
    case 'events':
      return change.events.reduce((next, { seq, event }) => happened(next, change.id, seq, event, change.at), state);
    case 'link':
      return withThread(state, change.id, (thread) => ({ ...thread, run: thread.run && { ...thread.run, link: change.link } }));
    case 'stopping':
      return withThread(state, change.id, (thread) => ({ ...thread, run: thread.run && { ...thread.run, stopping: true } }));
    case 'feedback':
      return withThread(state, change.id, (thread) => {
        const message = thread.messages[change.messageId];
        if (!message) return thread;
        return { ...thread, messages: { ...thread.messages, [message.id]: { ...message, feedback: change.feedback } } };
      });
    case 'run-lost':
      return withThread(state, change.id, (thread) => ({ ...thread, run: null }));
    case 'leaf':
      return withThread(state, change.id, (thread) => ({ ...thread, leaf: change.leaf }));
  }
}

function withModel(server: ServerStatus, { model: id, state, eta_p50_ms, eta_p90_ms }: Prewarmed): ServerStatus {
  const models = server.models.map((one) => {
    if (one.id !== id) return one;
    const since_ms = one.state === state ? one.since_ms : 0;
    return { ...one, state, since_ms, eta_p50_ms: eta_p50_ms ?? one.eta_p50_ms, eta_p90_ms: eta_p90_ms ?? one.eta_p90_ms };
  });
  return { ...server, models };
}

// ---------------------------------------------------------------- threads

const emptyThread = (id: string, state: Thread['state']): Thread => ({
  id,
  chat: null,
  messages: {},
  summary: null,
  leaf: null,
  run: null,
  unsent: {},
  state,
  problem: null,
  hasEarlier: false,
  firstId: null,
  ended: null,
});

const newRun = (at: number, known: Partial<LiveRun>): LiveRun => ({
  runId: null,
  userMessageId: null,
  assistantId: null,
  model: null,
  phase: 'queued',
  elapsedMs: 0,
  heardAt: at,
  usualMs: null,
  mostMs: null,
  position: null,
  text: '',
  lastSeq: 0,
  verdicts: [],
  link: 'live',
  stopping: false,
  ...known,
});

const put = (state: State, thread: Thread): State => ({ ...state, threads: { ...state.threads, [thread.id]: thread } });

function withThread(state: State, id: string, change: (thread: Thread) => Thread): State {
  const thread = state.threads[id];
  if (!thread) return state;
  const next = change(thread);
  return next === thread ? state : put(state, next);
}

const without = <T>(all: Readonly<Record<string, T>>, isOut: (id: string) => boolean): Record<string, T> =>
  Object.fromEntries(Object.entries(all).filter(([id]) => !isOut(id)));

const byId = (messages: readonly Message[]): Messages => Object.fromEntries(messages.map((message) => [message.id, message]));

function cameThread(state: State, detail: ChatDetail): State {
  const { messages: list, has_more, first_id, summary, ...chat } = detail;
  const old = state.threads[detail.id] ?? emptyThread(detail.id, 'loading');
  // What we wrote and the server does not have yet (a send on its way, an answer being written) stays.
  const own = Object.values(old.messages).filter(
    (message) => old.unsent[message.id] || message.id === old.run?.userMessageId || message.id === old.run?.assistantId,
  );
  // Older pages that were fetched before stay too: this answer brings the newest one only.
  const oldest = list[0]?.id;
  const older = has_more && oldest !== undefined ? Object.values(old.messages).filter((message) => message.id < oldest) : [];
  const listed = list.map((message): Message => (old.messages[message.id]?.withdrawn ? { ...message, withdrawn: true } : message));
  const messages = { ...byId(older), ...byId(own), ...byId(listed) };
  // Another tab has sent it.
  const arrived = new Set(list.filter(({ role }) => role === 'user').map(({ id }) => id));
  const leaf =
    old.run !== null && old.leaf !== null && messages[old.leaf]
      ? old.leaf
      : chat.active_leaf !== null && messages[chat.active_leaf]
        ? chat.active_leaf
        : newestMessage(messages);
  return put(putChat(state, chat), {
    ...old,
    chat,
    messages,
    unsent: without(old.unsent, (id) => arrived.has(id)),
    summary: summary ?? null,
    leaf,
    state: 'ready',
    problem: null,
    hasEarlier: older.length > 0 ? old.hasEarlier : (has_more ?? false),
    firstId: older.length > 0 ? old.firstId : (first_id ?? null),
  });
}

/** Keeps the listing newest first without asking for it again. */
function putChat(state: State, chat: Chat): State {
  const { chats, query } = state.list;
  const at = chats.findIndex((other) => other.id === chat.id);
  if (at < 0) {
    // A new chat joins the plain list; whether it matches a search only the server knows.
    if (query !== '' || chat.archived || chat.temporary || state.list.state === 'idle') return state;
    return { ...state, list: { ...state.list, chats: byRecency([chat, ...chats]) } };
  }
  const next = chats.slice();
  const { match } = chats[at]!;
  next[at] = match ? { ...chat, match } : chat;
  return { ...state, list: { ...state.list, chats: query === '' ? byRecency(next) : next } };
}

const byRecency = (chats: readonly Chat[]): Chat[] =>
  chats.slice().sort((a, b) => (a.updated_at < b.updated_at ? 1 : a.updated_at > b.updated_at ? -1 : 0));

// ---------------------------------------------------------------- events

function happened(state: State, id: string, seq: number, event: RunEvent, at: number): State {
  const thread = state.threads[id];
  const run = thread?.run;
  if (!thread || !run || seq <= run.lastSeq) return state;
  const seen: LiveRun = { ...run, lastSeq: seq };

  switch (event.type) {
    case 'run': {
      const assistantId = event.assistant_message_id;
      const answer: Message = {
        id: assistantId,
        chat_id: id,
        parent_id: event.user_message_id,
        role: 'assistant',
        content: '',
        created_at: new Date(performance.timeOrigin + at).toISOString(), // `at` counts from the page's own start
        status: 'complete',
        model: event.model,
      };
      // A reader who looks at another branch meanwhile stays there; one at the end of this branch goes on with it.
      const before = thread.messages[event.user_message_id ?? '']?.parent_id;
      const wasHere = [null, event.user_message_id, assistantId, before].includes(thread.leaf);
      return put(state, {
        ...thread,
        messages: { ...thread.messages, [assistantId]: answer },
        leaf: wasHere ? assistantId : thread.leaf,
        run: { ...seen, runId: event.run_id, assistantId, userMessageId: event.user_message_id, model: event.model },
      });
    }
    case 'status':
      return put(state, {
        ...thread,
        run: {
          ...seen,
          phase: event.phase,
          elapsedMs: event.elapsed_ms,
          heardAt: at,
          usualMs: dueMs(event.elapsed_ms, event.eta_p50_ms, run.usualMs),
          mostMs: dueMs(event.elapsed_ms, event.eta_p90_ms, run.mostMs),
          position: event.position ?? null,
        },
      });
    case 'delta':
      return put(state, { ...thread, run: { ...seen, phase: 'generating', text: run.text + event.text } });
    case 'guardrail': {
      const { type: _, ...verdict } = event;
      return put(state, { ...thread, run: { ...seen, verdicts: [...run.verdicts, verdict] } });
    }
    case 'citation': {
      const { type: _, ...citation } = event;
      const answer = run.assistantId === null ? undefined : thread.messages[run.assistantId];
      if (!answer) return put(state, { ...thread, run: seen });
      const cited: Message = { ...answer, citations: [...(answer.citations ?? []), citation] };
      return put(state, { ...thread, messages: { ...thread.messages, [cited.id]: cited }, run: seen });
    }
    case 'title': {
      const next = put(state, { ...thread, run: seen });
      return thread.chat ? reduce(next, { type: 'chat-put', chat: { ...thread.chat, title: event.title } }) : next;
    }
    case 'done':
      return ended(state, thread, run, 'done', {
        ...event.message,
        usage: event.message.usage ?? event.usage,
        timings: event.message.timings ?? event.timings,
        cost: event.message.cost ?? event.cost,
        finish_reason: event.message.finish_reason ?? event.finish_reason,
      });
    case 'stopped':
      return ended(state, thread, run, 'stopped', event.message ?? partial(thread, run, 'stopped', null));
    case 'failed': {
      const message = event.message ?? partial(thread, run, 'failed', event.error);
      return ended(state, thread, run, 'failed', message && { ...message, error: message.error ?? event.error });
    }
  }
}

/**
 * The server says what is left, which is 0 as soon as it takes longer than that. The time it was due at is then the one
 * that was said before: a reader must see that it has passed.
 */
function dueMs(elapsedMs: number, leftMs: number | null | undefined, before: number | null): number | null {
  if (leftMs === null || leftMs === undefined) return null;
  return leftMs > 0 ? elapsedMs + leftMs : Math.min(before ?? elapsedMs, elapsedMs);
}

/** What was shown of an answer that the server kept nothing of. */
function partial(thread: Thread, run: LiveRun, status: 'stopped' | 'failed', error: Problem | null): Message | null {
  const shown = run.assistantId === null ? undefined : thread.messages[run.assistantId];
  return shown ? { ...shown, content: run.text, status, error } : null;
}

function ended(
  state: State,
  thread: Thread,
  run: LiveRun,
  how: Exclude<Ending, 'withdrawn'>,
  message: Message | null,
): State {
  if (message === null) return put(state, { ...thread, run: null });
  // A verdict that came late: the stored answer is not what was shown, nor a continuation of it.
  const isWithdrawn = run.text !== '' && !message.content.startsWith(run.text);
  const answer: Message = isWithdrawn ? { ...message, withdrawn: true } : message;
  const kept: Message = answer.verdicts?.length ? answer : { ...answer, verdicts: [...run.verdicts] };
  const leaf = thread.leaf === run.assistantId || thread.leaf === run.userMessageId ? kept.id : thread.leaf;
  const next = put(state, {
    ...thread,
    messages: { ...thread.messages, [kept.id]: kept },
    leaf,
    run: null,
    ended: { messageId: kept.id, how: isWithdrawn ? 'withdrawn' : how },
  });
  if (!thread.chat) return next;
  const chat: Chat = { ...thread.chat, active_leaf: leaf, active_run: null, updated_at: kept.created_at };
  return reduce(next, { type: 'chat-put', chat });
}

// ---------------------------------------------------------------- questions

export const openThread = (state: State): Thread | null => (state.open === null ? null : (state.threads[state.open] ?? null));

export const currentPath = (thread: Thread): Message[] => pathTo(thread.messages, thread.leaf);

export const modelOf = (state: State) => state.server?.models.find((model) => model.id === state.model) ?? null;
