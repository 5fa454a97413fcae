/** The reader's templates: to write, change and delete. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { words } from '../i18n/templates';
import { bytes } from '../lib/format';
import { t } from '../lib/i18n';
import { newId } from '../lib/ids';
import '../style/templates.css';
import { deleteTemplate, loadTemplates, MOST, saveTemplate, TEMPLATE_BYTES, templates, type Template } from '../templates';
import type { Problem } from '../wire';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Note, problemText } from './Notices';
import { toast } from './view';

type Draft = Pick<Template, 'id' | 'name' | 'text'>;

export function Templates() {
  const w = words.value;
  const all = templates.value;
  const [problem, setProblem] = useState<Problem | null>(null);
  const [draft, setDraft] = useState<Draft | null>(null);
  const load = async () => setProblem(await loadTemplates());
  useEffect(() => void load(), []);
  if (draft) return <Dialog title={w.title} class="templates"><Editor key={draft.id} draft={draft} done={() => setDraft(null)} /></Dialog>;
  const remove = async (one: Template) => {
    const failed = await deleteTemplate(one.id);
    if (failed) toast(problemText(failed));
    else toast(w.deleted(one.name), { label: t.peek().undo, run: () => void saveTemplate(one.id, one.name, one.text) }, 7_000);
  };
  return (
    <Dialog title={w.title} class="templates">
      <p class="quiet small">{w.intro}</p>
      {problem && all === null && <Note tone="error" title={w.failed} actions={<button type="button" class="note-button" onClick={() => void load()}>{t.value.retry}</button>}>{problemText(problem)}</Note>}
      {all === null && !problem && <p class="quiet small" role="status">{w.loading}</p>}
      {all?.length === 0 && (
        <div class="templates-none">
          <p>{w.none}</p>
          <p class="quiet small">{w.noneNote}</p>
        </div>
      )}
      <ul class="templates-list">
        {all?.map((one) => (
          <li key={one.id}>
            <button type="button" class="template" aria-label={w.edit(one.name)} onClick={() => setDraft(one)}>
              <span dir="auto">{one.name}</span>
              <span class="template-text" dir="auto">{one.text}</span>
            </button>
            <button type="button" class="icon-button small" aria-label={w.delete(one.name)} onClick={() => void remove(one)}><icons.Bin /></button>
          </li>
        ))}
      </ul>
      <footer>
        <span class="quiet small">{all !== null && all.length >= MOST ? w.full : ''}</span>
        <button type="button" class="button primary" disabled={all === null || all.length >= MOST} onClick={() => setDraft({ id: newId(), name: '', text: '' })}>
          <icons.Plus />
          {w.add}
        </button>
      </footer>
    </Dialog>
  );
}

const encoder = new TextEncoder();

function Editor({ draft, done }: { draft: Draft; done: () => void }) {
  const w = words.value;
  const [name, setName] = useState(draft.name);
  const [text, setText] = useState(draft.text);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isSaving, setSaving] = useState(false);
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);
  const over = encoder.encode(text).length - TEMPLATE_BYTES;
  const save = async () => {
    setSaving(true);
    const failed = await saveTemplate(draft.id, name.trim(), text);
    setSaving(false);
    setProblem(failed);
    if (!failed) done();
  };
  return (
    <form
      class="template-editor"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <div class="setting">
        <label for="template-name">{w.name}</label>
        <input ref={first} id="template-name" class="template-name" maxLength={60} value={name} placeholder={w.nameHint} autocomplete="off" onInput={(event) => setName(event.currentTarget.value)} />
      </div>
      <div class="setting">
        <label for="template-text">{w.text}</label>
        <textarea id="template-text" rows={8} value={text} placeholder={w.textHint} aria-invalid={over > 0 || undefined} onInput={(event) => setText(event.currentTarget.value)} />
      </div>
      {problem && <Note tone="error" title={problemText(problem)} />}
      <footer>
        <span class="bytes over" role="status">{over > 0 ? w.tooLong(bytes(over)) : ''}</span>
        <button type="button" class="button" onClick={done}>{t.value.cancel}</button>
        <button type="submit" class="button primary" disabled={isSaving || over > 0 || name.trim() === '' || text.trim() === ''}>{t.value.save}</button>
      </footer>
    </form>
  );
}
