/** What this page tells the other tabs of the same browser. */

export type Word = { chat: string; what: 'run' | 'changed' | 'gone' };

export const tabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('parley');
export const tell = (word: Word): void => tabs?.postMessage(word);
