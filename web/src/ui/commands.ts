/** What the palette can do: each thing that a menu or a shortcut does, by its name. */

import { chooseModel, isTemporary, signOut, stop } from '../actions';
import { words as keyWords } from '../i18n/keys';
import { words } from '../i18n/palette';
import { t } from '../lib/i18n';
import { shortcuts, type Shortcut } from '../lib/keys';
import { change, settings, type Theme } from '../lib/settings';
import { chat, isRunning, model, models, openId, profile, server } from '../store';
import { archive, remove, togglePin } from './ChatRow';
import { dialog, focus, go, showSidebar, toggleSidebar, type Dialog } from './view';

export interface Command {
  id: string;
  label: string;
  keys?: readonly string[];
  run: () => void;
}

const keysOf = (id: Shortcut['id']) => shortcuts.find((one) => one.id === id)?.keys;
const opens = (name: Dialog, label: string, keys?: readonly string[]): Command => ({ id: name, label, keys, run: () => (dialog.value = name) });

export function commands(): Command[] {
  const [w, say, names] = [words.value, t.value, keyWords.value.names];
  const { theme, lang, density } = settings.value;
  const one = chat.value;
  const isSignedIn = server.value !== null && server.value.auth !== 'local';
  const themes: [Theme, string][] = [['system', say.themeSystem], ['light', say.themeLight], ['dark', say.themeDark]];
  return [
    { id: 'new', label: say.newChat, keys: keysOf('newChat'), run: go.newChat },
    { id: 'temporary', label: w.temporary, run: () => { go.newChat(); setTimeout(() => (isTemporary.value = true)); } },
    { id: 'search', label: names.search, keys: keysOf('search'), run: () => { showSidebar(); requestAnimationFrame(() => focus.search()); } },
    ...(isRunning.value ? [{ id: 'stop', label: names.stop, keys: keysOf('stop'), run: () => stop(openId.peek()!) }] : []),
    ...(one && !one.temporary
      ? [
          { id: 'pin', label: one.pinned ? w.unpinThis : w.pinThis, run: () => togglePin(one) },
          { id: 'archive-this', label: w.archiveThis, run: () => archive(one) },
          { id: 'delete-this', label: w.deleteThis, run: () => remove(one) },
        ]
      : []),
    opens('tuning', say.tuning),
    opens('templates', w.templates),
    opens('knowledge', say.knowledge),
    opens('memory', say.memoryManage),
    opens('usage', say.usage),
    opens('archive', say.archived),
    opens('import', say.importChats),
    opens('shares', say.sharedLinks),
    ...(isSignedIn ? [opens('keys', say.apiKeys), opens('sessions', say.devices)] : []),
    ...(profile.value?.role === 'admin' ? [opens('admin', say.admin)] : []),
    opens('settings', say.settings, keysOf('settings')),
    opens('help', say.shortcuts, keysOf('help')),
    { id: 'sidebar', label: names.sidebar, keys: keysOf('sidebar'), run: toggleSidebar },
    ...models.value.filter(({ id }) => id !== model.value?.id).map((other) => ({ id: `model ${other.id}`, label: w.model(other.name), run: () => chooseModel(other) })),
    ...themes.filter(([name]) => name !== theme).map(([name, label]) => ({ id: `theme ${name}`, label: w.theme(label), run: () => change({ theme: name }) })),
    { id: 'density', label: density === 'compact' ? w.comfortable : w.compact, run: () => change({ density: density === 'compact' ? 'comfortable' : 'compact' }) },
    { id: 'language', label: w.language, run: () => change({ lang: lang === 'zh' ? 'en' : 'zh' }) },
    ...(isSignedIn ? [{ id: 'out', label: say.signOut, run: () => void signOut() }] : []),
  ];
}
