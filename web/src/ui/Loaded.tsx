/** What a page fetches when it opens: on its way, there, or refused with a way to ask again. */

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { asked } from '../accounts';
import { words } from '../i18n/account';
import { t } from '../lib/i18n';
import type { Problem } from '../wire';
import { Note, problemText } from './Notices';

export interface Loading<T> {
  value: T | null;
  problem: Problem | null;
  put: (value: T) => void;
  again: () => void;
}

/** Asks for it now, and again whenever `key` changes; what comes late for an older key is dropped. */
export function useLoaded<T>(job: () => Promise<T>, key: string = ''): Loading<T> {
  const [value, put] = useState<T | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const turn = useRef(0);
  const again = async () => {
    const mine = ++turn.current;
    setProblem(null);
    const answer = await asked(job);
    if (mine !== turn.current) return;
    if ('value' in answer) put(() => answer.value);
    else setProblem(answer.problem);
  };
  useEffect(() => void again(), [key]);
  return { value, problem, put: (next) => put(() => next), again: () => void again() };
}

export function Loaded<T>({ of, children }: { of: Loading<T>; children: (value: T) => ComponentChildren }) {
  if (of.problem) {
    return (
      <Note tone="error" title={words.value.failed} actions={<button type="button" class="note-button" onClick={of.again}>{t.value.retry}</button>}>
        <p>{problemText(of.problem)}</p>
      </Note>
    );
  }
  if (of.value === null) return <p class="quiet" role="status">{words.value.loading}</p>;
  return <>{children(of.value)}</>;
}

/** Runs one change at a time and keeps what the server said against it. A button that waits stays where the focus is. */
export function useChange(): { isBusy: boolean; problem: Problem | null; run: <T>(job: () => Promise<T>) => Promise<T | null> } {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const isRunning = useRef(false);
  const run = async <T,>(job: () => Promise<T>): Promise<T | null> => {
    if (isRunning.current) return null;
    isRunning.current = true;
    setBusy(true);
    setProblem(null);
    const answer = await asked(job);
    isRunning.current = false;
    setBusy(false);
    if ('value' in answer) return answer.value;
    setProblem(answer.problem);
    return null;
  };
  return { isBusy, problem, run };
}

export const Refusal = ({ problem }: { problem: Problem | null }) => problem && <p class="problem" role="alert">{problemText(problem)}</p>;

interface SureProps {
  label: string;
  /** The button's whole name, where the label alone does not say which one. */
  name?: string;
  question: string;
  yes: string;
  isBusy: boolean;
  run: () => void;
}

/** A button that asks back before it does what cannot be undone. */
export function Sure({ label, name, question, yes, isBusy, run }: SureProps) {
  const [isAsked, setAsked] = useState(false);
  const cancel = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => cancel.current?.focus(), [isAsked]);
  if (!isAsked) return <button type="button" class="text-button danger" aria-label={name} aria-disabled={isBusy} onClick={() => setAsked(true)}>{label}</button>;
  return (
    <span class="sure" role="group" aria-label={question}>
      <span class="small">{question}</span>
      <button type="button" class="text-button" ref={cancel} onClick={() => setAsked(false)}>{t.value.cancel}</button>
      <button type="button" class="text-button danger" aria-disabled={isBusy} onClick={() => { setAsked(false); run(); }}>{yes}</button>
    </span>
  );
}

const SEARCH_PAUSE_MS = 220;

/** A search as one types. */
export function Finder({ label, find }: { label: string; find: (text: string) => void }) {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <input
      type="search"
      class="finder"
      aria-label={label}
      placeholder={label}
      autocomplete="off"
      spellcheck={false}
      onInput={(event) => {
        const text = event.currentTarget.value.trim();
        clearTimeout(timer.current);
        timer.current = setTimeout(() => find(text), SEARCH_PAUSE_MS);
      }}
    />
  );
}

/** For what is shown once, and is to be copied: it takes the focus when it comes. */
export function useShownOnce() {
  const node = useRef<HTMLElement>(null);
  useEffect(() => node.current?.querySelector('button')?.focus(), []);
  return node;
}
