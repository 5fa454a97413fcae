/** What one answer took: the sum in a line under it, and its parts behind that line. */

import { count, duration, money } from '../lib/format';
import { locale, t } from '../lib/i18n';
import type { Cost, Message, Timings, Usage } from '../wire';
import * as icons from './icons';

const join = (parts: readonly (string | null)[]): string => parts.filter((part) => part !== null).join(' · ');

function timeFacts(timings: Timings, usage: Usage): string {
  const words = t.value;
  const lang = locale.value;
  const writing = timings.total_ms - timings.ttft_ms;
  const speed = writing > 200 && usage.completion_tokens > 4 ? (usage.completion_tokens / writing) * 1000 : null;
  return join([
    words.factFirst(duration(timings.ttft_ms, lang)),
    timings.wake_ms > 0 ? words.factWake(duration(timings.wake_ms, lang)) : null,
    speed === null ? null : words.factSpeed(speed < 10 ? speed.toFixed(1) : count(Math.round(speed), lang)),
  ]);
}

function tokenFacts(usage: Usage, leftOut: number): string {
  const words = t.value;
  const lang = locale.value;
  return join([
    words.factRead(count(usage.prompt_tokens, lang)),
    usage.cached_tokens > 0 ? words.factCached(count(usage.cached_tokens, lang)) : null,
    words.factWritten(count(usage.completion_tokens, lang)),
    leftOut > 0 ? words.factLeftOut(leftOut) : null,
  ]);
}

const PARTS = ['active_seconds', 'cold_start_seconds', 'idle_seconds'] as const;

/** Where the GPU's seconds went: a bar in their proportion, and the same in words. */
function GpuFacts({ cost }: { cost: Cost }) {
  const words = t.value;
  const names = { active_seconds: words.partActive, cold_start_seconds: words.partColdStart, idle_seconds: words.partIdle };
  const used = PARTS.filter((part) => cost[part] > 0);
  return (
    <>
      <svg class="split" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" focusable="false">
        {used.map((part, at) => {
          const before = used.slice(0, at).reduce((sum, other) => sum + cost[other], 0);
          return <rect key={part} class={part} x={(before / cost.gpu_seconds) * 100} width={(cost[part] / cost.gpu_seconds) * 100} height={1} />;
        })}
      </svg>
      <ul class="legend">
        {used.map((part) => (
          <li key={part} class={part}>{names[part](duration(cost[part] * 1000, locale.value))}</li>
        ))}
      </ul>
    </>
  );
}

export function Facts({ message, name }: { message: Message; name: string }) {
  const words = t.value;
  const lang = locale.value;
  const { usage, timings, cost } = message;
  if (!usage || !timings || message.status === 'blocked') return null;
  const isPaid = cost !== null && cost !== undefined && cost.cost_usd > 0;
  const price = !isPaid ? null : cost.is_estimate ? words.factAbout(money(cost.cost_usd)) : money(cost.cost_usd);
  const short = join([name, words.factTokens(count(usage.completion_tokens, lang)), duration(timings.total_ms, lang), price]);
  return (
    // What opens below the last line would lie under the message box.
    <details class="facts" onToggle={({ currentTarget }) => currentTarget.open && currentTarget.scrollIntoView({ block: 'nearest' })}>
      <summary aria-label={`${words.facts}: ${short}`}>
        <span class="tabular">{short}</span>
        <icons.Caret />
      </summary>
      <dl class="tabular">
        <dt>{words.factTime}</dt>
        <dd>{timeFacts(timings, usage)}</dd>
        <dt>{words.factReading}</dt>
        <dd>{tokenFacts(usage, message.left_out ?? 0)}</dd>
        {isPaid && (
          <>
            <dt>{words.factCost}</dt>
            <dd>{join([price, cost.is_estimate ? words.factEstimate : null])}</dd>
            <dt>{words.factGpu}</dt>
            <dd><GpuFacts cost={cost} /></dd>
          </>
        )}
      </dl>
    </details>
  );
}
