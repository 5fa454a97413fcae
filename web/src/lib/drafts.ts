/**
 * What was typed and not sent, kept per chat.
 *
 * A draft stays until the server has accepted the message. It then carries the id it was sent under, so that a reload
 * in between can neither lose the text nor send it twice.
 */

import type { Attached } from './attached';
import { load, save } from './stored';

export interface Draft {
  text: string;
  sentAs: string | null;
  /** Texts that go with it. */
  files?: readonly Attached[];
}

export const NEW_CHAT = 'new';
const NONE: Draft = { text: '', sentAs: null };

const isDraft = (value: unknown): value is Draft =>
  typeof value === 'object' && value !== null && typeof (value as Draft).text === 'string';

export const draftOf = (chat: string | null): Draft => load(`draft.${chat ?? NEW_CHAT}`, NONE, isDraft);

export const keepDraft = (chat: string | null, draft: Draft): void =>
  save(`draft.${chat ?? NEW_CHAT}`, draft.text === '' && !draft.files?.length ? null : draft);

export const dropDraft = (chat: string | null): void => save(`draft.${chat ?? NEW_CHAT}`, null);
