/** Stops new answers for everybody, with a reason that they are shown; what is there stays readable. */

import { useState } from 'preact/hooks';
import { loadProfile } from '../actions';
import { accounts } from '../accounts';
import { words } from '../i18n/admin';
import { dayOf } from '../lib/format';
import { locale } from '../lib/i18n';
import { profile } from '../store';
import { Refusal, useChange } from './Loaded';

export function AdminPause() {
  const [reason, setReason] = useState('');
  const { isBusy, problem, run } = useChange();
  const w = words.value;
  const paused = profile.value?.paused ?? null;
  const change = (job: () => Promise<unknown>) => void run(async () => (await job(), await loadProfile(), true));
  return (
    <>
      <p>{paused ? w.pausedSince(dayOf(paused.at, locale.value)) : w.pauseIntro}</p>
      {paused?.reason && <p dir="auto">{paused.reason}</p>}
      <Refusal problem={problem} />
      {paused ? (
        <button type="button" class="button primary" aria-disabled={isBusy} onClick={() => change(accounts.resume)}>{w.resume}</button>
      ) : (
        <form class="form" onSubmit={(event) => { event.preventDefault(); change(() => accounts.pause(reason.trim())); }}>
          <label class="wide">
            {w.reason}
            <input value={reason} maxLength={300} autocomplete="off" onInput={(event) => setReason(event.currentTarget.value)} />
          </label>
          <button type="submit" class="button danger" aria-disabled={isBusy}>{w.pauseNow}</button>
        </form>
      )}
    </>
  );
}
