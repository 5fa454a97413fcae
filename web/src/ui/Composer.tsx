import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { send, stop } from '../actions';
import { draftOf, keepDraft } from '../lib/drafts';
import { bytes } from '../lib/format';
import { t } from '../lib/i18n';
import { ground, isGrounded } from '../lib/grounded';
import { isComposing, isTouch } from '../lib/keys';
import { typing } from '../models';
import { isRunning, isStopping, messages, model, openId, path } from '../store';
import { MESSAGE_BYTES } from '../wire';
import * as icons from './icons';
import { dialog, focus } from './view';

const encoder = new TextEncoder();
/** From here on the counter shows. */
const NEAR = 0.85;
const growsByItself = CSS.supports('field-sizing', 'content');

export function Composer() {
  const area = useRef<HTMLTextAreaElement>(null);
  const id = openId.value;
  const [text, setText] = useState(() => draftOf(id).text);
  const words = t.value;

  // Another chat has its own draft. One that was sent and has arrived is not a draft.
  const shownId = useRef(id);
  useLayoutEffect(() => {
    if (shownId.current === id) return;
    shownId.current = id;
    const draft = draftOf(id);
    setText(draft.sentAs !== null && messages.peek()[draft.sentAs] ? '' : draft.text);
  }, [id]);
  // A draft of a message that the reload overtook: the thread has it, so the box lets it go.
  const sentAs = draftOf(id).sentAs;
  const hasArrived = sentAs !== null && path.value.some((message) => message.id === sentAs);
  useLayoutEffect(() => {
    if (hasArrived && text === draftOf(id).text) setText('');
  }, [hasArrived]);

  useEffect(() => {
    focus.composer = () => area.current?.focus();
    // On a phone the keyboard would cover the page before one has read it.
    if (!isTouch()) area.current?.focus();
    return () => (focus.composer = () => {});
  }, []);

  useLayoutEffect(() => {
    const node = area.current;
    if (growsByItself || !node) return;
    node.style.height = 'auto';
    node.style.height = `${node.scrollHeight}px`;
  }, [text]);

  const size = text.length * 3 < MESSAGE_BYTES * NEAR ? 0 : encoder.encode(text.trim()).length;
  const isOver = size > MESSAGE_BYTES;
  const isBusy = isRunning.value;
  const canSend = text.trim() !== '' && !isOver && !isBusy;

  const submit = () => {
    if (!canSend) return;
    setText('');
    send(text.trim());
    if (!isTouch()) area.current?.focus();
  };

  const typed = (value: string) => {
    setText(value);
    if (value.trim() !== '') typing();
    // The id it was sent under stays only as long as the text is the same.
    const { sentAs: old, text: sentText } = draftOf(id);
    keepDraft(id, { text: value, sentAs: sentText === value ? old : null });
  };

  // Files go to the documents that answers can lean on.
  const takeFiles = (files: FileList | undefined): boolean => {
    if (!files?.length) return false;
    ground(id, true);
    dialog.value = 'knowledge';
    void import('../knowledge').then(({ upload }) => upload(files, words.fileTooLarge));
    return true;
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      // The whole box is the target, not just the line of text in it.
      onClick={(event) => event.target === event.currentTarget && area.current?.focus()}
      onDragOver={(event) => event.dataTransfer?.types.includes('Files') && event.preventDefault()}
      onDrop={(event) => takeFiles(event.dataTransfer?.files) && event.preventDefault()}
      onPaste={(event) => takeFiles(event.clipboardData?.files) && event.preventDefault()}
    >
      <textarea
        ref={area}
        id="composer"
        rows={1}
        value={text}
        aria-label={words.message}
        placeholder={model.value ? words.placeholder(model.value.name) : words.placeholderPlain}
        aria-describedby={size > MESSAGE_BYTES * NEAR ? 'bytes' : undefined}
        aria-invalid={isOver || undefined}
        enterkeyhint={isTouch() ? 'enter' : 'send'}
        onInput={(event) => typed(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || event.shiftKey || isComposing(event) || isTouch()) return;
          event.preventDefault();
          submit();
        }}
      />
      <div class="composer-foot">
        <Ground chat={id} />
        <span class="head-space" />
        {size > MESSAGE_BYTES * NEAR && (
          <span id="bytes" class={isOver ? 'bytes over' : 'bytes'} role="status">
            {isOver ? words.bytesOver(bytes(size - MESSAGE_BYTES)) : words.bytesLeft(bytes(MESSAGE_BYTES - size))}
          </span>
        )}
        {isBusy ? (
          <button
            type="button"
            class="send stop"
            aria-label={isStopping.value ? words.stopping : words.stop}
            data-tip={words.stop}
            disabled={isStopping.value}
            onClick={() => id !== null && stop(id)}
          >
            <icons.Stop />
          </button>
        ) : (
          <button type="submit" class="send" aria-label={words.send} disabled={!canSend}>
            <icons.Up />
          </button>
        )}
      </div>
    </form>
  );
}

/** Whether the answer leans on the reader's documents. Without any, the button leads to where they are added. */
function Ground({ chat }: { chat: string | null }) {
  const isOn = isGrounded(chat);
  const press = async () => {
    if (isOn) return ground(chat, false);
    const { collections, loadCollections } = await import('../knowledge');
    if (await loadCollections()) return;
    if (collections.peek()?.some(({ documents }) => documents > 0)) ground(chat, true);
    else dialog.value = 'knowledge';
  };
  return (
    <button type="button" class="ground" aria-pressed={isOn} data-tip={t.value.groundNote} onClick={() => void press()}>
      <icons.Books />
      <span>{t.value.ground}</span>
    </button>
  );
}
