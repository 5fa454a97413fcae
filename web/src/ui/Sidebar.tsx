import { useEffect, useRef, useState } from 'preact/hooks';
import { archiveChat, deleteChat, loadChats, patchChat, unarchiveChat, undoDelete, UNDO_MS } from '../chats';
import { api } from '../api';
import { dayGroup } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { isComposing } from '../lib/keys';
import { isBusy, list, openId } from '../store';
import type { Chat } from '../wire';
import * as icons from './icons';
import { Menu, type Item } from './Menu';
import { dialog, focus, go, isPhone, toast, toggleSidebar } from './view';

const SEARCH_PAUSE_MS = 220;

export function Sidebar({ isShown }: { isShown: boolean }) {
  const { query } = list.value;
  return (
    <aside class="sidebar" id="sidebar" aria-label={t.value.chats} inert={!isShown}>
      <div class="side-head">
        <a class="brand" href="#" onClick={(event) => { event.preventDefault(); go.newChat(); }} aria-label={`${t.value.name}: ${t.value.newChat}`}>
          <icons.Mark size={26} />
          <span class="word">{t.value.name}</span>
        </a>
        <button type="button" class="icon-button" aria-label={t.value.hideSidebar} data-tip={t.value.hideSidebar} onClick={toggleSidebar}>
          {isPhone.value ? <icons.Cross /> : <icons.Sidebar />}
        </button>
      </div>
      <button type="button" class="new-chat" onClick={go.newChat}>
        <icons.Pen />
        {t.value.newChat}
      </button>
      <button type="button" class="side-button side-link" onClick={() => (dialog.value = 'knowledge')}>
        <icons.Books />
        {t.value.knowledge}
      </button>
      <Search />
      <nav class="chat-list" aria-label={query ? t.value.results : t.value.chats}>
        <Chats />
      </nav>
      <div class="side-foot">
        <button type="button" class="side-button" onClick={() => (dialog.value = 'settings')}>
          <icons.Gear />
          {t.value.settings}
        </button>
        <button type="button" class="icon-button foot-button" aria-label={t.value.usage} data-tip={t.value.usage} onClick={() => (dialog.value = 'usage')}>
          <icons.Chart />
        </button>
        <button type="button" class="icon-button foot-button keys-button" aria-label={t.value.shortcuts} data-tip={t.value.shortcuts} onClick={() => (dialog.value = 'help')}>
          <icons.Keys />
        </button>
      </div>
    </aside>
  );
}

function Search() {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState('');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    focus.search = () => {
      input.current?.focus();
      input.current?.select();
    };
  }, []);
  const ask = (value: string, pause: number) => {
    setText(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => void loadChats(value.trim()), pause);
  };
  return (
    <div class="search" role="search">
      <icons.Search />
      <input
        ref={input}
        type="search"
        value={text}
        placeholder={t.value.search}
        aria-label={t.value.search}
        enterkeyhint="search"
        autocomplete="off"
        spellcheck={false}
        // While a character is composed, its letters are not a question yet.
        onInput={(event) => !event.isComposing && ask(event.currentTarget.value, SEARCH_PAUSE_MS)}
        onCompositionEnd={(event) => ask(event.currentTarget.value, SEARCH_PAUSE_MS)}
        onKeyDown={(event) => {
          if (isComposing(event)) return;
          if (event.key === 'Enter') ask(event.currentTarget.value, 0);
          if (event.key === 'Escape' && text !== '') {
            event.stopPropagation();
            ask('', 0);
          }
        }}
      />
      {text !== '' && (
        <button type="button" class="icon-button small" aria-label={t.value.clearSearch} onClick={() => { ask('', 0); input.current?.focus(); }}>
          <icons.Cross />
        </button>
      )}
    </div>
  );
}

interface Group {
  label: string;
  chats: Chat[];
}

function grouped(chats: readonly Chat[], query: string): Group[] {
  const words = t.value;
  if (query) return [{ label: words.results, chats: [...chats] }];
  const groups: Group[] = [];
  const pinned = chats.filter((chat) => chat.pinned);
  if (pinned.length > 0) groups.push({ label: words.pinned, chats: pinned });
  const now = new Date();
  for (const chat of chats) {
    if (chat.pinned) continue;
    const group = dayGroup(chat.updated_at, now, locale.value);
    const label = group.kind === 'month' ? group.label : words[group.kind];
    const last = groups.at(-1);
    if (last && last.label === label) last.chats.push(chat);
    else groups.push({ label, chats: [chat] });
  }
  return groups;
}

function Chats() {
  const { chats, query, state, hasMore, problem } = list.value;
  if (chats.length === 0) {
    if (state === 'failed') {
      return (
        <div class="side-note">
          <p>{problem?.message || t.value.errorServer}</p>
          <button type="button" class="text-button" onClick={() => void loadChats()}>{t.value.retry}</button>
        </div>
      );
    }
    if (state !== 'ready') return <Skeleton />;
    return <p class="side-note">{query ? t.value.noResults(query) : t.value.noChats}</p>;
  }
  return (
    <>
      {grouped(chats, query).map((group) => (
        <section key={group.label}>
          <h2>{group.label}</h2>
          <ul>
            {group.chats.map((chat) => (
              <Row key={chat.id} chat={chat} />
            ))}
          </ul>
        </section>
      ))}
      {hasMore && <More />}
    </>
  );
}

const Skeleton = () => (
  <div class="skeleton" aria-label={t.value.loadingChats} role="img">
    {[72, 54, 83, 61, 47].map((width) => (
      <span key={width} style={{ width: `${width}%` }} />
    ))}
  </div>
);

/** Older chats come when the end of the list is near; the button is for keyboards and for when that fails. */
function More() {
  const button = useRef<HTMLButtonElement>(null);
  const isLoading = list.value.state === 'loading';
  useEffect(() => {
    const node = button.current;
    if (!node) return;
    const watcher = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting) && list.peek().state === 'ready') void loadChats(undefined, true);
      },
      { root: node.closest('.chat-list'), rootMargin: '400px' },
    );
    watcher.observe(node);
    return () => watcher.disconnect();
  }, [list.value.after]);
  return (
    <button ref={button} type="button" class="text-button more" disabled={isLoading} onClick={() => void loadChats(undefined, true)}>
      {isLoading ? t.value.loadingChats : t.value.moreChats}
    </button>
  );
}

export function chatItems(chat: Chat, rename: () => void): Item[] {
  const words = t.value;
  return [
    { id: 'rename', label: words.rename, icon: <icons.Pen />, run: rename },
    { id: 'pin', label: chat.pinned ? words.unpin : words.pin, icon: <icons.Pin />, run: () => void patchChat(chat.id, { pinned: !chat.pinned }) },
    {
      id: 'archive',
      label: words.archive,
      icon: <icons.Box />,
      run: () => {
        archiveChat(chat);
        toast(words.archivedOne(chat.title ?? words.untitled), { label: words.undo, run: () => unarchiveChat(chat) }, UNDO_MS);
      },
    },
    { id: 'markdown', label: words.exportMarkdown, icon: <icons.Export />, href: api.exportUrl(chat.id, 'markdown') },
    { id: 'export', label: words.exportJson, icon: <icons.Export />, href: api.exportUrl(chat.id, 'json') },
    {
      id: 'delete',
      label: words.delete,
      icon: <icons.Bin />,
      danger: true,
      run: () => {
        deleteChat(chat);
        toast(words.deleted(chat.title ?? words.untitled), { label: words.undo, run: () => undoDelete(chat.id) }, UNDO_MS);
      },
    },
  ];
}

function Row({ chat }: { chat: Chat }) {
  const [isRenaming, setRenaming] = useState(false);
  const title = chat.title ?? t.value.untitled;
  const isOpen = openId.value === chat.id;
  if (isRenaming) return <li class="row"><Rename chat={chat} done={() => setRenaming(false)} /></li>;
  return (
    <li class={isOpen ? 'row open' : 'row'}>
      <a href={`#/c/${chat.id}`} aria-current={isOpen ? 'page' : undefined} onClick={() => go.chat(chat.id)} onDblClick={() => setRenaming(true)}>
        <span class="row-title">{title}</span>
        {isBusy(chat.id) && <span class="busy" role="img" aria-label={t.value.writing} />}
      </a>
      <Menu class="icon-button small row-menu" label={t.value.chatMenu(title)} align="end" items={() => chatItems(chat, () => setRenaming(true))}>
        <icons.Dots />
      </Menu>
    </li>
  );
}

export function Rename({ chat, done }: { chat: Chat; done: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const isOver = useRef(false);
  useEffect(() => input.current?.select(), []);
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
      autofocus
      onBlur={() => finish(true)}
      onKeyDown={(event) => {
        if (isComposing(event)) return;
        if (event.key === 'Enter') finish(true);
        if (event.key === 'Escape') {
          event.stopPropagation();
          finish(false);
        }
      }}
    />
  );
}
