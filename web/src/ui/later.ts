/** What an answer can do without for the first frames, so that the page itself is small. */

import { signal } from '@preact/signals';

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

export const feedback = signal<typeof import('./Feedback') | null>(null);
import('./Feedback').then(
  (module) => (feedback.value = module),
  () => {
    // Answers and notes are read without it.
  },
);
