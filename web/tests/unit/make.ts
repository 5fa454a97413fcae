/** Values for tests. */
import type { Chat, Message, Role } from '../../src/wire';

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
