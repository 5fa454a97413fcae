/** A link under which others read a chat: made, copied, brought up to date, withdrawn; and the list of all. */

import { useEffect, useState } from 'preact/hooks';
import { words } from '../i18n/share';
import { copyText } from '../lib/copy';
import { dayOf } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { linkOf, load, share, shares, withdraw, type Share as Link } from '../share';
import '../style/share.css';
import type { Problem } from '../wire';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Note, problemText } from './Notices';
import { dialog, go, sharing } from './view';

function useShares(): [Problem | null, () => void] {
  const [problem, setProblem] = useState<Problem | null>(null);
  const reload = () => void load().then(setProblem);
  useEffect(reload, []);
  return [problem, reload];
}

const Unloaded = ({ problem, reload }: { problem: Problem | null; reload: () => void }) =>
  problem === null ? (
    <p class="quiet" role="status">{words.value.loading}</p>
  ) : (
    <Note tone="error" title={words.value.failed} actions={<button type="button" class="note-button" onClick={reload}>{words.value.retry}</button>}>
      <p>{problemText(problem)}</p>
    </Note>
  );

export function Share() {
  const [problem, reload] = useShares();
  const [refused, setRefused] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const w = words.value;
  const chat = sharing.value;
  if (chat === null) return null;
  const link = shares.value?.find(({ chat_id }) => chat_id === chat.id);
  const doing = async (job: (chatId: string) => Promise<Problem | null>) => {
    setBusy(true);
    setRefused(await job(chat.id));
    setBusy(false);
  };
  return (
    <Dialog title={w.title} class="share">
      <p class="share-title" dir="auto">{chat.title ?? t.value.untitled}</p>
      {shares.value === null ? (
        <Unloaded problem={problem} reload={reload} />
      ) : link ? (
        <Existing link={link} isNewer={link.leaf !== chat.active_leaf} isBusy={isBusy} update={() => void doing(share)} end={() => void doing(withdraw)} />
      ) : (
        <>
          <p class="quiet">{w.none}</p>
          <button type="button" class="button primary" disabled={isBusy} onClick={() => void doing(share)}>{w.create}</button>
        </>
      )}
      {refused && <p class="problem" role="alert">{problemText(refused)}</p>}
    </Dialog>
  );
}

interface ExistingProps {
  link: Link;
  isNewer: boolean;
  isBusy: boolean;
  update: () => void;
  end: () => void;
}

function Existing({ link, isNewer, isBusy, update, end }: ExistingProps) {
  const [isCopied, setCopied] = useState(false);
  const [isSure, setSure] = useState(false);
  const w = words.value;
  const url = linkOf(link);
  return (
    <>
      <div class="share-link">
        <input readOnly value={url} aria-label={w.link} onFocus={(event) => event.currentTarget.select()} />
        <button type="button" class="button primary" onClick={async () => setCopied(await copyText(url))}>
          {isCopied ? <icons.Check /> : <icons.Copy />}
          {isCopied ? w.copied : w.copy}
        </button>
      </div>
      <p class="quiet small" role="status">
        {w.asOf(dayOf(link.updated_at, locale.value))} {isNewer && w.newer}
      </p>
      <div class="links">
        {isNewer && <button type="button" class="text-button" disabled={isBusy} onClick={update}>{w.update}</button>}
        <a class="text-button" href={link.url} target="_blank" rel="noopener">{w.look}</a>
        {!isSure && <button type="button" class="text-button danger" disabled={isBusy} onClick={() => setSure(true)}>{w.withdraw}</button>}
      </div>
      {isSure && (
        <footer>
          <span class="quiet small">{w.withdrawSure}</span>
          <span class="share-sure">
            <button type="button" class="text-button" autofocus onClick={() => setSure(false)}>{w.cancel}</button>
            <button type="button" class="text-button danger" disabled={isBusy} onClick={end}>{w.withdrawYes}</button>
          </span>
        </footer>
      )}
    </>
  );
}

export function Shares() {
  const [problem, reload] = useShares();
  const [refused, setRefused] = useState<Problem | null>(null);
  const w = words.value;
  return (
    <Dialog title={w.list} class="share">
      {refused && <p class="problem" role="alert">{problemText(refused)}</p>}
      {shares.value === null ? (
        <Unloaded problem={problem} reload={reload} />
      ) : shares.value.length === 0 ? (
        <p class="quiet">{w.listNone}</p>
      ) : (
        <ul class="share-list" aria-label={w.list}>
          {shares.value.map((one) => {
            const title = one.title ?? t.value.untitled;
            return (
              <li key={one.id}>
                <a href={`#/c/${one.chat_id}`} onClick={() => { dialog.value = null; go.chat(one.chat_id); }}>
                  <span dir="auto">{title}</span>
                  <span class="quiet small">{dayOf(one.updated_at, locale.value)}</span>
                </a>
                <a class="text-button" href={one.url} target="_blank" rel="noopener" aria-label={`${w.open}: ${title}`}>{w.open}</a>
                <button type="button" class="icon-button small" aria-label={w.withdrawOne(title)} onClick={async () => setRefused(await withdraw(one.chat_id))}><icons.Bin /></button>
              </li>
            );
          })}
        </ul>
      )}
    </Dialog>
  );
}
