/** Chats from elsewhere: a file is chosen or dropped, read by the server, and what came of it is told. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { bring, MOST_BYTES, type Brought, type Progress } from '../bring';
import { loadChats } from '../chats';
import { words } from '../i18n/import';
import { noticed } from '../noticed';
import '../style/import.css';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Note, problemText } from './Notices';
import { dialog } from './view';

type Stage =
  | { at: 'choosing'; problem: string | null }
  | { at: 'going'; name: string; progress: Progress | null }
  | { at: 'over'; brought: Brought };

export function Import() {
  const [stage, setStage] = useState<Stage>({ at: 'choosing', problem: null });
  const going = useRef<AbortController>(undefined);
  // Whoever closes the dialog stops it.
  useEffect(() => () => going.current?.abort(), []);
  const w = words.value;

  const start = async (file: File) => {
    if (file.size > MOST_BYTES) return setStage({ at: 'choosing', problem: w.tooLarge });
    const { signal } = (going.current = new AbortController());
    setStage({ at: 'going', name: file.name, progress: null });
    try {
      const brought = await bring(file, signal, (progress) => setStage({ at: 'going', name: file.name, progress }));
      setStage({ at: 'over', brought });
    } catch (error) {
      setStage({ at: 'choosing', problem: signal.aborted ? w.cancelled : problemText(noticed(error)) });
    }
    void loadChats('');
  };

  return (
    <Dialog title={w.title} class="import">
      {stage.at === 'choosing' && <Choose problem={stage.problem} start={(file) => void start(file)} />}
      {stage.at === 'going' && <Going name={stage.name} progress={stage.progress} cancel={() => going.current?.abort()} />}
      {stage.at === 'over' && <Over brought={stage.brought} again={() => setStage({ at: 'choosing', problem: null })} />}
    </Dialog>
  );
}

function Choose({ problem, start }: { problem: string | null; start: (file: File) => void }) {
  const [isOver, setOver] = useState(false);
  const w = words.value;
  return (
    <>
      <p class="quiet">{w.intro}</p>
      <label
        class={`import-drop${isOver ? ' over' : ''}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          const file = event.dataTransfer?.files[0];
          if (file) start(file);
        }}
      >
        <input
          class="sr-only"
          type="file"
          accept=".json,.zip,application/json,application/zip"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) start(file);
          }}
        />
        <icons.Export />
        <span class="import-choose">{w.choose}</span>
        <span class="quiet small">{w.drop}</span>
      </label>
      {problem && <p class="problem" role="alert">{problem}</p>}
      <div class="links">
        <a class="text-button" href="/export" download="">{w.exportInstead}</a>
      </div>
    </>
  );
}

function Going({ name, progress, cancel }: { name: string; progress: Progress | null; cancel: () => void }) {
  const w = words.value;
  return (
    <div class="import-going">
      <p class="import-name" dir="auto">{name}</p>
      {/* Without a value it moves by itself: nobody knows yet how long that takes. */}
      <progress aria-label={w.title} value={progress?.part} max={1} />
      <p class="quiet small tabular" role="status">{progress ? w.reading(progress.done) : w.sending}</p>
      <button type="button" class="button" onClick={cancel}>{w.cancel}</button>
    </div>
  );
}

function Over({ brought, again }: { brought: Brought; again: () => void }) {
  const w = words.value;
  const { chats, messages, skipped, memories, templates, failures, failed, trouble } = brought;
  const facts = [
    chats > 0 && w.messages(messages),
    memories > 0 && w.memories(memories),
    templates > 0 && w.templates(templates),
    skipped > 0 && w.skipped(skipped),
  ].filter((fact) => fact !== false);
  const isBarren = trouble !== null && chats + skipped === 0;
  return (
    <>
      <div role="status">
        {!isBarren && <p class="import-count"><icons.Check />{w.done(chats)}</p>}
        {facts.length > 0 && <p class="quiet small">{facts.join(' · ')}</p>}
      </div>
      {trouble && <Note tone="error" title={w.trouble[trouble]} />}
      {failures > 0 && (
        <details class="import-failed" open={failures <= 5}>
          <summary>{w.failed(failures)}</summary>
          <ul>
            {failed.map(({ title, reason }, n) => (
              <li key={n}>
                <span dir="auto">{title || w.untitled}</span>
                <span class="quiet small">{w.reason[reason]}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
      <footer>
        <button type="button" class="text-button" onClick={again}>{w.another}</button>
        <button type="button" class="button primary" onClick={() => (dialog.value = null)}>{w.close}</button>
      </footer>
    </>
  );
}
