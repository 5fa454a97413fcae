/**
 * What a screen reader hears. The conversation itself is not a live region: words that arrive one by one would be read
 * one by one. One region says what happens; another reads the answer, sentence by sentence, unless that is switched off.
 */

import { effect } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { t } from '../lib/i18n';
import { settings } from '../lib/settings';
import { ended, isRunning, messages, online, openId, runLink, runMessageId, runPhase, runPosition, runText } from '../store';
import { parser } from './Answer';

const LONGEST = 600;
/** Sentences that were read may go; the region is no second transcript. */
const MOST_SENTENCES = 12;

const spoken = (text: string): string => parser.peek()?.clean(text).slice(0, LONGEST) ?? '';

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
  if (!online.value) return words.offline;
  if (isRunning.value) {
    if (runLink.value === 'waiting') return words.sayReconnecting;
    return phaseSentence();
  }
  const last = ended.value;
  if (!last) return '';
  if (last.how === 'stopped') return words.sayStopped;
  if (last.how === 'failed') return words.sayFailed;
  if (last.how === 'withdrawn') return words.sayWithdrawn(spoken(messages.value[last.messageId]?.content ?? ''));
  return words.sayDone;
}

interface Said {
  n: number;
  text: string;
}
let count = 0;

/** The answer that is being written, as far as its sentences are whole. */
function useSentences(): readonly Said[] {
  const [read, setRead] = useState<readonly Said[]>([]);
  useEffect(() => {
    let id: string | null = null;
    let chat: string | null = null;
    let reader: InstanceType<NonNullable<typeof parser.value>['Sentences']> | null = null;
    return effect(() => {
      const running = runMessageId.value;
      const text = runText.value;
      const module = parser.value;
      if (openId.value !== chat) {
        chat = openId.peek();
        setRead([]); // it was read in another chat
      }
      if (running !== null && running !== id && module) {
        id = running;
        reader = new module.Sentences(t.peek().codeSpoken);
        setRead([]);
      }
      if (!reader || settings.value.speak === false) return;
      const last = running === null ? ended.value : null;
      // A verdict that came late: what is left of it is not read, and what was read is gone as well.
      if (last?.messageId === id && last.how === 'withdrawn') return setRead([]);
      if (running === null && last?.messageId !== id) return;
      const fresh = reader.next(running === null ? (messages.peek()[id!]?.content ?? '') : text, running === null);
      if (fresh.length > 0) setRead((before) => [...before, ...fresh.map((one) => ({ n: ++count, text: one }))].slice(-MOST_SENTENCES));
    });
  }, []);
  return read;
}

export function Status() {
  return (
    <>
      <div class="sr-only" role="status" aria-live="polite" aria-atomic="true">
        {sentence()}
      </div>
      <Reading />
    </>
  );
}

function Reading() {
  const read = useSentences();
  return (
    <div class="sr-only" role="log" aria-live="polite" aria-relevant="additions" aria-label={t.value.answerRead}>
      {read.map(({ n, text }) => <p key={n}>{text}</p>)}
    </div>
  );
}
