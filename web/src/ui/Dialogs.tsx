import type { ComponentChildren, ComponentType } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { saveInstructions, signOut } from '../actions';
import { t } from '../lib/i18n';
import { change, settings, type Lang, type Theme } from '../lib/settings';
import { profile, server } from '../store';
import * as icons from './icons';
import { problemText } from './Notices';
import { dialog, toast } from './view';

export function Dialog({ title, children, class: className }: { title: string; children: ComponentChildren; class: string }) {
  const node = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    node.current?.showModal();
  }, []);
  return (
    <dialog
      ref={node}
      class={`dialog ${className}`}
      aria-labelledby="dialog-title"
      onClose={() => (dialog.value = null)}
      onKeyDown={(event) => event.key === 'Escape' && event.stopPropagation()}
      // A press beside the dialog lands on the element itself, one inside lands on a child.
      onPointerDown={(event) => event.target === node.current && node.current?.close()}
    >
      <div class="dialog-body">
        <header>
          {/* The title takes the focus: a screen reader says what opened, and no button looks pressed. */}
          <h2 id="dialog-title" tabIndex={-1} autofocus>{title}</h2>
          <button type="button" class="icon-button" aria-label={t.value.close} onClick={() => node.current?.close()}>
            <icons.Cross />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

export function Dialogs() {
  if (dialog.value === 'settings') return <Settings />;
  if (dialog.value === 'help') return <Later key="help" load={() => import('./Help').then(({ Help }) => Help)} />;
  if (dialog.value === 'palette') return <Later key="palette" load={() => import('./Palette').then(({ Palette }) => Palette)} />;
  if (dialog.value === 'templates') return <Later key="templates" load={() => import('./Templates').then(({ Templates }) => Templates)} />;
  if (dialog.value === 'usage') return <Later key="usage" load={() => import('./Usage').then(({ Usage }) => Usage)} />;
  if (dialog.value === 'passage') return <Later key="passage" load={() => import('./Passage').then(({ Passage }) => Passage)} />;
  if (dialog.value === 'knowledge') return <Later key="knowledge" load={() => import('./Knowledge').then(({ Knowledge }) => Knowledge)} />;
  if (dialog.value === 'memory') return <Later key="memory" load={() => import('./Memory').then(({ Memory }) => Memory)} />;
  if (dialog.value === 'summary') return <Later key="summary" load={() => import('./Summary').then(({ Summary }) => Summary)} />;
  if (dialog.value === 'farewell') return <Later key="farewell" load={() => import('./Farewell').then(({ Farewell }) => Farewell)} />;
  if (dialog.value === 'tuning') return <Later key="tuning" load={() => import('./Tuning').then(({ Tuning }) => Tuning)} />;
  if (dialog.value === 'archive') return <Later key="archive" load={() => import('./Archive').then(({ Archive }) => Archive)} />;
  if (dialog.value === 'import') return <Later key="import" load={() => import('./Import').then(({ Import }) => Import)} />;
  if (dialog.value === 'share') return <Later key="share" load={() => import('./Share').then(({ Share }) => Share)} />;
  if (dialog.value === 'shares') return <Later key="shares" load={() => import('./Share').then(({ Shares }) => Shares)} />;
  return null;
}

/** A dialog that is seldom opened, so it is no part of the page that everybody loads. */
export function Later({ load }: { load: () => Promise<ComponentType> }) {
  const [Page, setPage] = useState<ComponentType | null>(null);
  useEffect(() => {
    load().then(
      (page) => setPage(() => page),
      () => {
        dialog.value = null;
        toast(t.peek().errorServer);
      },
    );
  }, []);
  return Page && <Page />;
}

interface ChoiceProps<T extends string> {
  label: string;
  name: string;
  value: T;
  options: readonly { value: T; label: string; lang?: string }[];
  choose: (value: T) => void;
}

function Choice<T extends string>({ label, name, value, options, choose }: ChoiceProps<T>) {
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      <div class="segments">
        {options.map((option) => (
          <label key={option.value} lang={option.lang}>
            <input type="radio" name={name} value={option.value} checked={value === option.value} onChange={() => choose(option.value)} />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

const SAVE_PAUSE_MS = 700;

function Instructions() {
  const [text, setText] = useState(profile.value?.custom_instructions ?? '');
  const [note, setNote] = useState('');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const unsaved = useRef<string | null>(null);
  const saveNow = async () => {
    clearTimeout(timer.current);
    const value = unsaved.current;
    if (value === null) return;
    unsaved.current = null;
    const problem = await saveInstructions(value);
    setNote(problem ? problemText(problem) : t.peek().instructionsSaved);
  };
  useEffect(() => () => void saveNow(), []);
  return (
    <div class="setting">
      <label for="instructions">{t.value.instructions}</label>
      <p class="quiet small" id="instructions-note">{t.value.instructionsNote}</p>
      <textarea
        id="instructions"
        rows={4}
        value={text}
        disabled={profile.value === null}
        placeholder={t.value.instructionsHint}
        aria-describedby="instructions-note"
        onInput={(event) => {
          setText(event.currentTarget.value);
          unsaved.current = event.currentTarget.value;
          setNote('');
          clearTimeout(timer.current);
          timer.current = setTimeout(() => void saveNow(), SAVE_PAUSE_MS);
        }}
        onBlur={() => void saveNow()}
      />
      <p class="quiet small saved" role="status">{note}</p>
    </div>
  );
}

function Settings() {
  const words = t.value;
  const { theme, lang, follow } = settings.value;
  return (
    <Dialog title={words.settings} class="settings">
      <Choice<Theme>
        label={words.theme}
        name="theme"
        value={theme}
        options={[
          { value: 'system', label: words.themeSystem },
          { value: 'light', label: words.themeLight },
          { value: 'dark', label: words.themeDark },
        ]}
        choose={(value) => change({ theme: value })}
      />
      <Choice<Lang>
        label={words.language}
        name="lang"
        value={lang}
        options={[
          { value: 'en', label: 'English', lang: 'en' },
          { value: 'zh', label: '中文', lang: 'zh-Hans' },
        ]}
        choose={(value) => change({ lang: value })}
      />
      <label class="switch">
        <span>{words.followAnswers}</span>
        <input type="checkbox" role="switch" checked={follow} onChange={(event) => change({ follow: event.currentTarget.checked })} />
      </label>
      <label class="switch">
        <span>{words.speakAnswers}</span>
        <input type="checkbox" role="switch" checked={settings.value.speak !== false} onChange={(event) => change({ speak: event.currentTarget.checked })} />
      </label>
      <Instructions />
      <div class="links">
        <button type="button" class="text-button" onClick={() => (dialog.value = 'memory')}>{words.memoryManage}</button>
        <button type="button" class="text-button" onClick={() => (dialog.value = 'archive')}>{words.archived}</button>
        <button type="button" class="text-button" onClick={() => (dialog.value = 'shares')}>{words.sharedLinks}</button>
        <button type="button" class="text-button" onClick={() => (dialog.value = 'import')}>{words.importChats}</button>
        <a class="text-button" href="/export" download="">{words.exportAll}</a>
        <button type="button" class="text-button danger" onClick={() => (dialog.value = 'farewell')}>{words.farewell}</button>
      </div>
      <footer>
        <span class="quiet small">{server.value ? words.version(server.value.version) : ''}</span>
        {server.value?.auth === 'token' && (
          <button type="button" class="button" onClick={() => { dialog.value = null; void signOut(); }}>
            <icons.Door />
            {words.signOut}
          </button>
        )}
      </footer>
    </Dialog>
  );
}
