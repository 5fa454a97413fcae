/** What a reader thinks of an answer, and of what a guardrail did. Loaded right after the page. */

import { signal } from '@preact/signals';
import { useRef, useState } from 'preact/hooks';
import { rate } from '../feedback';
import { railName, words } from '../i18n/feedback';
import { t } from '../lib/i18n';
import { isComposing } from '../lib/keys';
import '../style/feedback.css';
import type { Message, Opinion, Problem, Rating, Reason, Verdict } from '../wire';
import * as icons from './icons';
import { problemText } from './Notices';
import { toast } from './view';

/** The server takes 4,096 bytes; a UTF-16 unit has three of them at most. */
const COMMENT_UNITS = 1365;
/** The message whose panel is open. */
const open = signal<string | null>(null);

const opinionOf = ({ feedback }: Message): Opinion | null =>
  feedback ? { rating: feedback.rating, reason: feedback.reason, comment: feedback.comment } : null;

/** Says so in passing, with a way back. */
async function say(message: Message, opinion: Opinion | null): Promise<Problem | null> {
  const before = opinionOf(message);
  const problem = await rate(message, opinion);
  if (problem) return problem;
  const undo = async () => {
    const failed = await rate(message, before);
    if (failed) toast(problemText(failed));
  };
  toast(opinion ? words.peek().sent : words.peek().takenBack, { label: words.peek().undo, run: () => void undo() });
  return null;
}

/** In the row under an answer. A press rates; a second one opens and closes what can be added. */
export function Thumbs({ message }: { message: Message }) {
  const given = message.feedback?.rating;
  const press = async (rating: Rating) => {
    if (given === rating) {
      open.value = open.value === message.id ? null : message.id;
      return;
    }
    open.value = message.id;
    const problem = await rate(message, { rating, reason: null, comment: message.feedback?.comment ?? null });
    if (problem) toast(problemText(problem));
  };
  const thumb = (rating: Rating) => {
    const label = rating === 1 ? words.value.good : words.value.bad;
    return (
      <button
        type="button"
        class={rating === 1 ? 'icon-button small thumb' : 'icon-button small thumb down'}
        aria-label={label}
        data-tip={label}
        aria-pressed={given === rating}
        aria-expanded={given === rating && open.value === message.id}
        onClick={() => void press(rating)}
      >
        <icons.Thumb />
      </button>
    );
  };
  return <>{thumb(1)}{thumb(-1)}</>;
}

/** Under that row. */
export const Panel = ({ message }: { message: Message }) =>
  open.value === message.id && message.feedback ? <Form key={message.feedback.rating} message={message} given={message.feedback} /> : null;

function Form({ message, given }: { message: Message; given: Opinion }) {
  const form = useRef<HTMLFormElement>(null);
  const [reason, setReason] = useState(given.reason);
  const [comment, setComment] = useState(given.comment ?? '');
  const [problem, setProblem] = useState<Problem | null>(null);
  const isGood = given.rating === 1;

  const close = () => {
    // Only a form that has the focus gives it back: whoever went on reading is not pulled away.
    if (form.current?.contains(document.activeElement)) {
      form.current.closest('.turn')?.querySelector<HTMLElement>('.thumb[aria-pressed="true"]')?.focus();
    }
    open.value = null;
  };
  const submit = async (opinion: Opinion | null) => {
    const failed = await say(message, opinion);
    setProblem(failed);
    if (!failed) close();
  };
  return (
    <form
      ref={form}
      class="feedback"
      aria-label={words.value.title(isGood)}
      onSubmit={(event) => { event.preventDefault(); void submit({ rating: given.rating, reason, comment: comment.trim() || null }); }}
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || isComposing(event)) return;
        event.stopPropagation();
        close();
      }}
    >
      <header>
        <p class="feedback-title">{words.value.title(isGood)}</p>
        <button type="button" class="icon-button small" aria-label={t.value.close} onClick={close}>
          <icons.Cross />
        </button>
      </header>
      {!isGood && <Reasons message={message} reason={reason} choose={setReason} />}
      <label for={`comment-${message.id}`}>{words.value.comment}</label>
      <textarea
        id={`comment-${message.id}`}
        rows={2}
        maxLength={COMMENT_UNITS}
        value={comment}
        aria-describedby={`note-${message.id}`}
        onInput={(event) => setComment(event.currentTarget.value)}
      />
      {problem && <p class="feedback-problem" role="alert">{problemText(problem)}</p>}
      <footer>
        <p id={`note-${message.id}`}>{words.value.commentNote}</p>
        <button type="button" class="button" onClick={() => void submit(null)}>{words.value.takeBack}</button>
        <button type="submit" class="button primary">{words.value.send}</button>
      </footer>
    </form>
  );
}

interface ReasonsProps {
  message: Message;
  reason: Reason | null;
  choose: (reason: Reason) => void;
}

function Reasons({ message, reason, choose }: ReasonsProps) {
  const all = Object.entries(words.value.reason) as [Reason, string][];
  const fitting = all.filter(([one]) => one !== 'guardrail_wrong' || message.verdicts?.length);
  return (
    <fieldset>
      <legend class="sr-only">{words.value.reasons}</legend>
      {fitting.map(([one, label]) => (
        <label key={one} class="reason">
          <input type="radio" name={`reason-${message.id}`} checked={reason === one} onChange={() => choose(one)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** Under what a guardrail did: which check it was, by what rules, and how often it acted here. */
export function Details({ verdict, times }: { verdict: Verdict; times: number }) {
  return (
    <details class="verdict">
      <summary>
        {words.value.details}
        <icons.Caret />
      </summary>
      <dl>
        <dt>{words.value.check}</dt>
        <dd>{railName(verdict.rail)} <code>{verdict.rail}</code></dd>
        <dt>{words.value.times}</dt>
        <dd>{words.value.timesOf(times)}</dd>
        {verdict.policy && (
          <>
            <dt>{words.value.policy}</dt>
            <dd><code>{verdict.policy}</code></dd>
          </>
        )}
      </dl>
    </details>
  );
}

/** The reader's word against the guardrail's. */
export function Appeal({ message }: { message: Message }) {
  const before = useRef<Opinion | null>(null);
  const isAppealed = message.feedback?.reason === 'guardrail_wrong';
  const press = async () => {
    if (!isAppealed) before.current = opinionOf(message);
    const comment = message.feedback?.comment ?? null;
    const problem = await rate(message, isAppealed ? before.current : { rating: -1, reason: 'guardrail_wrong', comment });
    if (problem) toast(problemText(problem));
  };
  return (
    <>
      <p class="appealed" role="status">{isAppealed ? words.value.appealed : ''}</p>
      <button type="button" class="note-button" onClick={() => void press()}>
        {isAppealed ? words.value.undo : words.value.wrong}
      </button>
    </>
  );
}
