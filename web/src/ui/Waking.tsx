/** What happens before the first word: a quiet sign at first, and the whole story when a model has to wake. */

import { useEffect, useState } from 'preact/hooks';
import { duration, ticking, wakingShare } from '../lib/format';
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
  const words = t.value;
  const isAsleep = run.phase === 'waking' || run.phase === 'loading' || (run.phase === 'queued' && run.etaP50Ms !== null);
  const isRetrying = run.phase === 'retrying';

  if (!isAsleep || elapsed < PATIENCE_MS) {
    const text = isRetrying ? words.phaseRetrying : words.phaseThinking;
    return (
      <p class="thinking">
        <span class="thinking-mark"><Mark size={22} /></span>
        <span class="thinking-text">{text}</span>
        {elapsed > LONG_MS && <span class="thinking-time">{ticking(elapsed, locale.value)}</span>}
      </p>
    );
  }

  const titles: Record<Phase, string> = {
    queued: words.phaseQueued,
    waking: words.phaseWaking,
    loading: words.phaseLoading,
    generating: words.phaseGenerating,
    retrying: words.phaseRetrying,
  };
  const names = [words.stepQueued, words.stepWaking, words.stepLoading, words.stepGenerating];
  const at = STEPS.indexOf(run.phase);
  const { etaP50Ms: p50, etaP90Ms: p90 } = run;
  const isLate = p90 !== null && elapsed > p90;
  const share = p50 === null ? null : wakingShare(elapsed, p50, p90 ?? p50 * 1.6);
  const eta =
    p50 === null ? null
    : isLate ? words.etaLate
    : p90 === null ? words.etaUsualOnly(duration(p50, locale.value))
    : words.etaUsual(duration(p50, locale.value), duration(p90, locale.value));

  return (
    <div class="waking">
      <div class="waking-head">
        <span class="waking-mark"><Mark size={26} /></span>
        <div>
          <p class="waking-title">{titles[run.phase]}</p>
          <p class="waking-time">
            <span class="tabular">{words.elapsed(ticking(elapsed, locale.value))}</span>
            {eta && <span> · {eta}</span>}
          </p>
        </div>
      </div>
      <div
        class={share === null ? 'bar unknown' : 'bar'}
        role="progressbar"
        aria-label={titles[run.phase]}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={share === null ? undefined : Math.round(share * 100)}
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
