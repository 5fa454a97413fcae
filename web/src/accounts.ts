/** Keys, devices and limits of the reader, and the pages of those who run the house: calls that are loaded with them. */

import { json, part, query, request } from './api';
import { noticed } from './noticed';
import type { AccountRole, ModelState, Page, Problem } from './wire';

export type Scope = 'read' | 'chat' | 'admin';

export interface ApiKey {
  id: string;
  name: string;
  scopes: Scope[];
  origins: string[];
  /** Its first letters. */
  hint: string;
  created_at: string;
  last_used_at: string | null;
  expires_at: string | null;
}

export interface NewKey {
  name: string;
  scopes: Scope[];
  origins: string[];
  expires_days?: number;
}

export interface Device {
  id: string;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
  agent: string;
  current: boolean;
}

export interface User {
  id: string;
  email: string | null;
  name: string | null;
  role: AccountRole;
  status: 'active' | 'suspended';
  group: string | null;
  created_at: string;
  last_seen_at: string | null;
}

export interface Invitation {
  id: string;
  email: string | null;
  name: string | null;
  role: AccountRole;
  group: string | null;
  created_at: string;
  expires_at: string;
  /** In the answer to its making only. */
  link: string | null;
}

export interface NewInvitation {
  email?: string;
  name?: string;
  role: AccountRole;
  group?: string;
  days: number;
}

/** Null: whatever holds otherwise; 0: no limit. */
export type Limits = Record<LimitName, number | null>;
export const LIMITS = ['runs_per_minute', 'runs_at_once', 'tokens_per_day', 'gpu_seconds_per_day', 'usd_per_day', 'usd_per_month'] as const;
export type LimitName = (typeof LIMITS)[number];

/** Of the limits that hold. */
export type Used = Partial<Record<LimitName, { used: number; reserved: number; resets_at: string | null }>>;

export interface AllLimits {
  defaults: Limits;
  house: { limits: Limits; used: Used };
  groups: { name: string; limits: Limits }[];
  /** Those with limits of their own. */
  users: { id: string; name: string | null; email: string | null; limits: Limits; used: Used }[];
}

export interface VerdictDay {
  day: string;
  stage: string;
  rail: string;
  action: string;
  count: number;
}

/** A model server, and what it has cost since midnight UTC. */
export interface ModelNode {
  name: string;
  models: string[];
  state: ModelState;
  since_ms: number | null;
  eta_p50_ms: number | null;
  eta_p90_ms: number | null;
  serverless: boolean;
  gpu: string;
  usd_per_hour: number;
  today: { runs: number; gpu_seconds: number; cost_usd: number; is_estimate: boolean };
}

export type Receipt = Readonly<Record<string, number>>;

export const accounts = {
  keys: () => json<ApiKey[]>('GET', '/keys'),
  makeKey: (key: NewKey) => json<ApiKey & { key: string }>('POST', '/keys', key),
  revokeKey: async (id: string): Promise<void> => void (await request('DELETE', `/keys/${part(id)}`)),
  devices: () => json<Device[]>('GET', '/sessions'),
  endDevice: async (id: string): Promise<void> => void (await request('DELETE', `/sessions/${part(id)}`)),
  endOtherDevices: () => json<{ ended: number }>('DELETE', '/sessions'),

  users: (q: string, after: string | null) => json<Page<User>>('GET', `/admin/users${query({ q, after, limit: 50 })}`),
  changeUser: (id: string, changes: Partial<Pick<User, 'role' | 'status' | 'group'>>) => json<User>('PATCH', `/admin/users/${part(id)}`, changes),
  deleteUser: (id: string) => json<Receipt>('DELETE', `/admin/users/${part(id)}`, { confirm: 'delete everything' }),
  invitations: () => json<Invitation[]>('GET', '/admin/invitations'),
  invite: (invitation: NewInvitation) => json<Invitation>('POST', '/admin/invitations', invitation),
  revokeInvitation: async (id: string): Promise<void> => void (await request('DELETE', `/admin/invitations/${part(id)}`)),
  limits: () => json<AllLimits>('GET', '/admin/limits'),
  /** `whom`: `house`, `groups/NAME` or `users/ID`. */
  setLimits: (whom: string, limits: Limits) => json<AllLimits>('PUT', `/admin/limits/${whom}`, limits),
  nodes: () => json<{ data: ModelNode[] }>('GET', '/admin/nodes'),
  verdicts: (from: string, to: string) => json<{ data: VerdictDay[]; total: number }>('GET', `/admin/verdicts${query({ from, to })}`),
  pause: (reason: string) => json<unknown>('PUT', '/admin/pause', { reason: reason || null }),
  resume: async (): Promise<void> => void (await request('DELETE', '/admin/pause')),
};

/** What came of it, or what to tell the reader. */
export async function asked<T>(job: () => Promise<T>): Promise<{ value: T } | { problem: Problem }> {
  try {
    return { value: await job() };
  } catch (error) {
    return { problem: noticed(error) };
  }
}
