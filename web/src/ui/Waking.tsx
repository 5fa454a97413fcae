/** What happens before the first word: a quiet sign at first, and the whole story when a model has to wake. */

import { useEffect, useState } from 'preact/hooks';
import { atMost, ticking, wakingShare } from '../lib/format';
import { locale, t } from '../lib/i18n';
import type { LiveRun } from '../state';
import type { Phase } from '../wire';
import { Mark } from './icons';

/** A model that is awake answers before this; a card that only flashes would be worse than none. */
const PATIENCE_MS = 900;
const LONG_MS = 6_000;

function useClock(ms: number): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return now;
}

const STEPS: readonly Phase[] = ['queued', 'waking', 'loading', 'generating'];

export function Waking({ run }: { run: LiveRun }) {
  const now = useClock(250);
  const elapsed = run.elapsedMs + (now - run.heardAt);
  const isPatient = elapsed < PATIENCE_MS;
  if (!isPatient && run.phase === 'queued' && run.position !== null) return <Queued place={run.position} elapsed={elapsed} />;
  const isAsleep = run.phase === 'waking' || run.phase === 'loading' || (run.phase === 'queued' && run.usualMs !== null);
  if (!isPatient && isAsleep) return <Asleep run={run} elapsed={elapsed} />;
  return (
    <p class="thinking">
      <span class="thinking-mark"><Mark size={22} /></span>
      <span class="thinking-text">{run.phase === 'retrying' ? t.value.phaseRetrying : t.value.phaseThinking}</span>
      {elapsed > LONG_MS && <span class="thinking-time">{ticking(elapsed, locale.value)}</span>}
    </p>
  );
}

function Head({ title, elapsed, note }: { title: string; elapsed: number; note: string | null }) {
  return (
    <div class="waking-head">
      <span class="waking-mark"><Mark size={26} /></span>
      <div>
        <p class="waking-title">{title}</p>
        <p class="waking-time">
          <span class="tabular">{t.value.elapsed(ticking(elapsed, locale.value))}</span>
          {note && <span> · {note}</span>}
        </p>
      </div>
    </div>
  );
}

/** Every place at the model is taken. When one will be free nobody knows, so no bar pretends to. */
function Queued({ place, elapsed }: { place: number; elapsed: number }) {
  const words = t.value;
  return (
    <div class="waking">
      <Head title={words.phaseQueued} elapsed={elapsed} note={place === 1 ? words.queueNext : words.queuePlace(place)} />
      <p class="waking-note">{words.queueNote}</p>
    </div>
  );
}

/** What past starts say about this one: not a promise, and once the usual time is over it says so. */
function expectation(elapsed: number, usual: number | null, most: number | null): string | null {
  const words = t.value;
  const lang = locale.value;
  if (usual === null) return null;
  const usually = atMost(usual, lang);
  const longest = most === null ? usually : atMost(most, lang);
  // After one start, or several alike, there is one time to tell.
  if (elapsed <= usual) return longest === usually ? words.etaUsualOnly(usually) : words.etaUsual(usually, longest);
  return most !== null && elapsed <= most ? words.etaDue(longest) : words.etaLate;
}

function Asleep({ run, elapsed }: { run: LiveRun; elapsed: number }) {
  const words = t.value;
  const titles: Record<Phase, string> = {
    queued: words.phaseQueued,
    waking: words.phaseWaking,
    loading: words.phaseLoading,
    generating: words.phaseGenerating,
    retrying: words.phaseRetrying,
  };
  const names = [words.stepQueued, words.stepWaking, words.stepLoading, words.stepGenerating];
  const at = STEPS.indexOf(run.phase);
  const { usualMs: usual, mostMs: most } = run;
  const share = usual === null ? null : wakingShare(elapsed, usual, most ?? usual * 1.6);
  return (
    <div class="waking">
      <Head title={titles[run.phase]} elapsed={elapsed} note={expectation(elapsed, usual, most)} />
      <div
        class={share === null ? 'bar unknown' : 'bar'}
        role="progressbar"
        aria-label={titles[run.phase]}
        aria-valuemin={0}
        aria-valuemax={100}
        // In tenths: some screen readers make a sound at every change.
        aria-valuenow={share === null ? undefined : Math.floor(share * 10) * 10}
      >
        <span style={share === null ? undefined : { transform: `scaleX(${share.toFixed(4)})` }} />
      </div>
      <ol class="steps" aria-hidden="true">
        {names.map((name, step) => (
          <li key={name} class={step < at ? 'past' : step === at ? 'now' : ''}>
            {name}
          </li>
        ))}
      </ol>
      <p class="waking-note">{words.wakingNote}</p>
    </div>
  );
}
