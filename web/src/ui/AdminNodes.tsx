/** The model servers, one by one: awake or asleep, how long they take to wake, what they cost, and have cost today. */

import { useEffect } from 'preact/hooks';
import { accounts, type ModelNode } from '../accounts';
import { words } from '../i18n/admin';
import { atMost, count, duration, money } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { modelName } from '../store';
import type { ModelState } from '../wire';
import { Loaded, useLoaded } from './Loaded';

const LOOK_MS = 10_000;

export function AdminNodes() {
  const nodes = useLoaded(accounts.nodes);
  const w = words.value;
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && nodes.again(), LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <Loaded of={nodes}>
      {({ data }) =>
        data.length === 0 ? (
          <p class="quiet">{t.value.noModels}</p>
        ) : (
          <ul class="entries" aria-label={w.parts.nodes}>{data.map((one) => <One key={one.name} one={one} />)}</ul>
        )
      }
    </Loaded>
  );
}

const One = ({ one }: { one: ModelNode }) => (
  <li>
    <div class="row-text">
      <p class="row-name" dir="auto">{one.name} <span class={`tag ${one.state}`}>{stateName(one.state)}</span></p>
      <p class="quiet small" dir="auto">{one.models.map((id) => modelName(id)).join(', ')}</p>
      <p class="quiet small">{factsOf(one)}</p>
    </div>
    <p class="node-cost tabular">{costOf(one)}</p>
  </li>
);

const stateName = (state: ModelState): string =>
  ({ cold: t.value.modelCold, warming: t.value.modelWarming, warm: t.value.modelWarm, unreachable: t.value.modelUnreachable })[state];

function factsOf(one: ModelNode): string {
  const w = words.value;
  return [
    one.gpu,
    one.usd_per_hour > 0 ? t.value.modelPrice(money(one.usd_per_hour)) : w.ownHardware,
    one.since_ms !== null && w.since2(duration(one.since_ms, locale.value)),
    one.state !== 'warm' && one.eta_p50_ms !== null && w.wakesIn(atMost(one.eta_p50_ms, locale.value)),
  ].filter(Boolean).join(' · ');
}

/** Of a node without a price only what it has answered. */
function costOf({ today, usd_per_hour }: ModelNode): string {
  const w = words.value;
  const sum = today.is_estimate && today.cost_usd > 0 ? t.value.factAbout(money(today.cost_usd)) : money(today.cost_usd);
  return usd_per_hour > 0 || today.cost_usd > 0 ? w.costToday(sum) : w.answersToday(count(today.runs, locale.value));
}
