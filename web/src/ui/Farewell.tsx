/** Deletes all that is the reader's, after they have typed that they mean it, and says what is gone. */

import { useState } from 'preact/hooks';
import { json } from '../api';
import { words as own } from '../i18n/farewell';
import { count } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { forgetAll } from '../lib/stored';
import { noticed } from '../noticed';
import type { Problem } from '../wire';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Note, problemText } from './Notices';

type Receipt = Readonly<Record<string, number>>;

export function Farewell() {
  const [typed, setTyped] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [receipt, setReceipt] = useState<Receipt | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const words = t.value;
  const isMeant = typed.trim().toLocaleLowerCase() === own.value.word;
  const go = async () => {
    if (!isMeant || isBusy) return;
    setBusy(true);
    setProblem(null);
    try {
      setReceipt(await json<Receipt>('DELETE', '/me', { confirm: 'delete everything' }));
      forgetAll();
    } catch (error) {
      setProblem(noticed(error));
    }
    setBusy(false);
  };
  if (receipt) {
    return (
      <Dialog title={own.value.done} class="farewell">
        <table class="tabular" aria-label={own.value.gone}>
          <tbody>
            {Object.entries(receipt).filter(([, n]) => n > 0).map(([what, n]) => (
              <tr key={what}>
                <th scope="row">{what.replaceAll('_', ' ')}</th>
                <td>{count(n, locale.value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <footer>
          <span />
          <button type="button" class="button" onClick={() => { location.hash = ''; location.reload(); }}>{words.close}</button>
        </footer>
      </Dialog>
    );
  }
  return (
    <Dialog title={words.farewell} class="farewell">
      <p>{own.value.intro}</p>
      <form class="setting" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <label for="farewell">{own.value.type(own.value.word)}</label>
        <input id="farewell" class="farewell-word" value={typed} autocomplete="off" spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)} />
        <button type="submit" class="button danger" disabled={!isMeant || isBusy}>
          <icons.Bin />
          {own.value.yes}
        </button>
      </form>
      {problem && <Note tone="error" title={own.value.failed}><p>{problemText(problem)}</p></Note>}
    </Dialog>
  );
}
