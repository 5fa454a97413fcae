/** Pages for who is not signed in: an invitation that is taken up, and a refusal in plain words. */

import { render } from 'preact';
import { useState } from 'preact/hooks';
import { request } from '../api';
import { words } from '../i18n/outside';
import { t } from '../lib/i18n';
import { problemOf } from '../noticed';
import type { Problem } from '../wire';
import * as icons from './icons';
import { Copied } from './ApiKeys';
import { problemText } from './Notices';
import '../style/account.css';

const home = (): void => location.replace(location.pathname);

function Join({ secret }: { secret: string }) {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [made, setMade] = useState<{ id: string; key: string } | null>(null);
  const w = words.value;
  const join = async () => {
    setBusy(true);
    setProblem(null);
    try {
      setMade((await (await request('POST', '/join', { token: secret })).json()) as { id: string; key: string });
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };
  return (
    <Frame title={made ? w.joined(made.id) : w.join}>
      {made ? (
        <>
          <p class="quiet">{w.joinedNote}</p>
          <Copied label={w.key} text={made.key} />
          <button type="button" class="button primary wide" onClick={home}>{w.begin}</button>
        </>
      ) : (
        <>
          <p class="quiet">{w.joinNote}</p>
          {problem && <p class="problem" role="alert">{problem.code === 'not_found' ? w.joinGone : problemText(problem)}</p>}
          <button type="button" class="button primary wide" disabled={isBusy} onClick={() => void join()}>{w.accept}</button>
        </>
      )}
    </Frame>
  );
}

function Refused({ why }: { why: string }) {
  const w = words.value;
  const text = why === 'not_invited' ? w.notInvited : why === 'suspended' ? w.suspended : w.failed;
  return (
    <Frame title={w.refused}>
      <p>{text}</p>
      <button type="button" class="button primary wide" onClick={home}>{w.again}</button>
    </Frame>
  );
}

const Frame = ({ title, children }: { title: string; children: preact.ComponentChildren }) => (
  <main class="sign-in">
    <div class="card">
      <icons.Mark size={48} />
      <h1 dir="auto">{title}</h1>
      {children}
    </div>
  </main>
);

export function show(root: HTMLElement, address: string): void {
  document.title = t.peek().name;
  const [, secret] = /^#\/join\/([\w-]+)$/.exec(address) ?? [];
  // A secret that works once is no part of an address that stays in the history.
  if (secret) history.replaceState(null, '', '#/join');
  render(secret ? <Join secret={secret} /> : <Refused why={/[?&]why=(\w+)/.exec(address)?.[1] ?? ''} />, root);
}
