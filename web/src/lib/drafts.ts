/** What was typed and not sent, kept per chat. What was sent and has not arrived is in `outbox.ts`. */

import type { Attached } from './attached';
import { load, save } from './stored';

export interface Draft {
  text: string;
  /** Texts that go with it. */
  files?: readonly Attached[];
}

export const NEW_CHAT = 'new';
const NONE: Draft = { text: '' };

const isDraft = (value: unknown): value is Draft =>
  typeof value === 'object' && value !== null && typeof (value as Draft).text === 'string';

export const draftOf = (chat: string | null): Draft => load(`draft.${chat ?? NEW_CHAT}`, NONE, isDraft);

export const keepDraft = (chat: string | null, draft: Draft): void =>
  save(`draft.${chat ?? NEW_CHAT}`, draft.text === '' && !draft.files?.length ? null : draft);

export const dropDraft = (chat: string | null): void => save(`draft.${chat ?? NEW_CHAT}`, null);
