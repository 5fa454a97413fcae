import { useEffect, useRef, useState } from 'preact/hooks';
import { signOut } from '../actions';
import { loadChats } from '../chats';
import { t } from '../lib/i18n';
import { isComposing } from '../lib/keys';
import { picked } from '../lib/selection';
import { profile, server } from '../store';
import { ChatList } from './ChatList';
import { Later } from './Dialogs';
import * as icons from './icons';
import { Menu, type Item } from './Menu';
import { dialog, focus, go, isPhone, toggleSidebar, type Dialog } from './view';

const SEARCH_PAUSE_MS = 220;

export function Sidebar({ isShown }: { isShown: boolean }) {
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
      <ChatList />
      {picked.value !== null && <Later key="selection" load={() => import('./Selection').then(({ Selection }) => Selection)} />}
      <div class="side-foot">
        {server.value !== null && server.value.auth !== 'local' && <Account />}
        {server.value === null || server.value.auth === 'local' ? (
          <button type="button" class="side-button" onClick={() => (dialog.value = 'settings')}>
            <icons.Gear />
            {t.value.settings}
          </button>
        ) : (
          <button type="button" class="icon-button foot-button" aria-label={t.value.settings} data-tip={t.value.settings} onClick={() => (dialog.value = 'settings')}>
            <icons.Gear />
          </button>
        )}
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

/** Who is signed in, and all that is theirs. */
function Account() {
  const words = t.value;
  const me = profile.value;
  const name = me?.name ?? me?.email ?? me?.id ?? '';
  const opens = (id: Dialog, label: string): Item => ({ id, label, run: () => (dialog.value = id) });
  const items = (): Item[] => [
    opens('usage', words.plan),
    opens('settings', words.instructions),
    opens('memory', words.memoryManage),
    opens('knowledge', words.knowledge),
    opens('keys', words.apiKeys),
    opens('sessions', words.devices),
    ...(me?.role === 'admin' ? [opens('admin', words.admin)] : []),
    { id: 'out', label: words.signOut, run: () => void signOut() },
  ];
  return (
    <Menu class="side-button account" label={words.userMenu(name)} items={items}>
      <icons.People />
      <span class="account-name" dir="auto">{name}</span>
    </Menu>
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
          if (event.key === 'ArrowDown') {
            event.preventDefault();
            focus.list();
          }
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
