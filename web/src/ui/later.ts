/** What an answer can do without for the first frames, so that the page itself is small. */

import { effect, signal } from '@preact/signals';
import { settings } from '../lib/settings';

/** What only some messages need: files and long pastes, templates and their gaps. */
export const writing = signal<typeof import('./writing') | null>(null);
let isAsked = false;
export function needWriting(): void {
  if (isAsked) return;
  isAsked = true;
  import('./writing').then(
    (module) => (writing.value = module),
    () => (isAsked = false),
  );
}

/** Why something was refused, in the reader's language. It is English anyway until then. */
export const refusals = signal<typeof import('../i18n/refusals') | null>(null);
export function needRefusals(): void {
  if (refusals.peek() !== null) return;
  import('../i18n/refusals').then(
    (module) => (refusals.value = module),
    () => {
      // The server's own sentences do.
    },
  );
}
effect(() => {
  if (settings.value.lang === 'zh') needRefusals();
});

export const feedback = signal<typeof import('./Feedback') | null>(null);
import('./Feedback').then(
  (module) => (feedback.value = module),
  () => {
    // Answers and notes are read without it.
  },
);
