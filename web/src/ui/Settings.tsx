/** How the page looks, what the model knows of its reader, the reader's data, and their account. */

import { saveInstructions, signOut } from '../actions';
import { words as own } from '../i18n/account';
import { t } from '../lib/i18n';
import { change, settings, type Density, type Lang, type Theme } from '../lib/settings';
import { profile, server } from '../store';
import '../style/account.css';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { SelfSaving } from './SelfSaving';
import { dialog, type Dialog as Name } from './view';

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

const Opens = ({ name, label, danger = false }: { name: Name; label: string; danger?: boolean }) => (
  <button type="button" class={danger ? 'text-button danger' : 'text-button'} onClick={() => (dialog.value = name)}>{label}</button>
);

function General() {
  const words = t.value;
  const { theme, lang, follow, density, speak } = settings.value;
  return (
    <section class="page-part" aria-labelledby="part-general">
      <h3 id="part-general">{own.value.general}</h3>
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
      <Choice<Density>
        label={own.value.density}
        name="density"
        value={density}
        options={[
          { value: 'comfortable', label: own.value.comfortable },
          { value: 'compact', label: own.value.compact },
        ]}
        choose={(value) => change({ density: value })}
      />
      <label class="switch">
        <span>{own.value.followAnswers}</span>
        <input type="checkbox" role="switch" checked={follow} onChange={(event) => change({ follow: event.currentTarget.checked })} />
      </label>
      <label class="switch">
        <span>{own.value.speakAnswers}</span>
        <input type="checkbox" role="switch" checked={speak !== false} onChange={(event) => change({ speak: event.currentTarget.checked })} />
      </label>
      <div class="links">
        <Opens name="help" label={words.shortcuts} />
        <a class="text-button" href="/licences.txt" target="_blank" rel="noopener">{own.value.licences}</a>
      </div>
    </section>
  );
}

export function Settings() {
  const words = t.value;
  const w = own.value;
  const me = profile.value;
  const hasAccount = server.value !== null && server.value.auth !== 'local';
  return (
    <Dialog title={words.settings} class="settings">
      <General />
      <section class="page-part" aria-labelledby="part-personal">
        <h3 id="part-personal">{w.personal}</h3>
        <SelfSaving
          id="instructions"
          label={words.instructions}
          note={own.value.instructionsNote}
          hint={own.value.instructionsHint}
          saved={words.instructionsSaved}
          first={me?.custom_instructions ?? ''}
          disabled={me === null}
          save={saveInstructions}
        />
        <div class="links"><Opens name="memory" label={words.memoryManage} /></div>
      </section>
      <section class="page-part" aria-labelledby="part-data">
        <h3 id="part-data">{w.data}</h3>
        <div class="links">
          <Opens name="archive" label={words.archived} />
          <Opens name="shares" label={words.sharedLinks} />
          <Opens name="import" label={words.importChats} />
          <a class="text-button" href="/export" download="">{own.value.exportAll}</a>
          <Opens name="farewell" label={words.farewell} danger />
        </div>
      </section>
      <section class="page-part" aria-labelledby="part-account">
        <h3 id="part-account">{w.account}</h3>
        {hasAccount && me && <p class="who-line" dir="auto">{[me.name, me.email, me.role && w.roles[me.role], me.group].filter(Boolean).join(' · ')}</p>}
        <div class="links">
          <Opens name="usage" label={words.plan} />
          {hasAccount && <Opens name="keys" label={w.keys} />}
          {hasAccount && <Opens name="sessions" label={w.devices} />}
          {me?.role === 'admin' && <Opens name="admin" label={words.admin} />}
        </div>
      </section>
      <footer>
        <span class="quiet small">{server.value ? own.value.version(server.value.version) : ''}</span>
        {hasAccount && (
          <button type="button" class="button" onClick={() => { dialog.value = null; void signOut(); }}>
            <icons.Door />
            {words.signOut}
          </button>
        )}
      </footer>
    </Dialog>
  );
}
