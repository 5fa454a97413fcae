/** A text that is saved by itself, a moment after the last letter and when it is left. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { Problem } from '../wire';
import { problemText } from './Notices';

const SAVE_PAUSE_MS = 700;

interface Props {
  id: string;
  label: string;
  note: string;
  hint: string;
  /** What to say when it is saved. */
  saved: string;
  first: string;
  disabled?: boolean;
  /** Returns what went wrong, or null; `false` where there is nothing to say about it. */
  save: (text: string) => Promise<Problem | null | false>;
}

export function SelfSaving({ id, label, note, hint, saved, first, disabled, save }: Props) {
  const [text, setText] = useState(first);
  const [outcome, setOutcome] = useState('');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const unsaved = useRef<string | null>(null);
  const saveNow = async () => {
    clearTimeout(timer.current);
    const value = unsaved.current;
    if (value === null) return;
    unsaved.current = null;
    const problem = await save(value);
    setOutcome(problem ? problemText(problem) : problem === null ? saved : '');
  };
  useEffect(() => () => void saveNow(), []);
  // What was fetched after the page was opened; what the reader has typed meanwhile stays.
  useEffect(() => {
    if (unsaved.current === null) setText(first);
  }, [first]);
  return (
    <div class="setting">
      <label for={id}>{label}</label>
      <p class="quiet small" id={`${id}-note`}>{note}</p>
      <textarea
        id={id}
        rows={4}
        value={text}
        disabled={disabled}
        placeholder={hint}
        aria-describedby={`${id}-note`}
        onInput={(event) => {
          setText(event.currentTarget.value);
          unsaved.current = event.currentTarget.value;
          setOutcome('');
          clearTimeout(timer.current);
          timer.current = setTimeout(() => void saveNow(), SAVE_PAUSE_MS);
        }}
        onBlur={() => void saveNow()}
      />
      <p class="quiet small saved" role="status">{outcome}</p>
    </div>
  );
}
