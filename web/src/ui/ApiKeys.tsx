/** The reader's API keys: made, shown once, revoked. */

import { useState } from 'preact/hooks';
import { accounts, type ApiKey, type NewKey, type Scope } from '../accounts';
import { words } from '../i18n/account';
import { copyText } from '../lib/copy';
import { dayOf } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { model, profile } from '../store';
import '../style/account.css';
import { Dialog } from './Dialogs';
import * as icons from './icons';
import { Loaded, Refusal, Sure, useChange, useLoaded, useShownOnce } from './Loaded';

type Made = ApiKey & { key: string };

/** Who may chat may read: that is said once. */
const scopesOf = ({ scopes }: ApiKey): Scope[] => scopes.filter((scope) => scope !== 'read' || !scopes.includes('chat'));

export function ApiKeys() {
  const keys = useLoaded(accounts.keys);
  const [made, setMade] = useState<Made | null>(null);
  const { isBusy, problem, run } = useChange();
  const w = words.value;
  const revoke = async (id: string) => {
    if ((await run(async () => (await accounts.revokeKey(id), true))) === null) return;
    keys.put((keys.value ?? []).filter((key) => key.id !== id));
    if (made?.id === id) setMade(null);
  };
  const create = async (wish: NewKey): Promise<boolean> => {
    const key = await run(() => accounts.makeKey(wish));
    if (key === null) return false;
    const { key: _, ...listed } = key;
    setMade(key);
    keys.put([listed, ...(keys.value ?? [])]);
    return true;
  };
  return (
    <Dialog title={w.keys} class="keys-page">
      <p class="quiet small">{w.keysIntro}</p>
      {made && <Shown key={made.id} made={made} />}
      <Refusal problem={problem} />
      <Loaded of={keys}>
        {(list) =>
          list.length === 0 ? (
            <p class="quiet">{w.keysNone}</p>
          ) : (
            <ul class="entries" aria-label={w.keys}>
              {list.map((key) => (
                <li key={key.id}>
                  <div class="row-text">
                    <p class="row-name" dir="auto">{key.name}</p>
                    <p class="quiet small"><code>{key.hint}</code> · {scopesOf(key).map((scope) => w.scopes[scope]).join(', ')}{key.origins.length > 0 && ` · ${key.origins.join(', ')}`}</p>
                    <p class="quiet small">{key.last_used_at ? w.lastUsed(dayOf(key.last_used_at, locale.value)) : w.neverUsed} · {key.expires_at ? w.endsOn(dayOf(key.expires_at, locale.value)) : w.endsNever}</p>
                  </div>
                  <Sure label={w.revoke} name={w.revokeOne(key.name)} question={w.revokeSure} yes={w.revoke} isBusy={isBusy} run={() => void revoke(key.id)} />
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      <Create create={create} isBusy={isBusy} />
    </Dialog>
  );
}

const SCOPES: readonly Scope[] = ['read', 'chat', 'admin'];
const DAYS = [0, 30, 90, 365];

function Create({ create, isBusy }: { create: (key: NewKey) => Promise<boolean>; isBusy: boolean }) {
  const [name, setName] = useState('');
  const [scope, setScope] = useState<Scope>('chat');
  const [days, setDays] = useState(90);
  const [origins, setOrigins] = useState('');
  const w = words.value;
  const mine = profile.value?.scopes ?? ['read', 'chat'];
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const list = origins.split(/[\s,]+/).filter(Boolean);
    const done = await create({ name: name.trim(), scopes: [scope], origins: list, ...(days ? { expires_days: days } : {}) });
    if (!done) return;
    setName('');
    setOrigins('');
  };
  return (
    <form class="form" onSubmit={(event) => void submit(event)} aria-labelledby="new-key">
      <h3 id="new-key">{w.keyNew}</h3>
      <label>
        {w.keyName}
        <input value={name} required maxLength={100} autocomplete="off" placeholder={w.keyNameHint} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        {w.keyScope}
        <select value={scope} onChange={(event) => setScope(event.currentTarget.value as Scope)}>
          {SCOPES.filter((one) => mine.includes(one)).map((one) => <option key={one} value={one}>{w.scopes[one]}</option>)}
        </select>
      </label>
      <label>
        {w.keyEnds}
        <select value={days} onChange={(event) => setDays(Number(event.currentTarget.value))}>
          {DAYS.map((n) => <option key={n} value={n}>{n === 0 ? w.endsNever : w.afterDays(n)}</option>)}
        </select>
      </label>
      <label class="wide">
        {w.keyOrigins}
        <input value={origins} autocomplete="off" spellcheck={false} placeholder="https://app.example.org" aria-describedby="origins-note" onInput={(event) => setOrigins(event.currentTarget.value)} />
      </label>
      <p class="quiet small wide" id="origins-note">{w.keyOriginsNote}</p>
      <button type="submit" class="button primary" disabled={name.trim() === ''} aria-disabled={isBusy}>{w.keyMake}</button>
    </form>
  );
}

/** The one time that a key can be read, with what to do with it. */
function Shown({ made }: { made: Made }) {
  const w = words.value;
  const name = model.value?.id ?? 'MODEL';
  const curl = `curl ${location.origin}/v1/chat/completions \\\n  -H 'Authorization: Bearer ${made.key}' \\\n  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify({ model: name, messages: [{ role: 'user', content: 'Hello' }] })}'`;
  const python = `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key="${made.key}")\nanswer = client.chat.completions.create(\n    model="${name}",\n    messages=[{"role": "user", "content": "Hello"}],\n)\nprint(answer.choices[0].message.content)`;
  return (
    <section class="once" aria-label={w.keyShown} ref={useShownOnce()}>
      <p role="status"><strong>{w.keyShown}</strong></p>
      <Copied label={w.keys} text={made.key} />
      <details>
        <summary>{w.keyUse}</summary>
        <Copied label="curl" text={curl} />
        <Copied label="Python" text={python} />
      </details>
    </section>
  );
}

export function Copied({ label, text }: { label: string; text: string }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <div class="copied">
      <pre tabIndex={0} role="region" aria-label={label}><code>{text}</code></pre>
      <button type="button" class="icon-button" aria-label={`${isCopied ? t.value.copied : t.value.copy}: ${label}`} onClick={async () => setCopied(await copyText(text))}>
        {isCopied ? <icons.Check /> : <icons.Copy />}
      </button>
    </div>
  );
}
