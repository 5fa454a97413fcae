/** Who may read a shared collection, and who may change it. */

import { useEffect, useState } from 'preact/hooks';
import { words } from '../i18n/knowledge';
import { dropMember, members, putMember, type Member } from '../knowledge';
import { noticed } from '../noticed';
import type { Problem } from '../wire';
import * as icons from './icons';
import { problemText } from './Notices';

export function Members({ id, done }: { id: string; done: () => void }) {
  const [all, setAll] = useState<readonly Member[]>([]);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [name, setName] = useState('');
  const w = words.value;
  const reload = () => members(id).then(setAll, (error: unknown) => setProblem(noticed(error)));
  useEffect(() => void reload(), [id]);
  const then = async (change: Promise<Problem | null>) => {
    const failed = await change;
    setProblem(failed);
    if (!failed) await reload();
    return !failed;
  };
  return (
    <div class="knowledge-pane">
      <p class="quiet small">{w.peopleNote}</p>
      <ul class="members" aria-label={w.people}>
        {all.map((one) => (
          <li key={one.principal}>
            <span dir="auto">{one.principal}</span>
            <Role label={one.principal} value={one.role} choose={(role) => void then(putMember(id, { ...one, role }))} />
            <button type="button" class="icon-button small" aria-label={w.leave(one.principal)} onClick={() => void then(dropMember(id, one.principal))}><icons.Cross /></button>
          </li>
        ))}
      </ul>
      <form
        class="member-add"
        onSubmit={async (event) => {
          event.preventDefault();
          if (name.trim() && (await then(putMember(id, { principal: name.trim(), role: 'reader' })))) setName('');
        }}
      >
        <input value={name} aria-label={w.person} placeholder={w.person} onInput={(event) => setName(event.currentTarget.value)} />
        <button type="submit" class="button" disabled={name.trim() === ''}>{w.invite}</button>
      </form>
      {problem && <p class="problem" role="alert">{problemText(problem)}</p>}
      <div class="knowledge-buttons">
        <button type="button" class="text-button" onClick={done}>{w.cancel}</button>
      </div>
    </div>
  );
}

function Role({ label, value, choose }: { label: string; value: Member['role']; choose: (role: Member['role']) => void }) {
  return (
    <select aria-label={label} value={value} onChange={(event) => choose(event.currentTarget.value as Member['role'])}>
      <option value="reader">{words.value.reader}</option>
      <option value="editor">{words.value.editor}</option>
    </select>
  );
}
