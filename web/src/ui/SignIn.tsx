/** The way in: an access token or a key, or the issuer that this Parley trusts. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { signIn } from '../actions';
import { json } from '../api';
import { words as own } from '../i18n/outside';
import { t } from '../lib/i18n';
import { change, settings } from '../lib/settings';
import { hasEnded } from '../noticed';
import type { Problem } from '../wire';
import * as icons from './icons';
import { problemText } from './Notices';

interface Way {
  auth: 'local' | 'token' | 'oidc';
  login_url: string | null;
}

export function SignIn() {
  const [way, setWay] = useState<Way | null>(null);
  useEffect(() => {
    json<Way>('GET', '/sign-in').then(setWay, () => setWay({ auth: 'token', login_url: null }));
  }, []);
  if (way === null) return null;
  const isZh = settings.value.lang === 'zh';
  return (
    <main class="sign-in">
      {way.login_url === null ? <TokenForm /> : <Issuer url={way.login_url} />}
      <button type="button" class="text-button" lang={isZh ? 'en' : 'zh-Hans'} onClick={() => change({ lang: isZh ? 'en' : 'zh' })}>
        {isZh ? 'English' : '中文'}
      </button>
    </main>
  );
}

const Greeting = ({ intro }: { intro: string }) => (
  <>
    <icons.Mark size={48} />
    <h1>{t.value.name}</h1>
    <p class="quiet">{hasEnded.value ? own.value.ended : intro}</p>
  </>
);

/** Signing in happens on the issuer's own page; it leads back to where the reader was. */
function Issuer({ url }: { url: string }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  const go = (event: SubmitEvent) => {
    event.preventDefault();
    location.assign(`${url}?to=${encodeURIComponent(`/${location.hash}`)}`);
  };
  return (
    <form onSubmit={go}>
      <Greeting intro={own.value.intro} />
      <button ref={button} type="submit" class="button primary wide">{own.value.withIssuer}</button>
    </form>
  );
}

function TokenForm() {
  const input = useRef<HTMLInputElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [isPlain, setPlain] = useState(false);
  const [problem, setProblem] = useState<(Problem & { isRefused: boolean }) | null>(null);
  const words = t.value;
  useEffect(() => input.current?.focus(), []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const token = input.current?.value.trim() ?? '';
    if (token === '' || isBusy) return;
    setBusy(true);
    const refusal = await signIn(token);
    if (!refusal) return;
    setBusy(false);
    setProblem({ ...refusal, isRefused: refusal.code === 'unauthorized' });
    input.current?.select();
  };
  const message = problem && (problem.isRefused ? own.value.wrong : problemText(problem));
  return (
    <form onSubmit={(event) => void submit(event)}>
      <Greeting intro={own.value.introToken} />
      <label for="token">{own.value.token}</label>
      <div class="field">
        <input
          ref={input}
          id="token"
          type={(isPlain ? 'text' : 'password') as 'password'} // the types want one literal
          autocomplete="current-password"
          autocapitalize="off"
          spellcheck={false}
          required
          aria-invalid={problem !== null || undefined}
          aria-describedby={problem ? 'token-problem' : 'token-help'}
        />
        <button type="button" class="icon-button" aria-pressed={isPlain} aria-label={isPlain ? own.value.hideToken : own.value.showToken} onClick={() => setPlain(!isPlain)}>
          <icons.Eye />
        </button>
      </div>
      {message ? <p id="token-problem" class="problem" role="alert">{message}</p> : <p id="token-help" class="quiet small">{own.value.help}</p>}
      <button type="submit" class="button primary wide" disabled={isBusy}>{words.signIn}</button>
    </form>
  );
}
