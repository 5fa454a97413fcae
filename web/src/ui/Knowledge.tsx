/** The documents that answers may lean on: collections, files, how far each has been read, and who may use them. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { words } from '../i18n/knowledge';
import * as model from '../knowledge';
import { bytes } from '../lib/format';
import { isComposing } from '../lib/keys';
import { profile } from '../store';
import '../style/knowledge.css';
import type { Problem } from '../wire';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Members } from './Members';
import { Menu } from './Menu';
import { Note, problemText } from './Notices';

type Pane = 'files' | 'new' | 'rename' | 'people' | 'delete';

export function Knowledge() {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [refused, setRefused] = useState<Problem | null>(null);
  const [pane, setPane] = useState<Pane>('files');
  const reload = async () => setProblem((await model.loadCollections()) ?? (await model.load()));
  useEffect(() => {
    void reload();
    return () => {
      model.stopWatching();
      model.finishAll();
    };
  }, []);
  const w = words.value;
  const done = (failed: Problem | null) => {
    setRefused(failed);
    if (!failed) setPane('files');
  };
  return (
    <Dialog title={w.title} class="knowledge">
      <p class="quiet small knowledge-intro">{w.intro}</p>
      <Collections pane={pane} open={setPane} refuse={setRefused} />
      {refused && <p class="problem" role="alert">{problemText(refused)}</p>}
      {pane === 'new' && <Named label={w.collectionName} action={w.create} canShare done={() => setPane('files')} save={async (name, shared) => done(await model.makeCollection(name, shared))} />}
      {pane === 'rename' && <Named label={w.collectionName} action={w.rename} name={model.collection.value ? nameOf(model.collection.value) : ''} done={() => setPane('files')} save={async (name) => done(await model.renameCollection(model.chosen.value!, name))} />}
      {pane === 'people' && <Members id={model.chosen.value!} done={() => setPane('files')} />}
      {pane === 'delete' && <Sure done={() => setPane('files')} yes={async () => done(await model.deleteCollection(model.chosen.value!))} />}
      <Offer refuse={setRefused} />
      {problem ? (
        <Note tone="error" title={w.failed} actions={<button type="button" class="note-button" onClick={() => void reload()}>{w.retry}</button>}>
          <p>{problemText(problem)}</p>
        </Note>
      ) : (
        <Files refuse={setRefused} />
      )}
    </Dialog>
  );
}

const nameOf = ({ name, unnamed }: Pick<model.Collection, 'name' | 'unnamed'>): string => (unnamed ? words.value.mine : name);

interface CollectionsProps {
  pane: Pane;
  open: (pane: Pane) => void;
  refuse: (problem: Problem | null) => void;
}

function Collections({ pane, open, refuse }: CollectionsProps) {
  const w = words.value;
  const all = model.collections.value ?? [];
  const one = model.collection.value;
  const isOwner = one?.role === 'owner';
  return (
    <div class="knowledge-bar">
      <select aria-label={w.collection} value={model.chosen.value ?? ''} onChange={async (event) => { open('files'); refuse(await model.choose(event.currentTarget.value)); }}>
        {all.length === 0 && <option value="">{w.mine}</option>}
        {all.map((each) => <option key={each.id} value={each.id}>{each.shared ? `${nameOf(each)} (${w.shared})` : nameOf(each)}</option>)}
      </select>
      <span class="head-space" />
      {one && isOwner && (
        <Menu
          class="icon-button"
          label={w.options}
          align="end"
          items={() => [
            { id: 'rename', label: w.rename, icon: <icons.Pen />, run: () => open('rename') },
            ...(one.shared ? [{ id: 'people', label: w.people, icon: <icons.People />, run: () => open('people') }] : []),
            { id: 'delete', label: w.deleteCollection, icon: <icons.Bin />, danger: true, run: () => open('delete') },
          ]}
        >
          <icons.Dots />
        </Menu>
      )}
      <button type="button" class="button" aria-expanded={pane === 'new'} onClick={() => open(pane === 'new' ? 'files' : 'new')}>
        <icons.Plus />
        {w.newCollection}
      </button>
    </div>
  );
}

/** Somebody else's collection: whether answers lean on it is the reader's to say. */
function Offer({ refuse }: { refuse: (problem: Problem | null) => void }) {
  const w = words.value;
  const one = model.collection.value;
  const me = profile.value?.id;
  if (!one || one.role === 'owner') return null;
  const leave = me !== undefined && (
    <button type="button" class="note-button" onClick={async () => refuse(await model.leave(one.id, me))}>{one.joined ? w.leaveIt : w.decline}</button>
  );
  return (
    <Note
      tone="info"
      title={w.sharedBy(one.owner)}
      actions={
        <>
          {!one.joined && <button type="button" class="note-button" onClick={async () => refuse(await model.join(one.id))}>{w.join}</button>}
          {leave}
        </>
      }
    >
      <p>{one.joined ? w.joinedNote : w.offerNote}</p>
    </Note>
  );
}

interface NamedProps {
  label: string;
  action: string;
  name?: string;
  canShare?: boolean;
  done: () => void;
  save: (name: string, shared: boolean) => Promise<void>;
}

function Named({ label, action, name = '', canShare = false, done, save }: NamedProps) {
  const [text, setText] = useState(name);
  const [isShared, setShared] = useState(false);
  return (
    <form class="knowledge-pane" onSubmit={(event) => { event.preventDefault(); if (text.trim()) void save(text.trim(), isShared); }}>
      <input
        value={text}
        autofocus
        maxLength={100}
        aria-label={label}
        placeholder={label}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Escape' || isComposing(event)) return;
          event.preventDefault();
          event.stopPropagation();
          done();
        }}
      />
      {canShare && (
        <label class="check">
          <input type="checkbox" checked={isShared} onChange={(event) => setShared(event.currentTarget.checked)} />
          {words.value.sharedLabel}
        </label>
      )}
      <div class="knowledge-buttons">
        <button type="button" class="text-button" onClick={done}>{words.value.cancel}</button>
        <button type="submit" class="button primary" disabled={text.trim() === ''}>{action}</button>
      </div>
    </form>
  );
}

function Sure({ done, yes }: { done: () => void; yes: () => Promise<void> }) {
  const w = words.value;
  const one = model.collection.value;
  return (
    <div class="knowledge-pane">
      <p>{w.deleteSure(one ? nameOf(one) : '', one?.documents ?? 0)}</p>
      <div class="knowledge-buttons">
        <button type="button" class="text-button" autofocus onClick={done}>{w.cancel}</button>
        <button type="button" class="text-button danger" onClick={() => void yes()}>{w.deleteYes}</button>
      </div>
    </div>
  );
}

// ---------------------------------------------------------------- files

function Files({ refuse }: { refuse: (problem: Problem | null) => void }) {
  const w = words.value;
  const picker = useRef<HTMLInputElement>(null);
  const [isOver, setOver] = useState(false);
  const all = model.documents.value;
  const take = (files: FileList | null | undefined) => {
    if (files?.length) void model.upload(files, w.tooLarge);
  };
  return (
    <>
      {model.canChange.value && (
        <div
          class={isOver ? 'drop over' : 'drop'}
          onDragOver={(event) => { event.preventDefault(); setOver(true); }}
          onDragLeave={() => setOver(false)}
          onDrop={(event) => { event.preventDefault(); event.stopPropagation(); setOver(false); take(event.dataTransfer?.files); }}
        >
          <button type="button" class="button primary" onClick={() => picker.current?.click()}>
            <icons.Plus />
            {w.add}
          </button>
          <span class="quiet small">{isOver ? w.dropNow : w.drop}</span>
          <input ref={picker} type="file" multiple hidden accept={model.ACCEPTED} onChange={(event) => { take(event.currentTarget.files); event.currentTarget.value = ''; }} />
        </div>
      )}
      <ul class="documents" aria-label={w.title}>
        {model.uploads.value.map((one) => <Uploading key={`u${one.key}`} one={one} />)}
        {all?.map((one) => <Row key={one.id} one={one} refuse={refuse} />)}
      </ul>
      {all === null && <p class="quiet" role="status">{w.loading}</p>}
      {all?.length === 0 && model.uploads.value.length === 0 && (
        <div class="knowledge-none">
          <p class="knowledge-none-title">{w.empty}</p>
          <p class="quiet small">{w.emptyNote}</p>
        </div>
      )}
      {model.hasMore.value && <button type="button" class="text-button" onClick={async () => refuse(await model.load(true))}>{w.more}</button>}
    </>
  );
}

function Uploading({ one }: { one: model.Upload }) {
  const w = words.value;
  const share = new Intl.NumberFormat(undefined, { style: 'percent' }).format(one.share);
  return (
    <li class="document">
      <icons.Page />
      <span class="document-text">
        <span class="document-title" dir="auto">{one.file.name}</span>
        {one.problem ? <span class="document-note bad" role="alert">{problemText(one.problem)}</span> : <Progress label={w.uploading(share)} share={one.share} />}
      </span>
      {one.problem?.code === 'network' && <button type="button" class="icon-button small" aria-label={w.again(one.file.name)} onClick={() => void model.send(one.key)}><icons.Redo /></button>}
      {one.problem && <button type="button" class="icon-button small" aria-label={w.remove(one.file.name)} onClick={() => model.dismiss(one.key)}><icons.Cross /></button>}
    </li>
  );
}

function Row({ one, refuse }: { one: model.Document; refuse: (problem: Problem | null) => void }) {
  const w = words.value;
  if (model.isLeaving(one.id)) {
    return (
      <li class="document" role="status">
        <icons.Page />
        <span class="document-text quiet">{w.removed}</span>
        <button type="button" class="text-button" onClick={() => model.keep(one.id)}>{w.undo}</button>
      </li>
    );
  }
  return (
    <li class="document">
      <icons.Page />
      <span class="document-text">
        <span class="document-title" dir="auto">{one.status === 'ready' ? one.title : one.filename}</span>
        <State one={one} />
      </span>
      {one.status === 'failed' && model.canChange.value && (
        <button type="button" class="icon-button small" aria-label={w.again(one.title)} onClick={async () => refuse(await model.retry(one.id))}><icons.Redo /></button>
      )}
      {model.canChange.value && (
        <button type="button" class="icon-button small" aria-label={w.remove(one.title)} onClick={() => model.remove(one.id)}><icons.Bin /></button>
      )}
    </li>
  );
}

function State({ one }: { one: model.Document }) {
  const w = words.value;
  if (one.status === 'failed') return <span class="document-note bad">{one.error ? problemText(one.error) : w.broken}</span>;
  if (one.status === 'ready') return <span class="document-note">{w.ready(one.chunks)} · {bytes(one.size_bytes)}</span>;
  if (one.status === 'queued') return <span class="document-note">{w.queued}</span>;
  if (one.chunks === 0) return <span class="document-note">{w.reading}</span>;
  return <Progress label={w.indexing(one.chunks_done, one.chunks)} share={one.chunks_done / one.chunks} />;
}

const Progress = ({ label, share }: { label: string; share: number }) => (
  <span class="document-note">
    {label}
    <progress max={1} value={share} aria-label={label} />
  </span>
);
