/** What an answer can do without for the first frames, so that the page itself is small. */

import { signal } from '@preact/signals';

export const feedback = signal<typeof import('./Feedback') | null>(null);
import('./Feedback').then(
  (module) => (feedback.value = module),
  () => {
    // Answers and notes are read without it.
  },
);
