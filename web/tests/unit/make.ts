/** Values for tests. */
import type { Chat, Message, ModelInfo, Role, ServerStatus } from '../../src/wire';

export const message = (id: string, parent: string | null, role: Role, content = `text of ${id}`): Message => ({
  id,
  chat_id: 'c',
  parent_id: parent,
  role,
  content,
  created_at: '2026-01-01T00:00:00Z',
  status: 'complete',
});

export const chat = (id: string, values: Partial<Chat> = {}): Chat => ({
  id,
  title: null,
  model: null,
  system_prompt: null,
  created_at: '2026-01-01T00:00:00Z',
  updated_at: '2026-01-01T00:00:00Z',
  pinned: false,
  archived: false,
  active_leaf: null,
  active_run: null,
  ...values,
});

export const model = (id: string, values: Partial<ModelInfo> = {}): ModelInfo => ({
  id,
  name: id,
  state: 'cold',
  context_tokens: null,
  demo: false,
  notice: null,
  eta_p50_ms: null,
  eta_p90_ms: null,
  since_ms: null,
  gpu: '',
  usd_per_hour: 0,
  nodes: 1,
  queued: 0,
  ...values,
});

export const status = (models: ModelInfo[]): ServerStatus => ({ version: '0', auth: 'local', models, default_model: models[0]?.id ?? null });
