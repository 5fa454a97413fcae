/** What can be done with several chats at once. */

import { batch } from '@preact/signals';
import { useState } from 'preact/hooks';
import { json, part } from '../api';
import { deleteChat, hideChat, loadChats, patchChat, undoDelete } from '../chats';
import { UNDO_MS } from '../deletes';
import { words } from '../i18n/selection';
import { saveFile } from '../lib/download';
import { t } from '../lib/i18n';
import { picked, pickAll, stopPicking } from '../lib/selection';
import { noticed } from '../noticed';
import { list } from '../store';
import '../style/selection.css';
import type { Chat, Message } from '../wire';
import * as icons from './icons';
import { focus, toast } from './view';

/** So many requests at once: enough to be quick, few enough to leave room for an answer that is being written. */
const AT_ONCE = 4;

/** Does it for each, a few at a time. How many failed. */
async function each(chats: readonly Chat[], job: (chat: Chat) => Promise<boolean>): Promise<number> {
  const waiting = chats.slice();
  let failures = 0;
  const work = async () => {
    for (let chat = waiting.shift(); chat; chat = waiting.shift()) if (!(await job(chat))) failures++;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failures;
}

function archiveAll(chats: readonly Chat[]): void {
  const w = words.peek();
  batch(() => chats.forEach(hideChat));
  const set = (archived: boolean) => each(chats, async (chat) => (await patchChat(chat.id, { archived })) === null);
  const tell = (failures: number) => failures > 0 && toast(w.failed(failures));
  const done = set(true);
  void done.then(tell);
  const undo = async () => {
    await done;
    tell(await set(false));
    void loadChats();
  };
  toast(w.archived(chats.length), { label: t.peek().undo, run: () => void undo() }, UNDO_MS);
}

function deleteAll(chats: readonly Chat[]): void {
  batch(() => chats.forEach(deleteChat));
  const undo = () => batch(() => chats.forEach(undoDelete));
  toast(words.peek().deleted(chats.length), { label: t.peek().undo, run: undo }, UNDO_MS);
}

/** One file, as "Export all chats" makes it. Never a part of what was asked for: then there is none. */
async function exportAll(chats: readonly Chat[], progress: (done: number) => void): Promise<void> {
  const whole = new Map<string, { chat: Chat; messages: Message[] }>();
  const failures = await each(chats, async ({ id }) => {
    try {
      const { chat, messages } = await json<{ chat: Chat; messages: Message[] }>('GET', `/chat/${part(id)}/export?format=json`);
      whole.set(id, { chat, messages });
      progress(whole.size);
      return true;
    } catch (error) {
      noticed(error);
      return false;
    }
  });
  if (failures > 0) return toast(words.peek().unread(failures));
  const now = new Date().toISOString();
  const body = { format: 'parley.export.v1', exported_at: now, chats: chats.map(({ id }) => whole.get(id)) };
  saveFile(`parley-${now.slice(0, 10)}.json`, JSON.stringify(body), 'application/json');
}

export function Selection() {
  const w = words.value;
  const [done, setDone] = useState<number | null>(null);
  const chats = list.value.chats.filter(({ id }) => picked.value?.has(id));
  const none = chats.length === 0;
  const end = () => {
    stopPicking();
    focus.list();
  };
  const act = (run: (chats: readonly Chat[]) => void) => () => {
    run(chats);
    end();
  };
  const save = () => {
    if (done !== null) return;
    setDone(0);
    void exportAll(chats, setDone).then(() => setDone(null));
  };
  return (
    <div
      class="selection"
      role="toolbar"
      aria-label={w.label}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        end();
      }}
    >
      <span class="selection-count" role="status">{done === null ? w.count(chats.length) : w.exporting(done, chats.length)}</span>
      <button type="button" class="icon-button small" aria-label={w.all} data-tip={w.all} onClick={() => pickAll(list.peek().chats.map(({ id }) => id))}><icons.Check /></button>
      <button type="button" class="icon-button small" aria-label={w.archive} data-tip={w.archive} disabled={none} onClick={act(archiveAll)}><icons.Box /></button>
      <button
        type="button"
        class="icon-button small"
        aria-label={w.export}
        data-tip={w.export}
        disabled={none}
        onClick={save}
      >
        <icons.Export />
      </button>
      <button type="button" class="icon-button small" aria-label={w.delete} data-tip={w.delete} disabled={none} onClick={act(deleteAll)}><icons.Bin /></button>
      <button type="button" class="icon-button small" aria-label={w.end} data-tip={w.end} onClick={end}><icons.Cross /></button>
    </div>
  );
}
