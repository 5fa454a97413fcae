/** What travels between the client and Parley: the same names as `functions/chat/messages.py`. */

export type Role = 'user' | 'assistant';
export type MessageStatus = 'complete' | 'stopped' | 'failed' | 'blocked';
export type RunStatus = 'queued' | 'running' | 'completed' | 'stopped' | 'failed';
export type Phase = 'queued' | 'waking' | 'loading' | 'generating' | 'retrying';
export type Stage = 'input' | 'output';
export type Action = 'blocked' | 'redacted' | 'flagged';

export interface Usage {
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
}

export interface Timings {
  queue_ms: number;
  wake_ms: number;
  ttft_ms: number;
  total_ms: number;
}

/** What an answer cost on rented GPUs: `gpu_seconds` is the sum of its three parts. */
export interface Cost {
  gpu_seconds: number;
  cost_usd: number;
  active_seconds: number;
  cold_start_seconds: number;
  idle_seconds: number;
  is_estimate: boolean;
}

export interface Verdict {
  stage: Stage;
  rail: string;
  action: Action;
  message: string;
  /** The version of the rules it was made under. */
  policy?: string;
}

export type Rating = 1 | -1;
export type Reason = 'incorrect' | 'unhelpful' | 'ignored' | 'style' | 'unsafe' | 'guardrail_wrong' | 'other';

export interface Opinion {
  rating: Rating;
  reason: Reason | null;
  comment: string | null;
}

export interface Feedback extends Opinion {
  at: string;
}

export interface Problem {
  code: string;
  message: string;
  /** The field, or the limit, that it is about. */
  param?: string | null;
  /** When the same may succeed, in Unix milliseconds. */
  until?: number | null;
}

export interface Citation {
  /** `[index]` in the answer's text names it. */
  index: number;
  document_id: string;
  title: string;
  chunk: number;
  score: number;
}

/** A chunk of a document, with what stands before and after it. */
export interface Passage {
  document_id: string;
  title: string;
  chunk: number;
  heading: string | null;
  page: number | null;
  text: string;
  before: string | null;
  after: string | null;
}

export interface Message {
  id: string;
  chat_id: string;
  parent_id: string | null;
  role: Role;
  content: string;
  created_at: string;
  status: MessageStatus;
  model?: string | null;
  run_id?: string | null;
  finish_reason?: string | null;
  usage?: Usage | null;
  timings?: Timings | null;
  cost?: Cost | null;
  verdicts?: Verdict[];
  error?: Problem | null;
  /** Earlier messages that did not fit into the model's context. */
  left_out?: number;
  /** The passages of the knowledge base that the model was shown. */
  citations?: Citation[];
  /** Earlier messages that the model saw as a summary. */
  summarised?: number;
  /** When the same question was answered before, and this is that answer. */
  cached_from?: { at: string } | null;
  /** How many memories the model was shown. */
  memories_used?: number;
  /** Who was asked, where another model answered. */
  asked_model?: string | null;
  feedback?: Feedback | null;
  /** The client's own: its reader had begun to read a text that was then taken back. */
  withdrawn?: true;
}

export interface Chat {
  id: string;
  title: string | null;
  model: string | null;
  system_prompt: string | null;
  created_at: string;
  updated_at: string;
  pinned: boolean;
  archived: boolean;
  active_leaf: string | null;
  active_run: string | null;
  /** In no listing, without memory, gone at `expires_at`. */
  temporary?: boolean;
  expires_at?: string | null;
  /** Where a search has found it. */
  match?: Match;
}

/** The pieces of a text alternate between plain and found; together they are the text. */
export interface Match {
  title: readonly string[];
  /** The newest message that says it, unless the title does. */
  message_id: string | null;
  snippet: readonly string[] | null;
}

/** What the model sees of the part of a chat that has become too long for it. */
export interface Summary {
  /** The last message that it stands for. */
  upto: string;
  text: string;
  created_at: string;
}

export interface ChatDetail extends Chat {
  summary?: Summary | null;
  messages: Message[];
  has_more?: boolean;
  first_id?: string | null;
}

export interface Page<T> {
  data: T[];
  has_more: boolean;
  last_id: string | null;
}

/** `viewer`: reads, and writes nothing. */
export type AccountRole = 'admin' | 'member' | 'viewer';

/** How much of a limit is left. */
export interface Standing {
  limit: number;
  remaining: number;
  used?: number;
  reserved?: number;
  resets_at?: string | null;
  from?: 'user' | 'group' | 'house' | 'default';
}

export interface Profile {
  /** The name that others know the reader by. */
  id?: string;
  name?: string | null;
  email?: string | null;
  role?: AccountRole;
  scopes?: ('read' | 'chat' | 'admin')[];
  group?: string | null;
  limits?: Partial<Record<string, Standing | null>> | null;
  /** Nobody gets new answers for the time being. */
  paused?: { at: string; reason: string | null } | null;
  custom_instructions: string;
  /** Whether memories are made and used. */
  memory: boolean;
}

export type ModelState = 'cold' | 'warming' | 'warm' | 'unreachable';

export interface ModelInfo {
  id: string;
  name: string;
  state: ModelState;
  context_tokens: number | null;
  demo: boolean;
  notice: string | null;
  /** What is still to wait, counted from the answer: of a whole start when it sleeps, of the rest when it wakes. */
  eta_p50_ms: number | null;
  eta_p90_ms: number | null;
  /** How long it has been in `state`. */
  since_ms: number | null;
  gpu: string;
  /** Of one GPU while it is awake; 0: our own, or not known. */
  usd_per_hour: number;
  nodes: number;
  queued: number;
}

/** What the server says of a model that somebody is about to use. */
export interface Prewarmed {
  model: string;
  state: ModelState;
  eta_p50_ms?: number | null;
  eta_p90_ms?: number | null;
  started: boolean;
  /** Why it must not be started, for a person. */
  reason?: string | null;
}

export interface Spent extends Cost {
  runs: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
}

export interface SpentRow extends Spent {
  /** A day of UTC, `2026-11-21`. */
  day: string;
  model: string;
  /** Null: what waking a model for somebody who typed has cost. */
  chat_id: string | null;
}

export interface UsageReport {
  data: SpentRow[];
  total: Spent;
  prices_as_of: string;
}

export interface ServerStatus {
  version: string;
  auth: 'local' | 'token' | 'oidc';
  models: ModelInfo[];
  default_model: string | null;
}

/** The events of a run; `type` is also the SSE event name. */
export type RunEvent =
  | {
      type: 'run';
      run_id: string;
      chat_id: string | null;
      user_message_id: string | null;
      assistant_message_id: string;
      model: string;
      status: RunStatus;
    }
  | {
      type: 'status';
      phase: Phase;
      elapsed_ms: number;
      /** What is still to wait, counted from this event. */
      eta_p50_ms?: number | null;
      eta_p90_ms?: number | null;
      /** The place in the queue, from 1. */
      position?: number | null;
    }
  | { type: 'delta'; text: string }
  | ({ type: 'guardrail' } & Verdict)
  | ({ type: 'citation' } & Citation)
  | { type: 'title'; title: string }
  | { type: 'done'; message: Message; usage: Usage; timings: Timings; cost: Cost; finish_reason: string }
  | { type: 'stopped'; message?: Message | null }
  | { type: 'failed'; error: Problem; message?: Message | null };

const NAMES: ReadonlySet<string> = new Set(['run', 'status', 'delta', 'guardrail', 'citation', 'title', 'done', 'stopped', 'failed']);

export const isTerminal = (event: RunEvent): boolean =>
  event.type === 'done' || event.type === 'stopped' || event.type === 'failed';

/** Reads one event; a name this client does not know yet is null and skipped, so that the server may grow. */
export function readEvent(name: string, data: string): RunEvent | null {
  const value = JSON.parse(data) as { type?: string };
  const type = value.type ?? name;
  return NAMES.has(type) ? ({ ...value, type } as RunEvent) : null;
}

/** Limits the server enforces; the client says so before sending. */
export const MESSAGE_BYTES = 64 * 1024;
export const PAGE = 50;
