/** One source of an answer: the passage with its surroundings, and the way to the next one. */

import { useEffect, useState } from 'preact/hooks';
import { api, ApiError } from '../api';
import { words as own } from '../i18n/passage';
import { noticed } from '../noticed';
import '../style/passage.css';
import type { Citation, Passage as Chunk, Problem } from '../wire';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Note, problemText } from './Notices';
import { passage } from './view';

type Loaded = { chunk: Chunk } | { problem: Problem; isGone: boolean };

export function Passage() {
  const shown = passage.value;
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const at = shown?.citations.findIndex(({ index }) => index === shown.index) ?? -1;
  const cited = shown?.citations[at];
  useEffect(() => {
    if (!cited) return;
    let isCurrent = true;
    setLoaded(null);
    void load(cited).then((next) => isCurrent && setLoaded(next));
    return () => void (isCurrent = false);
  }, [cited]);
  if (!shown || !cited) return null;
  const go = (step: number) => () => {
    const next = shown.citations[at + step];
    if (next) passage.value = { ...shown, index: next.index };
  };
  return (
    <Dialog title={own.value.title(cited.index)} class="passage">
      <p class="passage-title" dir="auto">{cited.title}</p>
      <div class="passage-body" aria-live="polite">
        {loaded === null ? (
          <p class="quiet">{own.value.loading}</p>
        ) : 'chunk' in loaded ? (
          <Text chunk={loaded.chunk} />
        ) : (
          <Note tone={loaded.isGone ? 'info' : 'error'} title={loaded.isGone ? own.value.gone : own.value.failed}>
            {!loaded.isGone && <p>{problemText(loaded.problem)}</p>}
          </Note>
        )}
      </div>
      {shown.citations.length > 1 && (
        <div class="passage-foot">
          <button type="button" class="icon-button" aria-label={own.value.previous} disabled={at === 0} onClick={go(-1)}><icons.Left /></button>
          <span class="tabular quiet">{at + 1} / {shown.citations.length}</span>
          <button type="button" class="icon-button" aria-label={own.value.next} disabled={at === shown.citations.length - 1} onClick={go(1)}><icons.Right /></button>
        </div>
      )}
    </Dialog>
  );
}

function Text({ chunk }: { chunk: Chunk }) {
  const where = [chunk.heading, chunk.page !== null && own.value.page(chunk.page)].filter(Boolean).join(' · ');
  return (
    <>
      {where && <p class="quiet small" dir="auto">{where}</p>}
      {chunk.before && <p class="around" dir="auto">{chunk.before}</p>}
      <blockquote dir="auto">{chunk.text}</blockquote>
      {chunk.after && <p class="around" dir="auto">{chunk.after}</p>}
    </>
  );
}

async function load({ document_id, chunk }: Citation): Promise<Loaded> {
  try {
    return { chunk: await api.passage(document_id, chunk) };
  } catch (error) {
    return { problem: noticed(error), isGone: error instanceof ApiError && error.status === 404 };
  }
}
