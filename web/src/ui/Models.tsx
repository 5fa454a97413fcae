import { chooseModel } from '../actions';
import { age, atMost, count, money } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { refreshModels } from '../models';
import { model, models, server } from '../store';
import type { ModelInfo, ModelState } from '../wire';
import { Caret } from './icons';
import { Menu } from './Menu';

const stateName = (state: ModelState): string =>
  ({ cold: t.value.modelCold, warming: t.value.modelWarming, warm: t.value.modelWarm, unreachable: t.value.modelUnreachable })[state];

/** Whether one has to wait for it, in words. */
function readiness({ state, eta_p50_ms: eta, queued }: ModelInfo): string {
  const words = t.value;
  const lang = locale.value;
  if (state === 'cold' && eta) return words.modelColdNote(atMost(eta, lang));
  if (state === 'warming' && eta !== null && eta !== undefined) {
    return eta > 0 ? words.modelWarmingNote(atMost(eta, lang)) : words.modelWarmingLate;
  }
  if (state === 'warm') return queued > 0 ? words.modelBusy(queued) : words.modelAtOnce;
  return stateName(state);
}

/** What runs it, and what that costs. */
function means({ context_tokens, gpu, nodes, usd_per_hour }: ModelInfo): string[] {
  const words = t.value;
  return [
    gpu ? (nodes > 1 ? words.modelGpus(gpu, nodes) : gpu) : null,
    usd_per_hour > 0 ? (nodes > 1 ? words.modelPriceEach : words.modelPrice)(money(usd_per_hour)) : null,
    context_tokens ? words.modelContext(count(context_tokens, locale.value)) : null,
  ]
    .filter((part) => part !== null)
    .map((part) => part.replaceAll(' ', '\u00a0')); // a narrow line breaks between facts, not within one
}

function Note({ one }: { one: ModelInfo }) {
  // Only what is rented falls asleep; of our own machine nobody asks since when it has been on.
  const since = one.state === 'warm' && one.usd_per_hour > 0 && one.since_ms ? t.value.modelSince(age(one.since_ms, locale.value)) : null;
  return (
    <>
      <span class={one.state === 'warm' ? 'ready' : undefined}>{[readiness(one), since].filter(Boolean).join(', ')}</span>
      {one.demo && <span class="badge">{t.value.demoBadge}</span>}
      <span class="menu-means">{means(one).join(' · ')}</span>
    </>
  );
}

const Dot = ({ state }: { state: ModelState }) => <span class={`dot ${state}`} aria-hidden="true" />;

export function Models() {
  const chosen = model.value;
  // Who has not heard from the server yet, or is offline, does not know what is connected.
  if (!chosen) return server.value !== null && models.value.length === 0 ? <span class="model none">{t.value.noModels}</span> : null;
  return (
    <Menu
      class="model"
      label={t.value.chooseModel}
      isNamedByText
      menuClass="models"
      onOpen={() => void refreshModels()}
      header={<p class="menu-title">{t.value.chooseModel}</p>}
      items={() =>
        models.value.map((one) => ({
          id: one.id,
          label: one.name,
          icon: <Dot state={one.state} />,
          note: <Note one={one} />,
          checked: one.id === chosen.id,
          run: () => chooseModel(one),
        }))
      }
    >
      <Dot state={chosen.state} />
      <span class="model-name">{chosen.name}</span>{' '}
      {chosen.demo && <span class="badge">{t.value.demoBadge}</span>}
      <span class="sr-only">, {stateName(chosen.state)}. {t.value.chooseModel}</span>
      <Caret />
    </Menu>
  );
}
