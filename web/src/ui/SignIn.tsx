import { useEffect, useRef, useState } from 'preact/hooks';
import { signIn } from '../actions';
import { t } from '../lib/i18n';
import { change, settings } from '../lib/settings';
import type { Problem } from '../wire';
import * as icons from './icons';
import { problemText } from './Notices';

export function SignIn() {
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
    setProblem({ ...refusal, isRefused: refusal.code !== 'network' && !refusal.code.startsWith('http_5') });
    input.current?.select();
  };
  const message = problem && (problem.isRefused ? words.signInWrong : problemText(problem));
  return (
    <main class="sign-in">
      <form onSubmit={submit}>
        <icons.Mark size={48} />
        <h1>{words.name}</h1>
        <p class="quiet">{words.signInIntro}</p>
        <label for="token">{words.token}</label>
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
          <button type="button" class="icon-button" aria-pressed={isPlain} aria-label={isPlain ? words.hideToken : words.showToken} onClick={() => setPlain(!isPlain)}>
            <icons.Eye />
          </button>
        </div>
        {message ? <p id="token-problem" class="problem" role="alert">{message}</p> : <p id="token-help" class="quiet small">{words.signInHelp}</p>}
        <button type="submit" class="button primary wide" disabled={isBusy}>{words.signIn}</button>
      </form>
      <button type="button" class="text-button" lang={settings.value.lang === 'zh' ? 'en' : 'zh-Hans'} onClick={() => change({ lang: settings.value.lang === 'zh' ? 'en' : 'zh' })}>
        {settings.value.lang === 'zh' ? 'English' : '中文'}
      </button>
    </main>
  );
}
