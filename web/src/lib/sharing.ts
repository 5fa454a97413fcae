/** What another app shares with the installed one comes as the query of the page's address. */

import { draftOf, keepDraft } from './drafts';

const MOST_CHARS = 20_000;

/** Puts it into the box of a new chat, behind what is there. Nothing is sent: that is for the reader to do. */
export function takeShared(): void {
  const query = new URLSearchParams(location.search);
  const parts = ['title', 'text', 'url'].map((name) => query.get(name)?.trim() ?? '').filter((part) => part !== '');
  if (location.search === '') return;
  history.replaceState(null, '', `/${parts.length > 0 ? '' : location.hash}`);
  if (parts.length === 0) return;
  const shared = [...new Set(parts)].join('\n').slice(0, MOST_CHARS);
  const before = draftOf(null).text;
  keepDraft(null, { text: before === '' ? shared : `${before}\n\n${shared}` });
}
