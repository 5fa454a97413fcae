/** Chats that were put away: opened, brought back or deleted. */

import { useEffect, useState } from 'preact/hooks';
import { deleteChat, unarchiveChat } from '../chats';
import { api } from '../api';
import { dayOf } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { noticed } from '../noticed';
import '../style/archive.css';
import { PAGE, type Chat, type Problem } from '../wire';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { problemText } from './Notices';
import { dialog, go } from './view';

export function Archive() {
  const [chats, setChats] = useState<readonly Chat[] | null>(null);
  const [after, setAfter] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const words = t.value;
  const load = async (more: boolean) => {
    try {
      const page = await api.chats({ limit: PAGE, after: more ? after : null, archived: true });
      setChats([...(more ? (chats ?? []) : []), ...page.data]);
      setAfter(page.has_more ? page.last_id : null);
      setProblem(null);
    } catch (error) {
      setProblem(noticed(error));
    }
  };
  useEffect(() => void load(false), []);
  const without = (id: string) => setChats((chats ?? []).filter((chat) => chat.id !== id));
  const bringBack = async (chat: Chat) => {
    const failed = await unarchiveChat(chat);
    setProblem(failed);
    if (!failed) without(chat.id);
  };
  return (
    <Dialog title={words.archived} class="archive">
      {problem && <p class="problem" role="alert">{problemText(problem)}</p>}
      {chats === null ? <p class="quiet" role="status">{words.loadingChats}</p> : chats.length === 0 && <p class="quiet">{words.archivedNone}</p>}
      <ul aria-label={words.archived}>
        {chats?.map((chat) => {
          const title = chat.title ?? words.untitled;
          return (
            <li key={chat.id}>
              <a href={`#/c/${chat.id}`} onClick={() => { dialog.value = null; go.chat(chat.id); }}>
                <span dir="auto">{title}</span>
                <span class="archive-when">{dayOf(chat.updated_at, locale.value)}</span>
              </a>
              <button type="button" class="text-button" aria-label={words.unarchiveOne(title)} onClick={() => void bringBack(chat)}>{words.unarchive}</button>
              <button type="button" class="icon-button small" aria-label={`${words.delete}: ${title}`} onClick={() => { without(chat.id); deleteChat(chat); }}><icons.Bin /></button>
            </li>
          );
        })}
      </ul>
      {after !== null && <button type="button" class="text-button" onClick={() => void load(true)}>{words.moreChats}</button>}
    </Dialog>
  );
}
