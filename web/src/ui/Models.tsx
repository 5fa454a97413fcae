import { chooseModel, refreshModels } from '../actions';
import { count, duration } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { model, models } from '../store';
import type { ModelInfo, ModelState } from '../wire';
import { Caret } from './icons';
import { Menu } from './Menu';

const stateName = (state: ModelState): string =>
  ({ cold: t.value.modelCold, warming: t.value.modelWarming, warm: t.value.modelWarm, unreachable: t.value.modelUnreachable })[state];

function note(one: ModelInfo): string {
  const parts = [
    one.state === 'cold' && one.eta_p50_ms ? t.value.modelColdNote(duration(one.eta_p50_ms, locale.value)) : stateName(one.state),
  ];
  if (one.context_tokens) parts.push(t.value.modelContext(count(one.context_tokens, locale.value)));
  return parts.join(' · ');
}

const Dot = ({ state }: { state: ModelState }) => <span class={`dot ${state}`} aria-hidden="true" />;

export function Models() {
  const chosen = model.value;
  if (!chosen) return models.value.length === 0 ? <span class="model none">{t.value.noModels}</span> : null;
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
          note: (
            <>
              {note(one)}
              {one.demo && <span class="badge">{t.value.demoBadge}</span>}
            </>
          ),
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
