/** What the reader may still use: a meter for each limit that there is. */

import { LIMITS, type LimitName } from '../accounts';
import { words } from '../i18n/account';
import { amount, isBudget } from '../lib/limits';
import { locale } from '../lib/i18n';
import { profile } from '../store';
import '../style/account.css';

export function Plan() {
  const limits = profile.value?.limits;
  const w = words.value;
  const shown = LIMITS.filter((name) => typeof limits?.[name] === 'object' && limits[name] !== null);
  if (shown.length === 0) return null;
  return (
    <section aria-labelledby="plan">
      <h3 id="plan">{w.left}</h3>
      <ul class="meters">{shown.map((name) => <Meter key={name} name={name} />)}</ul>
    </section>
  );
}

const when = (time: string): string => new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(time));

function Meter({ name }: { name: LimitName }) {
  const w = words.value;
  const state = profile.value!.limits![name]!;
  const { limit, remaining } = state;
  const used = Math.max(0, limit - remaining);
  const share = limit > 0 ? Math.min(1, used / limit) : 1;
  return (
    <li>
      <p class="meter-line">
        <span id={`meter-${name}`}>{w.limitNames[name]}</span>
        <span class="tabular quiet">{w.usedOf(amount(name, used, locale.value), amount(name, limit, locale.value))}</span>
      </p>
      <meter class={share >= 0.9 ? 'full' : ''} min={0} max={1} value={share} aria-labelledby={`meter-${name}`} aria-valuetext={w.usedOf(amount(name, used, locale.value), amount(name, limit, locale.value))} />
      <p class="quiet small">
        {w.leftOf(amount(name, Math.max(0, remaining), locale.value))}
        {isBudget(name) && state.resets_at && ` · ${w.renews(when(state.resets_at))}`}
        {state.from && ` · ${w.from[state.from]}`}
        {remaining <= 0 && ` · ${w.usedUp}`}
      </p>
    </li>
  );
}
