/** The reader's own templates, kept by the server. */

import { signal } from '@preact/signals';
import { json, part, request } from './api';
import { tried } from './noticed';
import type { Page, Problem } from './wire';

export interface Template {
  id: string;
  name: string;
  text: string;
  updated_at: string;
}

/** `TEMPLATES_MAX` and `TEMPLATE_BYTES` of the server. */
export const MOST = 50;
export const TEMPLATE_BYTES = 16 * 1024;

/** Null until they have been asked for. */
export const templates = signal<readonly Template[] | null>(null);

const urlOf = (id: string): string => `/templates/${part(id)}`;

export const loadTemplates = (): Promise<Problem | null> =>
  tried(async () => void (templates.value = (await json<Page<Template>>('GET', '/templates')).data));

export const saveTemplate = (id: string, name: string, text: string): Promise<Problem | null> =>
  tried(async () => {
    const saved = await json<Template>('PUT', urlOf(id), { name, text });
    const rest = (templates.peek() ?? []).filter((one) => one.id !== id);
    templates.value = [...rest, saved].sort((a, b) => (a.id < b.id ? -1 : 1));
  });

export const deleteTemplate = (id: string): Promise<Problem | null> =>
  tried(async () => {
    await request('DELETE', urlOf(id));
    templates.value = (templates.peek() ?? []).filter((one) => one.id !== id);
  });
