import { useEffect, useState } from 'preact/hooks';
import { isTemporary, send } from '../actions';
import { t } from '../lib/i18n';
import { settings } from '../lib/settings';
import { chat, isRunning, openId, profile, session, threadState } from '../store';
import { Composer } from './Composer';
import { Dialogs, Later } from './Dialogs';
import * as icons from './icons';
import { Menu } from './Menu';
import { Models } from './Models';
import { DemoNote, Strip } from './Notices';
import { chatItems, Rename } from './ChatRow';
import { Sidebar } from './Sidebar';
import { Status } from './Status';
import { Thread } from './Thread';
import { dialog, dropToast, go, isDrawerOpen, isPhone, toasts, toggleSidebar } from './view';

export function App() {
  const title = chat.value?.title;
  useEffect(() => {
    document.title = title ? `${title} · ${t.value.name}` : t.value.name;
  }, [title, t.value]);
  if (session.value === 'out') return <Later key="sign-in" load={() => import('./SignIn').then(({ SignIn }) => SignIn)} />;
  const isSideShown = isPhone.value ? isDrawerOpen.value : settings.value.sidebar;
  const isCovered = isPhone.value && isDrawerOpen.value;
  const isReader = profile.value?.role === 'viewer';
  const isEmpty = openId.value === null || threadState.value === 'new';
  return (
    <div class={`app${isSideShown ? ' with-side' : ''}`}>
      <a class="skip" href="#composer" onClick={(event) => { event.preventDefault(); document.getElementById('composer')?.focus(); }}>
        {t.value.skipToComposer}
      </a>
      <Sidebar isShown={isSideShown} />
      {isCovered && <div class="scrim" onClick={() => (isDrawerOpen.value = false)} />}
      <main class={isEmpty ? 'main empty' : 'main'} inert={isCovered}>
        <Header isSideShown={isSideShown} />
        {!isEmpty && <h1 class="sr-only">{title ?? t.value.untitled}</h1>}
        {isEmpty ? <Welcome /> : <Thread />}
        <div class="foot">
          <div class="column">
            <Strip />
            {isReader ? <p class="disclaimer" id="composer" tabIndex={-1}>{t.value.viewerNote}</p> : <Composer />}
            {!isEmpty && !isReader && <p class="disclaimer">{t.value.disclaimer}</p>}
          </div>
        </div>
        {isEmpty && !isReader && <Suggestions />}
      </main>
      <Toasts />
      <Dialogs />
      <Status />
    </div>
  );
}

function Header({ isSideShown }: { isSideShown: boolean }) {
  const [isRenaming, setRenaming] = useState(false);
  const words = t.value;
  const one = chat.value;
  return (
    <header class="head">
      {(!isSideShown || isPhone.value) && (
        <button type="button" class="icon-button" aria-label={words.showSidebar} aria-expanded={isSideShown} aria-controls="sidebar" data-tip={words.showSidebar} onClick={toggleSidebar}>
          <icons.Sidebar />
        </button>
      )}
      {!isSideShown && !isPhone.value && (
        <button type="button" class="icon-button" aria-label={words.newChat} data-tip={words.newChat} onClick={go.newChat}>
          <icons.Pen />
        </button>
      )}
      <Models />
      <span class="head-space" />
      {one && isRenaming && <Rename chat={one} done={() => setRenaming(false)} />}
      <button type="button" class="icon-button" aria-label={t.value.tuning} data-tip={t.value.tuning} onClick={() => (dialog.value = 'tuning')}>
        <icons.Tune />
      </button>
      {(openId.value === null || one?.temporary) && (
        <button
          type="button"
          class="icon-button temporary"
          aria-label={t.value.temporary}
          aria-pressed={one?.temporary ?? isTemporary.value}
          data-tip={t.value.temporary}
          disabled={one?.temporary}
          onClick={() => (isTemporary.value = !isTemporary.value)}
        >
          <icons.Ghost />
        </button>
      )}
      {one && !isRenaming && (
        <Menu class="icon-button" label={words.thisChatMenu} align="end" items={() => chatItems(one, () => setRenaming(true))}>
          <icons.Dots />
        </Menu>
      )}
      {isPhone.value && (
        <button type="button" class="icon-button" aria-label={words.newChat} onClick={go.newChat}>
          <icons.Pen />
        </button>
      )}
    </header>
  );
}

/** One greeting per day: it should feel like a greeting, not like a slot machine. */
const greetingOf = (greetings: readonly string[]): string => greetings[new Date().getDate() % greetings.length]!;

function Welcome() {
  return (
    <div class="welcome">
      {/* Above what stands at the bottom: the server says it a moment later, and nothing may move for it. */}
      {!isTemporary.value && <DemoNote />}
      <div class="welcome-in">
        <icons.Mark size={52} />
        <h1>{isTemporary.value ? t.value.temporary : greetingOf(t.value.greetings)}</h1>
        {isTemporary.value && <p class="quiet" role="status">{t.value.temporaryNote}</p>}
      </div>
    </div>
  );
}

function Suggestions() {
  return (
    <div class="suggestions">
      <ul aria-label={t.value.suggestionsLabel}>
        {t.value.suggestions.map((text) => (
          <li key={text}>
            <button type="button" class="chip" disabled={isRunning.value} onClick={() => send(text)}>{text}</button>
          </li>
        ))}
      </ul>
      <p class="disclaimer">{t.value.greetingNote}</p>
    </div>
  );
}

function Toasts() {
  return (
    <div class="toasts" role="status">
      {toasts.value.map((one) => (
        <div key={one.id} class="toast">
          <span>{one.text}</span>
          {one.action && (
            <button type="button" onClick={() => { one.action!.run(); dropToast(one.id); }}>{one.action.label}</button>
          )}
        </div>
      ))}
    </div>
  );
}
