import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { regenerate, resend, send, switchBranch } from '../actions';
import { copyText } from '../lib/copy';
import { dayOf } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { isComposing, isTouch } from '../lib/keys';
import { children, isRunning, messages, modelName, run, runMessageId, runText, runVerdicts, unsent } from '../store';
import { siblingsOf } from '../tree';
import type { Message } from '../wire';
import { Answer } from './Answer';
import { Facts } from './Facts';
import * as icons from './icons';
import { feedback } from './later';
import { Note, NotSent, problemText, Verdicts } from './Notices';
import { Sources } from './Sources';
import { dialog } from './view';
import { Waking } from './Waking';

const LONG_CHARS = 1_400;
const LONG_LINES = 16;

function Copy({ text }: { text: () => string }) {
  const [state, setState] = useState<'idle' | 'done' | 'failed'>('idle');
  const label = state === 'done' ? t.value.copied : state === 'failed' ? t.value.copyFailed : t.value.copy;
  return (
    <button
      type="button"
      class="icon-button small"
      aria-label={label}
      data-tip={label}
      onClick={async () => {
        setState((await copyText(text())) ? 'done' : 'failed');
        setTimeout(() => setState('idle'), 1_800);
      }}
    >
      {state === 'done' ? <icons.Check /> : <icons.Copy />}
    </button>
  );
}

function Branches({ message }: { message: Message }) {
  const { ids, index } = siblingsOf(messages.value, children.value, message);
  if (ids.length < 2) return null;
  const to = (step: number) => () => switchBranch(message.chat_id, ids[index + step]!);
  return (
    <div class="branches" role="group" aria-label={t.value.branch(index + 1, ids.length)}>
      <button type="button" class="icon-button small" aria-label={t.value.previousBranch} disabled={index === 0} onClick={to(-1)}>
        <icons.Left />
      </button>
      <span class="tabular" aria-hidden="true">{index + 1} / {ids.length}</span>
      <button type="button" class="icon-button small" aria-label={t.value.nextBranch} disabled={index === ids.length - 1} onClick={to(1)}>
        <icons.Right />
      </button>
    </div>
  );
}

export function UserMessage({ message }: { message: Message }) {
  const [isEditing, setEditing] = useState(false);
  const [isOpen, setOpen] = useState(false);
  const isLong = message.content.length > LONG_CHARS || message.content.split('\n').length > LONG_LINES;
  const failed = unsent.value[message.id];
  const masked = (message.verdicts ?? []).filter((verdict) => verdict.stage === 'input' && verdict.action !== 'blocked');
  const pen = useRef<HTMLButtonElement>(null);
  const wasEditing = useRef(false);
  useLayoutEffect(() => {
    if (wasEditing.current && !isEditing) pen.current?.focus();
    wasEditing.current = isEditing;
  }, [isEditing]);
  return (
    <article class={failed ? 'turn user failed' : 'turn user'} data-id={message.id}>
      <h2 class="sr-only">{t.value.you}</h2>
      {isEditing ? (
        <Edit message={message} done={() => setEditing(false)} />
      ) : (
        <>
          <div class={isLong && !isOpen ? 'bubble cut' : 'bubble'} dir="auto">{message.content}</div>
          {isLong && (
            <button type="button" class="text-button show-all" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
              {isOpen ? t.value.showLess : t.value.showMore}
            </button>
          )}
          <div class="actions">
            <Branches message={message} />
            <Copy text={() => message.content} />
            {!isRunning.value && (
              <button type="button" class="icon-button small" ref={pen} aria-label={t.value.edit} data-tip={t.value.edit} onClick={() => setEditing(true)}>
                <icons.Pen />
              </button>
            )}
          </div>
        </>
      )}
      <Verdicts verdicts={masked} message={message} isStored={!failed} />
      {failed && <NotSent unsent={failed} retry={() => resend(message.chat_id, message.id)} />}
    </article>
  );
}

function Edit({ message, done }: { message: Message; done: () => void }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(message.content);
  useLayoutEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(message.content.length, message.content.length);
  }, []);
  const isSame = text.trim() === '' || text === message.content;
  const submit = () => {
    if (isSame) return;
    done();
    send(text.trim(), message.parent_id);
  };
  return (
    <form class="edit" onSubmit={(event) => { event.preventDefault(); submit(); }}>
      <textarea
        ref={area}
        value={text}
        rows={3}
        aria-label={t.value.editLabel}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (isComposing(event)) return;
          if (event.key === 'Escape') {
            event.stopPropagation();
            done();
          } else if (event.key === 'Enter' && !event.shiftKey && !isTouch()) {
            event.preventDefault();
            submit();
          }
        }}
      />
      <div class="edit-foot">
        <p>{t.value.editNote}</p>
        <button type="button" class="button" onClick={done}>{t.value.cancel}</button>
        <button type="submit" class="button primary" disabled={isSame}>{t.value.send}</button>
      </div>
    </form>
  );
}

export function AssistantMessage({ message, isLast }: { message: Message; isLast: boolean }) {
  const isLive = runMessageId.value === message.id;
  const words = t.value;
  const name = modelName(message.model) ?? words.name;
  const failed = unsent.value[message.id];
  const verdicts = (isLive ? runVerdicts.value : message.verdicts) ?? [];
  const shown = verdicts.filter((verdict) => verdict.stage === 'output' || verdict.action === 'blocked');
  const again = () => regenerate(message.chat_id, message.id);
  const isBlocked = message.status === 'blocked';
  const wasBlocked = shown.some(({ action }) => action === 'blocked');
  const isWithoutText = message.status === 'failed' && message.content === '';
  const later = isLive ? null : feedback.value;
  return (
    <article class={isLive ? 'turn assistant live' : 'turn assistant'} data-id={message.id} aria-busy={isLive}>
      <h2 class="sr-only">{words.assistant(name)}</h2>
      {isLive && <LiveHead />}
      {/* Another key when it was withdrawn: not a word of the old text may stay in the page. */}
      {!isBlocked && <Answer key={`${locale.value} ${message.withdrawn}`} id={message.id} content={message.content} isLive={isLive} citations={message.citations} />}
      {!wasBlocked && (isBlocked || message.withdrawn) && (
        <Note tone="shield" title={message.withdrawn ? words.guardWithdrawn : words.guardBlockedOutput}>
          <p>{isBlocked ? message.content : words.guardWithdrawnNote}</p>
        </Note>
      )}
      {!isLive && !isBlocked && message.citations && <Sources citations={message.citations} text={message.content} />}
      <Verdicts verdicts={shown} message={message} isStored={!isLive} />
      {!isLive && message.status === 'stopped' && <p class="ended">{words.stoppedNote}</p>}
      {!isLive && message.asked_model && (
        <p class="ended">{words.fallbackNote(modelName(message.asked_model)!, name)}</p>
      )}
      {!isLive && message.cached_from && (
        <p class="ended">
          {words.cachedNote(dayOf(message.cached_from.at, locale.value))}{' '}
          {!isRunning.value && <button type="button" class="text-button" onClick={again}>{words.askAgain}</button>}
        </p>
      )}
      {!isLive && !isWithoutText && (message.memories_used ?? 0) > 0 && (
        <button type="button" class="ended used" onClick={() => (dialog.value = 'memory')}>
          <icons.Spark />
          {words.memoriesUsed(message.memories_used!)}
        </button>
      )}
      {!isLive && message.finish_reason === 'length' && <p class="ended">{words.cutNote}</p>}
      {!isLive && message.status === 'failed' && (
        <Note
          tone="error"
          title={isWithoutText ? words.failedAtOnceNote : words.failedNote}
          actions={!isRunning.value && <button type="button" class="note-button" onClick={again}>{words.retry}</button>}
        >
          <p>{problemText(message.error ?? { code: 'unknown', message: '' })}</p>
          {message.error && <p class="note-code">{words.errorCode(message.error.code)}</p>}
        </Note>
      )}
      {!isLive && (
        <div class={isLast ? 'actions shown' : 'actions'}>
          <Branches message={message} />
          {message.content !== '' && !isBlocked && <Copy text={() => message.content} />}
          {!isRunning.value && (
            <button type="button" class="icon-button small again" aria-label={words.regenerate} data-tip={words.regenerate} onClick={again}>
              <icons.Redo />
            </button>
          )}
          {later && !isBlocked && !isWithoutText && <later.Thumbs message={message} />}
          <Facts message={message} name={name} />
        </div>
      )}
      {later && <later.Panel message={message} />}
      {failed && <NotSent unsent={failed} retry={again} />}
    </article>
  );
}

/** Before the first word. Its own component, so that the text which follows does not draw the message again. */
function LiveHead() {
  return run.value && runText.value === '' ? <Waking run={run.value} /> : null;
}
