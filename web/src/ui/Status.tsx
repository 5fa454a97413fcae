/**
 * What a screen reader hears. The conversation itself is not a live region: words that arrive one by one would be read
 * one by one. Here is said once that an answer has begun, and once what it is.
 */

import { t } from '../lib/i18n';
import { ended, isRunning, messages, runLink, runPhase, runPosition } from '../store';

const LONGEST = 600;

/** Marks are for the eye. */
const spoken = (text: string): string =>
  text.replace(/```[\s\S]*?(?:```|$)/g, ' … ').replace(/[*_`#>|~]+/g, '').replace(/\s+/g, ' ').trim().slice(0, LONGEST);

/** No times: a sentence that stays the same is said once. */
function phaseSentence(): string {
  const words = t.value;
  const place = runPosition.value;
  switch (runPhase.value) {
    case 'queued':
      return place === null ? words.sayGenerating : words.sayQueued(place);
    case 'waking':
      return words.sayWaking;
    case 'loading':
      return words.sayLoading;
    case 'retrying':
      return words.sayRetrying;
    default:
      return words.sayGenerating;
  }
}

function sentence(): string {
  const words = t.value;
  if (isRunning.value) {
    if (runLink.value === 'waiting') return words.sayReconnecting;
    return phaseSentence();
  }
  const last = ended.value;
  if (!last) return '';
  if (last.how === 'stopped') return words.sayStopped;
  if (last.how === 'failed') return words.sayFailed;
  if (last.how === 'withdrawn') return words.sayWithdrawn(spoken(messages.value[last.messageId]?.content ?? ''));
  return words.sayDone(spoken(messages.value[last.messageId]?.content ?? ''));
}

export const Status = () => (
  <div class="sr-only" role="status" aria-live="polite" aria-atomic="true">
    {sentence()}
  </div>
);
