/** The model servers: awake or asleep, how long they take to wake, what they cost. */

import { useEffect } from 'preact/hooks';
import { words } from '../i18n/admin';
import { atMost, duration, money } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { refreshModels } from '../models';
import { models } from '../store';
import type { ModelInfo, ModelState } from '../wire';

export function AdminNodes() {
  const w = words.value;
  useEffect(() => void refreshModels(), []);
  if (models.value.length === 0) return <p class="quiet">{t.value.noModels}</p>;
  return (
    <ul class="entries" aria-label={w.parts.nodes}>
      {models.value.map((one) => (
        <li key={one.id}>
          <div class="row-text">
            <p class="row-name" dir="auto">{one.name} <span class={`tag ${one.state}`}>{stateName(one.state)}</span></p>
            <p class="quiet small">{factsOf(one)}</p>
          </div>
        </li>
      ))}
    </ul>
  );
}

const stateName = (state: ModelState): string =>
  ({ cold: t.value.modelCold, warming: t.value.modelWarming, warm: t.value.modelWarm, unreachable: t.value.modelUnreachable })[state];

function factsOf(one: ModelInfo): string {
  const w = words.value;
  return [
    w.nodes(one.nodes),
    one.gpu,
    one.usd_per_hour > 0 ? t.value.modelPrice(money(one.usd_per_hour)) : w.ownHardware,
    one.since_ms !== null && w.since2(duration(one.since_ms, locale.value)),
    one.state !== 'warm' && one.eta_p50_ms !== null && w.wakesIn(atMost(one.eta_p50_ms, locale.value)),
    one.queued > 0 && t.value.modelQueue(one.queued),
  ].filter(Boolean).join(' · ');
}
