/** The types of the scripted server, for the tests. */
import type { Feedback, ModelInfo, Profile, RunEvent, SpentRow } from '../src/wire';

export interface Refusal {
  n: number;
  match: RegExp;
  status: number;
  code: string;
  param?: string;
  message?: string;
  headers?: Record<string, string>;
}

export interface Control {
  token: string | null;
  requests: string[];
  bodies: { message?: { id: string; content: string }; regenerate?: string }[] & Record<string, unknown>[];
  keys: string[];
  refuse: Refusal | null;
  lastWordAt: number;
  instructions: string;
  reader: string;
  shares: Map<string, { id: string; chat_id: string; leaf: string | null }>;
  templates: Map<string, { id: string; name: string; text: string; updated_at: string }>;
  models: ModelInfo[];
  usage: SpentRow[];
  spend(days: number): void;
  issuer: string | null;
  me: Partial<Profile>;
  accounts: { keys: { id: string; name: string }[]; devices: { id: string; current: boolean }[]; users: { id: string; name: string; role: string; status: string; group: string | null }[]; invitations: { id: string }[] };
  addUsers(n: number): void;
  mayPrewarm: boolean;
  tell(event: Omit<Extract<RunEvent, { type: 'status' }>, 'type'>): void;
  release(): void;
  cutAll(): void;
  reset(): void;
  seed(n: number): void;
  thread(n: number, text?: string): { id: string };
  chats: Map<string, { id: string; title: string | null; archived: boolean; pinned: boolean; active_leaf: string | null }>;
  messages: Map<string, { id: string; role: string; content: string; feedback: Feedback | null }>;
  runs: Map<string, { stop: boolean }>;
}

export const POLICY: string;
export function startMock(options?: {
  port?: number;
  token?: string | null;
  seed?: number;
  wakeMs?: number;
  dist?: string;
}): Promise<{ url: string; control: Control; close: () => Promise<void> }>;
