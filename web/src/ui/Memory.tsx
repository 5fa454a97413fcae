/** What Parley remembers: read, add, change, forget, switch off. */

import { useEffect, useState } from 'preact/hooks';
import { words } from '../i18n/memory';
import { dayOf } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { isComposing } from '../lib/keys';
import { add, edit, finishAll, forget, forgetAll, isLeaving, keep, load, memories, use, type Memory as One } from '../memory';
import { profile } from '../store';
import '../style/memory.css';
import type { Problem } from '../wire';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Note, problemText } from './Notices';

const MANY = 8;

export function Memory() {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [refused, setRefused] = useState<Problem | null>(null);
  const [find, setFind] = useState('');
  const reload = async () => setProblem(await load());
  useEffect(() => {
    void reload();
    return finishAll;
  }, []);
  const w = words.value;
  const all = memories.value;
  const wanted = find.trim().toLocaleLowerCase();
  const shown = all?.filter(({ text }) => text.toLocaleLowerCase().includes(wanted)) ?? [];
  return (
    <Dialog title={w.title} class="memory">
      <label class="switch">
        <span id="memory-use">{w.use}</span>
        <input
          type="checkbox"
          role="switch"
          aria-describedby="memory-note"
          checked={profile.value?.memory ?? false}
          disabled={profile.value === null}
          onChange={async (event) => setRefused(await use(event.currentTarget.checked))}
        />
        <p class="quiet small" id="memory-note">{w.useNote}</p>
      </label>
      <Add />
      {refused && <p class="problem" role="alert">{problemText(refused)}</p>}
      {problem ? (
        <Note tone="error" title={w.failed} actions={<button type="button" class="note-button" onClick={() => void reload()}>{w.retry}</button>}>
          <p>{problemText(problem)}</p>
        </Note>
      ) : all === null ? (
        <p class="memory-none quiet" role="status">{w.loading}</p>
      ) : all.length === 0 ? (
        <div class="memory-none">
          <p class="memory-none-title">{w.empty}</p>
          <p class="quiet small">{w.emptyNote}</p>
        </div>
      ) : (
        <section>
          {all.length > MANY && (
            <input class="memory-find" type="search" value={find} aria-label={w.find} placeholder={w.find} onInput={(event) => setFind(event.currentTarget.value)} />
          )}
          <ul class="memories" aria-label={w.title}>
            {shown.map((one) => <Row key={one.id} one={one} refuse={setRefused} />)}
          </ul>
          {shown.length === 0 && <p class="quiet small" role="status">{w.none(find.trim())}</p>}
          <ForgetAll n={all.length} refuse={setRefused} />
        </section>
      )}
    </Dialog>
  );
}

function Add() {
  const [text, setText] = useState('');
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async () => {
    if (text.trim() === '' || isBusy) return;
    setBusy(true);
    const failed = await add(text.trim());
    setBusy(false);
    setProblem(failed);
    if (!failed) setText('');
  };
  return (
    <form class="memory-add" onSubmit={(event) => { event.preventDefault(); void submit(); }}>
      <input value={text} aria-label={words.value.add} placeholder={words.value.addHint} maxLength={400} onInput={(event) => setText(event.currentTarget.value)} />
      <button type="submit" class="button" disabled={text.trim() === '' || isBusy}>{words.value.save}</button>
      {problem && <p class="problem" role="alert">{problemText(problem)}</p>}
    </form>
  );
}

interface RowProps {
  one: One;
  refuse: (problem: Problem | null) => void;
}

function Row({ one, refuse }: RowProps) {
  const [isEditing, setEditing] = useState(false);
  const w = words.value;
  if (isLeaving(one.id)) {
    return (
      <li class="memory-row leaving" role="status">
        <span class="memory-text quiet">{w.forgotten}</span>
        <button type="button" class="text-button" onClick={() => keep(one.id)}>{w.undo}</button>
      </li>
    );
  }
  if (isEditing) return <Edit one={one} done={() => setEditing(false)} refuse={refuse} />;
  return (
    <li class="memory-row">
      <span class="memory-text" dir="auto">
        {one.text}
        <span class="memory-when">{w.kind[one.kind]} · {dayOf(one.updated_at, locale.value)}</span>
      </span>
      <button type="button" class="icon-button small" aria-label={w.edit(one.text)} data-tip={t.value.edit} onClick={() => setEditing(true)}><icons.Pen /></button>
      <button type="button" class="icon-button small" aria-label={w.forget(one.text)} onClick={() => forget(one.id)}><icons.Bin /></button>
    </li>
  );
}

function Edit({ one, done, refuse }: RowProps & { done: () => void }) {
  const [text, setText] = useState(one.text);
  const w = words.value;
  const submit = async () => {
    const next = text.trim();
    if (next === '') return;
    const problem = next === one.text ? null : await edit(one.id, next);
    refuse(problem);
    if (!problem) done();
  };
  return (
    <li class="memory-row editing">
      <form onSubmit={(event) => { event.preventDefault(); void submit(); }}>
        <textarea
          value={text}
          rows={2}
          maxLength={400}
          aria-label={w.editLabel}
          autofocus
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (isComposing(event)) return;
            if (event.key === 'Escape') {
              event.preventDefault();
              event.stopPropagation();
              done();
            } else if (event.key === 'Enter' && !event.shiftKey) {
              event.preventDefault();
              void submit();
            }
          }}
        />
        <div class="memory-buttons">
          <button type="button" class="text-button" onClick={done}>{w.cancel}</button>
          <button type="submit" class="text-button" disabled={text.trim() === ''}>{w.save}</button>
        </div>
      </form>
    </li>
  );
}

function ForgetAll({ n, refuse }: { n: number; refuse: RowProps['refuse'] }) {
  const [isSure, setSure] = useState(false);
  const w = words.value;
  return (
    <footer class="memory-foot">
      <span class="quiet small tabular">{isSure ? w.forgetAllSure(n) : w.count(n)}</span>
      {isSure ? (
        <span class="memory-buttons">
          <button type="button" class="text-button" autofocus onClick={() => setSure(false)}>{w.cancel}</button>
          <button type="button" class="text-button danger" onClick={async () => { setSure(false); refuse(await forgetAll()); }}>{w.forgetAllYes}</button>
        </span>
      ) : (
        <button type="button" class="text-button danger" onClick={() => setSure(true)}>{w.forgetAll}</button>
      )}
    </footer>
  );
}
