/**
 * The server, as functions. No DOM, no state: each call returns a value or throws an `ApiError`.
 *
 * Status 0 means that no answer came at all (offline, refused, cut): the caller may try the same thing again.
 */

import { traceparent } from './lib/ids';
import { readEvents, type SseEvent } from './sse';
import type { Chat, ChatDetail, Feedback, Opinion, Page, Passage, Prewarmed, Problem, Profile, ServerStatus, UsageReport } from './wire';

export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterMs: number | null = null,
    readonly param: string | null = null,
  ) {
    super(message);
  }

  get problem(): Problem {
    const { code, message, param, retryAfterMs } = this;
    return { code, message, param, until: retryAfterMs === null ? null : Date.now() + retryAfterMs };
  }

  /** True when the same request may succeed by itself a little later. */
  get isPassing(): boolean {
    // Somebody has stopped new answers; only they know for how long.
    if (this.code === 'paused') return false;
    return this.status === 0 || this.status === 408 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

export type EventStream = AsyncGenerator<SseEvent[], void, void>;

export interface NewMessage {
  id: string;
  content: string;
  parent_id?: string | null;
}

export type Completion = ({ message: NewMessage } | { regenerate: string }) & { model?: string; knowledge?: boolean } & Sampling;

/** What is absent is the model's own default. */
export interface Sampling {
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
}

export type ChatPatch = Partial<Pick<Chat, 'title' | 'pinned' | 'archived' | 'model' | 'system_prompt' | 'active_leaf'>>;

/** A silent connection is a dead one: the server pings at least every 10 s. */
const SILENCE_MS = 25_000;
const DOUBT_MS = 12_000;

const listeners = new Set<() => void>();

/** After a sleep of the device a dead connection looks alive. This ends those that have been silent for too long. */
export function dropSilentStreams(): void {
  for (const check of listeners) check();
}

export async function request(method: string, path: string, body?: unknown, init: RequestInit = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...(init.headers as Record<string, string>) };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, 'network', '');
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response: Response): Promise<ApiError> {
  const after = Number(response.headers.get('Retry-After'));
  return refusalOf(response.status, await response.text().catch(() => ''), after > 0 ? after * 1000 : null);
}

export function refusalOf(status: number, body: string, retryAfterMs: number | null = null): ApiError {
  try {
    const { error } = JSON.parse(body) as { error: { message?: string; code?: string; type?: string; param?: string | null } };
    return new ApiError(status, error.code ?? error.type ?? 'error', error.message ?? '', retryAfterMs, error.param ?? null);
  } catch {
    // A proxy in between answers in its own words; its page is of no use to a reader.
    return new ApiError(status, `http_${status}`, '', retryAfterMs);
  }
}

export const json = async <T>(method: string, path: string, body?: unknown, init?: RequestInit): Promise<T> =>
  (await (await request(method, path, body, init)).json()) as T;

async function stream(
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal,
  headers: Record<string, string> = {},
): Promise<EventStream | null> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  let last = Date.now();
  const heard = () => {
    last = Date.now();
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  const check = () => {
    if (Date.now() - last > DOUBT_MS) silence.abort();
  };
  const end = () => {
    clearTimeout(timer);
    listeners.delete(check);
  };
  listeners.add(check);
  try {
    const response = await request(method, path, body, {
      signal: AbortSignal.any([signal, silence.signal]),
      headers: { ...headers, traceparent: traceparent(), Accept: 'text/event-stream' },
    });
    heard();
    if (response.status === 204 || response.body === null) {
      end();
      return null;
    }
    return withEnd(readEvents(response.body, heard), end);
  } catch (error) {
    end();
    if (silence.signal.aborted && !signal.aborted) throw new ApiError(0, 'network', '');
    throw error;
  }
}

async function* withEnd(events: EventStream, end: () => void): EventStream {
  try {
    yield* events;
  } finally {
    end();
  }
}

export const query = (values: Record<string, string | number | boolean | null | undefined>): string => {
  const used = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return used.length === 0 ? '' : `?${new URLSearchParams(used.map(([key, value]) => [key, String(value)]))}`;
};
export const part = encodeURIComponent;
const feedbackUrl = (chatId: string, messageId: string): string => `/chat/${part(chatId)}/messages/${part(messageId)}/feedback`;

export const api = {
  status: () => json<ServerStatus>('GET', '/status'),
  /** Somebody is about to use this model. Whether it is started is the server's to say. */
  prewarm: (model: string) => json<Prewarmed>('POST', '/prewarm', { model }),
  /** From the beginning of this day of UTC until now. */
  usage: (from: string) => json<UsageReport>('GET', `/usage${query({ from })}`),
  me: () => json<Profile>('GET', '/me'),
  saveMe: (profile: Partial<Profile>) => json<Profile>('PATCH', '/me', profile),

  signIn: async (token: string): Promise<void> => void (await request('POST', '/session', { token })),
  /** Where to sign out of the issuer, too, if anywhere. */
  signOut: async (): Promise<string | null> => {
    const response = await request('DELETE', '/session');
    return response.status === 200 ? ((await response.json()) as { logout_url: string | null }).logout_url : null;
  },

  chats: (values: { limit: number; after?: string | null; q?: string; archived?: boolean }, signal?: AbortSignal) =>
    json<Page<Chat>>('GET', `/chats${query(values)}`, undefined, { signal }),
  openChat: (id: string, values: { model?: string; temporary?: boolean; system_prompt?: string }) => json<Chat>('POST', '/chat', { id, ...values }),
  chat: (id: string, values: { limit?: number; before?: string | null } = {}) =>
    json<ChatDetail>('GET', `/chat/${part(id)}${query(values)}`),
  patchChat: (id: string, patch: ChatPatch) => json<Chat>('PATCH', `/chat/${part(id)}`, patch),
  putFeedback: (chatId: string, messageId: string, opinion: Opinion) =>
    json<Feedback>('PUT', feedbackUrl(chatId, messageId), opinion),
  dropFeedback: async (chatId: string, messageId: string): Promise<null> =>
    (await request('DELETE', feedbackUrl(chatId, messageId)), null),
  exportUrl: (id: string, format: 'json' | 'markdown'): string => `/chat/${part(id)}/export${query({ format })}`,

  /** `key` makes a regeneration safe to repeat; a message is its own key. */
  complete: (chatId: string, body: Completion, key: string, signal: AbortSignal) =>
    stream('POST', `/chat/${part(chatId)}/completion`, { ...body, mode: 'stream' }, signal, { 'Idempotency-Key': key }),
  events: (runId: string, after: number, signal: AbortSignal) =>
    stream('GET', `/runs/${part(runId)}/events${query({ last_event_id: after })}`, undefined, signal, {
      'Last-Event-ID': String(after),
    }),
  /** The passage that a citation names, with its neighbours. */
  passage: (documentId: string, chunk: number) => json<Passage>('GET', `/knowledge/${part(documentId)}/chunks/${chunk}`),
  stopRun: async (runId: string): Promise<void> => void (await request('DELETE', `/runs/${part(runId)}`)),
};
