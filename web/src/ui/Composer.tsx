/** The message box: what is written, what goes with it, and the way out. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { send, stop } from '../actions';
import type { Attached } from '../lib/attached';
import { draftOf, keepDraft } from '../lib/drafts';
import { bytes } from '../lib/format';
import { t } from '../lib/i18n';
import { ground, isGrounded } from '../lib/grounded';
import { newId } from '../lib/ids';
import { isComposing, isTouch } from '../lib/keys';
import { typing } from '../models';
import { isRunning, isStopping, model, openId } from '../store';
import { MESSAGE_BYTES } from '../wire';
import * as icons from './icons';
import { needWriting, writing } from './later';
import { Menu } from './Menu';
import { dialog, focus } from './view';

const encoder = new TextEncoder();
/** From here on the counter shows. */
const NEAR = 0.85;
/** A longer paste is shown as one thing, instead of filling the box. */
const LONG_PASTE = 8_000;
/** `/` and what is sought, in a box that is otherwise empty. */
const SLASH = /^\/([^\n]{0,60})$/;
const NO_FILES: readonly Attached[] = [];
const growsByItself = CSS.supports('field-sizing', 'content');

export function Composer() {
  const area = useRef<HTMLTextAreaElement>(null);
  const id = openId.value;
  const [text, setText] = useState(() => draftOf(id).text);
  const [files, setFiles] = useState(() => draftOf(id).files ?? NO_FILES);
  const words = t.value;
  const extra = writing.value;

  // Another chat has its own draft.
  const shownId = useRef(id);
  useLayoutEffect(() => {
    if (shownId.current === id) return;
    shownId.current = id;
    const draft = draftOf(id);
    setText(draft.text);
    setFiles(draft.files ?? NO_FILES);
  }, [id]);

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

  const keep = (value: string, kept: readonly Attached[]) => {
    const held = extra?.keepable(kept) ?? kept;
    keepDraft(id, { text: value, ...(held.length > 0 ? { files: held } : {}) });
  };
  const typed = (value: string) => {
    setText(value);
    if (value.trim() !== '') typing();
    keep(value, files);
  };
  const hold = (next: readonly Attached[]) => {
    setFiles(next);
    keep(text, next);
    if (next.length > files.length) typing();
  };
  useEffect(() => {
    if (files.length > 0) needWriting();
  }, [files.length > 0]);

  const templates = useTemplates(area, text, typed);
  const attaching = useAttaching(id, (more) => hold([...files, ...more]));

  const content = files.length > 0 && extra ? extra.composed(text, files, extra.words.value.pasted) : text.trim();
  const size = content.length * 3 < MESSAGE_BYTES * NEAR ? 0 : encoder.encode(content).length;
  const isOver = size > MESSAGE_BYTES;
  const isBusy = isRunning.value;
  const canSend = content !== '' && !isOver && !isBusy && (files.length === 0 || extra !== null);

  const submit = () => {
    if (!canSend || templates.hasGap()) return;
    setText('');
    setFiles(NO_FILES);
    send(content);
    if (!isTouch()) area.current?.focus();
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
      onDrop={(event) => attaching.take(event.dataTransfer?.files) && event.preventDefault()}
      onPaste={(event) => attaching.paste(event.clipboardData) && event.preventDefault()}
    >
      {templates.list}
      {extra && files.length > 0 && (
        <extra.Attached
          files={files}
          isOver={isOver}
          drop={(one) => hold(files.filter((file) => file.id !== one))}
          toKnowledge={(file) => {
            hold(files.filter((other) => other !== file));
            attaching.toKnowledge([extra.asFile(file)]);
          }}
          intoBox={(file) => {
            const rest = files.filter((other) => other !== file);
            const value = text === '' ? file.text : `${text}\n\n${file.text}`;
            setFiles(rest);
            setText(value);
            keep(value, rest);
            area.current?.focus();
          }}
        />
      )}
      {templates.hint}
      <textarea
        ref={area}
        id="composer"
        rows={1}
        value={text}
        aria-label={words.message}
        placeholder={model.value ? words.placeholder(model.value.name) : words.placeholderPlain}
        aria-describedby={size > MESSAGE_BYTES * NEAR ? 'bytes' : undefined}
        aria-invalid={isOver || undefined}
        {...templates.aria}
        enterkeyhint={isTouch() ? 'enter' : 'send'}
        onInput={(event) => typed(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (templates.pressed(event)) return;
          if (event.key !== 'Enter' || event.shiftKey || isComposing(event) || isTouch()) return;
          event.preventDefault();
          submit();
        }}
      />
      <div class="composer-foot">
        <Menu
          class="icon-button add"
          label={words.addToMessage}
          tip={words.addToMessage}
          items={() => [
            { id: 'files', label: words.addFiles, icon: <icons.Page />, run: attaching.choose },
            { id: 'template', label: words.useTemplate, icon: <icons.Leaf />, run: () => templates.begin() },
          ]}
        >
          <icons.Plus />
        </Menu>
        <Ground chat={id} />
        <span class="head-space" />
        {size > MESSAGE_BYTES * NEAR && (
          <span id="bytes" class={isOver ? 'bytes over' : 'bytes'} role="status">
            {isOver ? words.bytesOver(bytes(size - MESSAGE_BYTES)) : words.bytesLeft(bytes(MESSAGE_BYTES - size))}
          </span>
        )}
        {isBusy ? (
          <button
            key="stop" // never the same button as the one that sends
            type="button"
            class="send stop"
            aria-label={isStopping.value ? words.stopping : words.stop}
            data-tip={words.stop}
            aria-disabled={isStopping.value}
            // It may get the focus from a key that is still down: that one has asked for an answer, not for its end.
            onKeyDown={(event) => event.repeat && event.preventDefault()}
            onClick={() => id !== null && stop(id)}
          >
            <icons.Stop />
          </button>
        ) : (
          <button key="send" type="submit" class="send" aria-label={words.send} disabled={!canSend}>
            <icons.Up />
          </button>
        )}
      </div>
    </form>
  );
}

/** Small texts go with the message; whatever else is a file goes to the documents that answers can lean on. */
function useAttaching(id: string | null, add: (more: readonly Attached[]) => void) {
  const latest = useRef(add);
  latest.current = add;
  const toKnowledge = (files: readonly File[]) => {
    ground(id, true);
    dialog.value = 'knowledge';
    void import('../knowledge').then(({ upload }) => upload(files, t.peek().fileTooLarge));
  };
  const take = (list: FileList | null | undefined): boolean => {
    if (!list?.length) return false;
    const files = [...list];
    void import('./writing').then(async ({ sorted }) => {
      const { texts, others } = await sorted(files);
      if (texts.length > 0) latest.current(texts);
      if (others.length > 0) toKnowledge(others);
    });
    return true;
  };
  const paste = (data: DataTransfer | null): boolean => {
    const text = data?.getData('text/plain') ?? '';
    if (text === '') return take(data?.files);
    if (text.length <= LONG_PASTE) return false;
    add([{ id: newId(), name: null, text: text.replace(/\r\n?/g, '\n') }]);
    return true;
  };
  const choose = () => {
    const input = document.createElement('input');
    Object.assign(input, { type: 'file', multiple: true, onchange: () => take(input.files) });
    input.click();
  };
  return { take, paste, choose, toKnowledge };
}

/** `/` in an empty box lists the reader's templates; Tab then goes from gap to gap. */
function useTemplates(area: { current: HTMLTextAreaElement | null }, text: string, typed: (value: string) => void) {
  const extra = writing.value;
  const [isClosed, setClosed] = useState(false);
  const [pointed, setPointed] = useState<string | null>(null);
  const [isFilling, setFilling] = useState(false);
  const listener = useRef<((event: KeyboardEvent) => boolean) | null>(null);
  const selection = useRef<{ start: number; end: number } | null>(null);
  const sought = SLASH.exec(text)?.[1] ?? null;
  useEffect(() => {
    if (sought === null) setClosed(false);
    else needWriting();
  }, [sought === null]);
  useLayoutEffect(() => {
    const node = area.current;
    if (selection.current === null || !node) return;
    node.focus();
    node.setSelectionRange(selection.current.start, selection.current.end);
    selection.current = null;
  });

  const isOpen = sought !== null && !isClosed && extra !== null;
  const gaps = isFilling ? (extra?.gapsOf(text) ?? []) : [];
  const take = (value: string) => {
    const first = extra?.gapsOf(value)[0];
    typed(value);
    setFilling(first !== undefined);
    selection.current = first ?? { start: value.length, end: value.length };
  };
  const pressed = (event: KeyboardEvent): boolean => {
    if (listener.current?.(event)) return true;
    if (gaps.length === 0 || isComposing(event) || !extra) return false;
    if (event.key === 'Escape') {
      event.stopPropagation();
      event.preventDefault();
      setFilling(false);
      return true;
    }
    const { selectionStart, selectionEnd } = event.currentTarget as HTMLTextAreaElement;
    const gap = event.key === 'Tab' ? extra.nextGap(text, event.shiftKey ? selectionStart : selectionEnd, event.shiftKey) : null;
    if (!gap) return false;
    event.preventDefault();
    area.current?.setSelectionRange(gap.start, gap.end);
    return true;
  };
  return {
    pressed,
    /** The first attempt to send goes to what is not filled in; the second sends it as it is. */
    hasGap: (): boolean => {
      const [gap] = gaps;
      setFilling(false);
      if (!gap) return false;
      area.current?.focus();
      area.current?.setSelectionRange(gap.start, gap.end);
      return true;
    },
    begin: () => {
      if (text.trim() !== '') return void (dialog.value = 'templates');
      selection.current = { start: 1, end: 1 };
      setClosed(false);
      typed('/');
    },
    hint: extra && gaps.length > 0 && <extra.Gaps gaps={gaps} />,
    list: isOpen && (
      <extra.Slash query={sought} listen={(one) => (listener.current = one)} choose={take} point={setPointed} close={() => setClosed(true)} />
    ),
    aria: isOpen ? ({ 'aria-autocomplete': 'list', 'aria-controls': 'slash-list', 'aria-activedescendant': pointed ?? undefined } as const) : {},
  };
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
