/** One chat of the list: opened, picked, renamed, and what else can be done with it. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { api } from '../api';
import { archiveChat, deleteChat, patchChat, unarchiveChat, undoDelete } from '../chats';
import { UNDO_MS } from '../deletes';
import { t } from '../lib/i18n';
import { isComposing } from '../lib/keys';
import { picked } from '../lib/selection';
import { isBusy, openId } from '../store';
import type { Chat } from '../wire';
import * as icons from './icons';
import { Menu, type Item } from './Menu';
import { focus, go, openShare, toast } from './view';

export function archive(chat: Chat): void {
  archiveChat(chat);
  toast(t.peek().archivedOne(chat.title ?? t.peek().untitled), { label: t.peek().undo, run: () => unarchiveChat(chat) }, UNDO_MS);
}

export function remove(chat: Chat): void {
  deleteChat(chat);
  toast(t.peek().deleted(chat.title ?? t.peek().untitled), { label: t.peek().undo, run: () => (undoDelete(chat), focus.row(chat.id)) }, UNDO_MS);
}

export const togglePin = (chat: Chat): void => void patchChat(chat.id, { pinned: !chat.pinned });

/** `select` begins to pick several; it is there where there is a list. */
export function chatItems(chat: Chat, rename: () => void, select?: () => void): Item[] {
  const words = t.value;
  return [
    { id: 'rename', label: words.rename, icon: <icons.Pen />, run: rename },
    { id: 'pin', label: chat.pinned ? words.unpin : words.pin, icon: <icons.Pin />, run: () => togglePin(chat) },
    { id: 'archive', label: words.archive, icon: <icons.Box />, run: () => archive(chat) },
    ...(chat.temporary ? [] : [{ id: 'share', label: words.share, icon: <icons.People />, run: () => openShare(chat) }]),
    { id: 'markdown', label: words.exportMarkdown, icon: <icons.Export />, href: api.exportUrl(chat.id, 'markdown') },
    { id: 'export', label: words.exportJson, icon: <icons.Export />, href: api.exportUrl(chat.id, 'json') },
    ...(select ? [{ id: 'select', label: words.select, icon: <icons.Check />, run: select }] : []),
    { id: 'delete', label: words.delete, icon: <icons.Bin />, danger: true, run: () => remove(chat) },
  ];
}

/** Pieces that alternate between plain and found. */
const Marked = ({ pieces }: { pieces: readonly string[] }) => <>{pieces.map((piece, n) => (n % 2 ? <mark key={n}>{piece}</mark> : piece))}</>;

const LONG_PRESS_MS = 450;
const SLIP_PX = 10;

/** The click that ends a long press means nothing more, whatever is under the finger by then. */
function swallowClick(): void {
  const swallow = (event: Event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  addEventListener('click', swallow, { capture: true, once: true });
  addEventListener('pointerdown', () => removeEventListener('click', swallow, true), { capture: true, once: true });
}

/** A finger that stays on a row picks it. */
function useLongPress(press: () => void) {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const at = useRef({ x: 0, y: 0 });
  const end = () => clearTimeout(timer.current);
  useEffect(() => end, []);
  return {
    onPointerDown: (event: PointerEvent) => {
      if (event.pointerType !== 'touch') return;
      at.current = { x: event.clientX, y: event.clientY };
      end();
      timer.current = setTimeout(() => {
        swallowClick();
        press();
      }, LONG_PRESS_MS);
    },
    onPointerMove: (event: PointerEvent) => {
      if (Math.hypot(event.clientX - at.current.x, event.clientY - at.current.y) > SLIP_PX) end();
    },
    onPointerUp: end,
    onPointerCancel: end,
    // The browser's own menu for a link that is pressed for long.
    onContextMenu: (event: MouseEvent) => (event as PointerEvent).pointerType === 'touch' && event.preventDefault(),
  };
}

export interface RowProps {
  chat: Chat;
  top: number;
  height: number;
  place: number;
  size: number;
  isStop: boolean;
  isRenaming: boolean;
  rename: (id: string | null) => void;
  pick: (id: string, isStretch: boolean) => void;
}

export function Row({ chat, top, height, place, size, isStop, isRenaming, rename, pick }: RowProps) {
  const title = chat.title ?? t.value.untitled;
  const isOpen = openId.value === chat.id;
  const pressing = useLongPress(() => pick(chat.id, false));
  const { match } = chat;
  const isPicking = picked.value !== null;
  const isPicked = picked.value?.has(chat.id) ?? false;
  const tabIndex = isStop ? 0 : -1;
  const name = match && match.title.join('') === chat.title ? <Marked pieces={match.title} /> : title;
  const lines = (
    <span class="row-lines">
      <span class="row-title" dir="auto">{name}</span>
      {match?.snippet && <span class="row-snippet" dir="auto"><Marked pieces={match.snippet} /></span>}
    </span>
  );
  return (
    <li
      class={`row${isOpen ? ' open' : ''}${isPicked ? ' picked' : ''}`}
      style={{ top: `${top}px`, height: `${height}px` }}
      data-chat={chat.id}
      aria-posinset={place}
      aria-setsize={size}
    >
      {isRenaming ? (
        <Rename chat={chat} done={() => rename(null)} />
      ) : isPicking ? (
        <label class="row-main">
          <input
            type="checkbox"
            data-row
            tabIndex={tabIndex}
            checked={isPicked}
            aria-label={title}
            // The box shows what is picked, never what a click alone would make of it.
            onClick={(event) => {
              event.preventDefault();
              setTimeout(() => pick(chat.id, event.shiftKey));
            }}
          />
          {lines}
        </label>
      ) : (
        <>
          <a
            class="row-main"
            href={`#/c/${chat.id}${match?.message_id ? `/${match.message_id}` : ''}`}
            data-row
            draggable={false}
            tabIndex={tabIndex}
            aria-current={isOpen ? 'page' : undefined}
            onClick={(event) => {
              const isPick = event.shiftKey || event.ctrlKey || event.metaKey;
              if (isPick) {
                event.preventDefault();
                pick(chat.id, event.shiftKey);
              } else go.found(chat.id, match?.message_id ?? null);
            }}
            onDblClick={() => rename(chat.id)}
            {...pressing}
          >
            {lines}
            {isBusy(chat.id) && <span class="busy" role="img" aria-label={t.value.writing} />}
          </a>
          <Options label={t.value.chatMenu(title)} tabIndex={tabIndex} items={() => chatItems(chat, () => rename(chat.id), () => pick(chat.id, false))} />
        </>
      )}
    </li>
  );
}

/** A menu is much, and a list has many rows: until it is asked for there is only its button. */
function Options({ label, tabIndex, items }: { label: string; tabIndex: number; items: () => Item[] }) {
  const [isAsked, setAsked] = useState(false);
  const look = 'icon-button small row-menu';
  if (isAsked) return <Menu class={look} label={label} tabIndex={tabIndex} align="end" isOpenAtOnce items={items}><icons.Dots /></Menu>;
  return (
    <button type="button" class={look} aria-label={label} aria-haspopup="menu" aria-expanded={false} tabIndex={tabIndex} onClick={() => setAsked(true)}>
      <icons.Dots />
    </button>
  );
}

export function Rename({ chat, done }: { chat: Chat; done: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const isOver = useRef(false);
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const finish = (isKept: boolean) => {
    if (isOver.current) return;
    isOver.current = true;
    const title = input.current?.value.trim() ?? '';
    if (isKept && title !== '' && title !== chat.title) void patchChat(chat.id, { title });
    done();
  };
  return (
    <input
      ref={input}
      class="rename"
      defaultValue={chat.title ?? ''}
      aria-label={t.value.renameLabel}
      maxLength={200}
      onBlur={() => finish(true)}
      onKeyDown={(event) => {
        // The keys of the list are not meant while a name is written.
        event.stopPropagation();
        if (isComposing(event)) return;
        if (event.key === 'Enter' || event.key === 'Escape') {
          event.preventDefault();
          finish(event.key === 'Enter');
        }
      }}
    />
  );
}
