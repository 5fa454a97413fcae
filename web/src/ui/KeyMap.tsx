/** All shortcuts, from the one table of `lib/keys`: the help shows them, and the settings may. */

import { words } from '../i18n/keys';
import { shortcuts, type Place } from '../lib/keys';
import { change, settings } from '../lib/settings';

const PLACES: readonly Place[] = ['everywhere', 'composer', 'list'];

const Keys = ({ keys }: { keys: readonly string[] }) => <>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</>;

export function KeyMap() {
  const w = words.value;
  const { singleKeys } = settings.value;
  return (
    <>
      {PLACES.map((place) => (
        <section key={place}>
          <h3 class="keys-place">{w.places[place]}</h3>
          <dl class="keys">
            {shortcuts.filter((one) => one.place === place).map(({ id, keys, single }) => (
              <div key={id}>
                <dt>{w.names[id]}</dt>
                <dd>
                  <Keys keys={keys} />
                  {single && singleKeys && <> {w.or} <Keys keys={[single]} /></>}
                </dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <label class="switch">
        <span>
          {w.single}
          <span class="quiet small keys-note">{w.singleNote}</span>
        </span>
        <input type="checkbox" role="switch" checked={singleKeys} onChange={(event) => change({ singleKeys: event.currentTarget.checked })} />
      </label>
    </>
  );
}
