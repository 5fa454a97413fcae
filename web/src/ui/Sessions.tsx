/** Where the reader is signed in. */

import { accounts } from '../accounts';
import { words } from '../i18n/account';
import { dayOf } from '../lib/format';
import { locale } from '../lib/i18n';
import '../style/account.css';
import { Dialog } from './Dialogs';
import { Loaded, Refusal, Sure, useChange, useLoaded } from './Loaded';

export function Sessions() {
  const devices = useLoaded(accounts.devices);
  const { isBusy, problem, run } = useChange();
  const w = words.value;
  const keep = (isKept: (device: { id: string; current: boolean }) => boolean) => devices.put((devices.value ?? []).filter(isKept));
  const end = async (id: string) => {
    if ((await run(async () => (await accounts.endDevice(id), true))) !== null) keep((device) => device.id !== id);
  };
  const endOthers = async () => {
    if ((await run(accounts.endOtherDevices)) !== null) keep((device) => device.current);
  };
  return (
    <Dialog title={w.devices} class="sessions-page">
      <p class="quiet small">{w.devicesIntro}</p>
      <Refusal problem={problem} />
      <Loaded of={devices}>
        {(list) => (
          <>
            {list.length === 0 && <p class="quiet">{w.devicesNone}</p>}
            <ul class="entries" aria-label={w.devices}>
              {list.map((device) => (
                <li key={device.id}>
                  <div class="row-text">
                    <p class="row-name">{device.agent || w.deviceUnknown} {device.current && <span class="tag">{w.deviceThis}</span>}</p>
                    <p class="quiet small">{w.deviceSeen(dayOf(device.last_seen_at, locale.value))} · {w.endsOn(dayOf(device.expires_at, locale.value))}</p>
                  </div>
                  {!device.current && <button type="button" class="text-button danger" aria-disabled={isBusy} aria-label={`${w.deviceEnd}: ${device.agent || w.deviceUnknown}`} onClick={() => void end(device.id)}>{w.deviceEnd}</button>}
                </li>
              ))}
            </ul>
            {list.some((device) => !device.current) && <footer><Sure label={w.devicesEnd} question={w.devicesEndSure} yes={w.deviceEnd} isBusy={isBusy} run={() => void endOthers()} /></footer>}
          </>
        )}
      </Loaded>
    </Dialog>
  );
}
