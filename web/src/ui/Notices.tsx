/** Notes beside what they are about: guardrails, failures, the demo model, the connection. */

import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { locale, t } from '../lib/i18n';
import { model, online, runLink, server, serverProblem } from '../store';
import type { Unsent } from '../state';
import type { Problem, Verdict } from '../wire';
import * as icons from './icons';

interface NoteProps {
  tone: 'shield' | 'error' | 'info';
  title: string;
  children?: ComponentChildren;
  actions?: ComponentChildren;
}

export const Note = ({ tone, title, children, actions }: NoteProps) => (
  <div class={`note ${tone}`}>
    {tone === 'shield' ? <icons.Shield /> : tone === 'error' ? <icons.Alert /> : <icons.Leaf />}
    <div class="note-text">
      <p class="note-title">{title}</p>
      {children}
    </div>
    {actions && <div class="note-actions">{actions}</div>}
  </div>
);

function verdictTitle({ stage, action }: Verdict): string {
  const words = t.value;
  if (action === 'flagged') return words.guardFlagged;
  if (stage === 'input') return action === 'blocked' ? words.guardBlockedInput : words.guardRedactedInput;
  return action === 'blocked' ? words.guardBlockedOutput : words.guardRedactedOutput;
}

/** The same rail may act many times in one answer; it is said once. `said` is a text that already shows the reason. */
export function Verdicts({ verdicts, said = '' }: { verdicts: readonly Verdict[]; said?: string }) {
  const once = new Map(verdicts.map((verdict) => [`${verdict.stage} ${verdict.rail} ${verdict.action}`, verdict]));
  return (
    <>
      {[...once.entries()].map(([key, verdict]) => (
        <Note key={key} tone="shield" title={verdictTitle(verdict)}>
          {verdict.message !== said && <p>{verdict.message}</p>}
          <p class="note-code">{t.value.guardRail(verdict.rail)}</p>
        </Note>
      ))}
    </>
  );
}

/** What a reader can do about it, in their language where we know the code; the server's own sentence otherwise. */
export function problemText({ code, message }: Problem): string {
  const words = t.value;
  if (code === 'network') return words.errorNetwork;
  if (code === 'run_active') return words.errorBusy;
  if (code === 'rate_limited') return message || words.errorLimit;
  if (code === 'too_large') return message || words.errorLarge;
  if (code.startsWith('http_5')) return words.errorServer;
  return message || words.errorGeneric;
}

export function NotSent({ unsent, retry }: { unsent: Unsent; retry: () => void }) {
  const [now, setNow] = useState(() => performance.now());
  const isWaiting = unsent.retryAt !== null && unsent.retryAt > now;
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setInterval(() => setNow(performance.now()), 500);
    return () => clearInterval(timer);
  }, [isWaiting]);
  return (
    <Note
      tone="error"
      title={t.value.notSent}
      actions={
        <button type="button" class="note-button" disabled={isWaiting} onClick={retry}>
          {isWaiting ? t.value.retryIn(Math.ceil((unsent.retryAt! - now) / 1000)) : t.value.retry}
        </button>
      }
    >
      <p>{problemText(unsent.problem)}</p>
    </Note>
  );
}

/** One line over the composer when the connection is not what it should be. */
export function Strip() {
  const words = t.value;
  const text = !online.value
    ? words.offline
    : runLink.value === 'waiting'
      ? words.reconnecting
      : server.value === null && serverProblem.value !== null
        ? words.serverAway
        : null;
  return text === null ? null : (
    <div class="strip">
      <icons.Cloud />
      <p>{text}</p>
    </div>
  );
}

export function DemoNote() {
  const one = model.value;
  if (!one?.demo) return null;
  return (
    <Note tone="info" title={t.value.demoTitle}>
      {/* The server says it in English; where that is not the reader's language, ours is the better sentence. */}
      <p>{locale.value === 'en' && one.notice ? one.notice : t.value.demoNote}</p>
    </Note>
  );
}
