/** Deletes all that is the reader's, after they have typed that they mean it, and says what is gone. */

import { useState } from 'preact/hooks';
import { json } from '../api';
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
  const isMeant = typed.trim().toLocaleLowerCase() === words.farewellWord;
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
      <Dialog title={words.farewellDone} class="farewell">
        <table class="tabular" aria-label={words.farewellGone}>
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
      <p>{words.farewellIntro}</p>
      <form class="setting" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <label for="farewell">{words.farewellType(words.farewellWord)}</label>
        <input id="farewell" class="farewell-word" value={typed} autocomplete="off" spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)} />
        <button type="submit" class="button danger" disabled={!isMeant || isBusy}>
          <icons.Bin />
          {words.farewellYes}
        </button>
      </form>
      {problem && <Note tone="error" title={words.farewellFailed}><p>{problemText(problem)}</p></Note>}
    </Dialog>
  );
}
