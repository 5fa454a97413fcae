/** Notes beside what they are about: guardrails, failures, the demo model, the connection. */

import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { locale, t } from '../lib/i18n';
import { newVersion } from '../lib/version';
import { model, online, profile, runLink, server, serverProblem } from '../store';
import type { Unsent } from '../state';
import type { Message, Problem, Verdict } from '../wire';
import * as icons from './icons';
import { feedback, needRefusals, refusals } from './later';

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

function verdictTitle({ stage, action }: Verdict, message: Message): string {
  const words = t.value;
  if (action === 'flagged') return words.guardFlagged;
  if (stage === 'input') return action === 'blocked' ? words.guardBlockedInput : words.guardRedactedInput;
  if (action === 'redacted') return words.guardRedactedOutput;
  return message.withdrawn ? words.guardWithdrawn : words.guardBlockedOutput;
}

interface VerdictsProps {
  verdicts: readonly Verdict[];
  /** Theirs; a reader may say that they were wrong as soon as it is stored. */
  message: Message;
  isStored: boolean;
}

/** What the guardrails did to a message, and why. The same rail may act many times in one answer; it is said once. */
export function Verdicts({ verdicts, message, isStored }: VerdictsProps) {
  const later = feedback.value;
  const groups = new Map<string, Verdict[]>();
  for (const verdict of verdicts) {
    const key = `${verdict.stage} ${verdict.rail} ${verdict.action}`;
    groups.set(key, [...(groups.get(key) ?? []), verdict]);
  }
  const last = [...groups.keys()].at(-1);
  return (
    <>
      {[...groups].map(([key, group]) => {
        const verdict = group[0]!;
        const isSaid = message.role === 'assistant' && message.status !== 'blocked' && message.content === verdict.message;
        return (
          <Note
            key={key}
            tone="shield"
            title={verdictTitle(verdict, message)}
            actions={later && isStored && key === last && <later.Appeal message={message} />}
          >
            {!isSaid && <p>{verdict.message}</p>}
            {later ? <later.Details verdict={verdict} times={group.length} /> : <p class="note-code">{t.value.guardRail(verdict.rail)}</p>}
          </Note>
        );
      })}
    </>
  );
}

/** What a reader can do about it, in their language where we know the code; the server's own sentence otherwise. */
export function problemText(problem: Problem): string {
  if (problem.code === 'network') return t.value.errorNetwork;
  if (problem.code.startsWith('http_5')) return t.value.errorServer;
  needRefusals();
  return refusals.value?.say.value(problem) ?? (problem.message || t.value.errorGeneric);
}

export function NotSent({ unsent, retry }: { unsent: Unsent; retry: () => void }) {
  const [now, setNow] = useState(() => performance.now());
  const isWithout = unsent.problem.code === 'network';
  const isWaiting = unsent.retryAt !== null && unsent.retryAt > now;
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setInterval(() => setNow(performance.now()), 500);
    return () => clearInterval(timer);
  }, [isWaiting]);
  return (
    <Note
      tone="error"
      title={isWithout ? t.value.notSentYet : t.value.notSent}
      actions={
        <button type="button" class="note-button" disabled={isWaiting} onClick={retry}>
          {isWaiting ? t.value.retryIn(Math.ceil((unsent.retryAt! - now) / 1000)) : t.value.retry}
        </button>
      }
    >
      <p>{isWithout ? t.value.notSentYetNote : problemText(unsent.problem)}</p>
    </Note>
  );
}

/** One line over the composer when the connection is not what it should be, or the page is not the newest. */
export function Strip() {
  const words = t.value;
  const reload = newVersion.value;
  const text = !online.value
    ? words.offline
    : runLink.value === 'waiting'
      ? words.reconnecting
      : server.value === null && serverProblem.value !== null
        ? words.serverAway
        : profile.value?.paused
          ? profile.value.paused.reason
            ? words.pausedBecause(profile.value.paused.reason)
            : words.paused
          : null;
  if (text !== null) {
    return (
      <div class="strip">
        <icons.Cloud />
        <p>{text}</p>
      </div>
    );
  }
  return (
    reload && (
      <div class="strip" role="status">
        <icons.Spark />
        <p>{words.newVersion}</p>
        <button type="button" class="note-button" onClick={reload}>{words.reload}</button>
      </div>
    )
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
