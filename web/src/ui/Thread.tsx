import { Fragment } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { loadEarlier, loadThread, resend } from '../actions';
import { t } from '../lib/i18n';
import { prefersLessMotion } from '../lib/keys';
import { settings } from '../lib/settings';
import { Stick } from '../lib/stick';
import { watchNear } from '../markdown/paint';
import { chat, hasEarlier, isRunning, messages, online, openId, path, run, runMessageId, summary, threadProblem, threadState, unsent } from '../store';
import { parser } from './Answer';
import * as icons from './icons';
import { AssistantMessage, UserMessage } from './Message';
import { Note, problemText } from './Notices';
import { dialog, go, openPassage } from './view';
import { Waking } from './Waking';

function openCitation(event: MouseEvent): void {
  const button = (event.target as Element).closest<HTMLButtonElement>('button[data-cite]');
  const message = messages.peek()[button?.closest<HTMLElement>('[data-id]')?.dataset.id ?? ''];
  if (button && message?.citations) openPassage(message.citations, Number(button.dataset.cite));
}

export function Thread() {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const stick = useRef<Stick>(undefined);
  const [isAway, setAway] = useState(false);
  const id = openId.value;

  useLayoutEffect(() => {
    const node = scroller.current!;
    watchNear(node);
    const one = new Stick(node, content.current!, (isPinned) => setAway(!isPinned), () => settings.peek().follow || !isRunning.peek());
    stick.current = one;
    return () => {
      one.close();
      watchNear(null);
    };
  }, []);

  // Another chat, or a message of one's own: the end is what one wants to see.
  const lastUser = path.value.findLast((message) => message.role === 'user')?.id;
  const isSending = isRunning.value;
  useLayoutEffect(() => stick.current?.toEnd(), [id, threadState.value === 'ready']);
  useLayoutEffect(() => {
    if (isSending) stick.current?.toEnd();
  }, [lastUser, isSending]);

  return (
    <div class="thread-frame">
      <div
        class="thread"
        ref={scroller}
        tabIndex={0}
        role="region"
        aria-label={t.value.conversation}
        onClick={(event) => {
          openCitation(event);
          parser.peek()?.pressed(event, t.peek());
        }}
      >
        <div class="column" ref={content}>
          <Messages key={id} keepPlace={(change) => keepPlace(scroller.current!, change)} />
        </div>
      </div>
      {isAway && (
        <button type="button" class="to-end" aria-label={t.value.jumpToLatest} data-tip={t.value.jumpToLatest} onClick={() => stick.current?.toEnd(!prefersLessMotion())}>
          <icons.Down />
        </button>
      )}
    </div>
  );
}

/** Older messages come in above; what is being read stays where it is. */
async function keepPlace(node: HTMLElement, change: () => Promise<void>): Promise<void> {
  const fromEnd = node.scrollHeight - node.scrollTop;
  await change();
  requestAnimationFrame(() => (node.scrollTop = node.scrollHeight - fromEnd));
}

// The newest turns fill the screen in the first frame; the older ones come above it, a few at a time.
const FIRST_TURNS = 8;
const MORE_TURNS = 16;
const PAUSE_MS = 48;

/** How many of the newest messages to draw now. Once all are there, it is all of them for good. */
function useGradual(length: number): number {
  const [count, setCount] = useState(FIRST_TURNS);
  useEffect(() => {
    if (length === 0 || count === Infinity) return;
    const timer = setTimeout(() => setCount(count >= length ? Infinity : count + MORE_TURNS), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [count, length]);
  return count;
}

function Messages({ keepPlace: keep }: { keepPlace: (change: () => Promise<void>) => Promise<void> }) {
  const words = t.value;
  const state = threadState.value;
  const id = openId.value;
  const messages = path.value;
  const count = useGradual(messages.length);
  if (state === 'loading') return <Loading />;
  if (state === 'missing') {
    return (
      <div class="empty-note">
        <p>{words.chatMissing}</p>
        <button type="button" class="button primary" onClick={go.newChat}>{words.startNew}</button>
      </div>
    );
  }
  if (state === 'failed') {
    return (
      <div class="empty-note">
        <p>{words.chatFailed}</p>
        {threadProblem.value && <p class="quiet">{online.value ? problemText(threadProblem.value) : words.chatNotHere}</p>}
        <button type="button" class="button primary" onClick={() => id && void loadThread(id)}>{words.retry}</button>
      </div>
    );
  }
  const last = messages.at(-1);
  const shown = count === Infinity ? messages : messages.slice(-count);
  const isPending = isRunning.value && runMessageId.value === null;
  return (
    <>
      {count === Infinity && hasEarlier.value && (
        <button type="button" class="text-button earlier" onClick={() => id && void keep(() => loadEarlier(id))}>
          {words.earlier}
        </button>
      )}
      {chat.value?.temporary && <p class="divider">{words.temporaryNote}</p>}
      {shown.map((message) => (
        <Fragment key={message.id}>
          {message.role === 'user' ? <UserMessage message={message} /> : <AssistantMessage message={message} isLast={message === last} />}
          {summary.value?.upto === message.id && (
            <p class="divider">
              {words.summaryDivider}{' '}
              <button type="button" class="text-button" onClick={() => (dialog.value = 'summary')}>{words.summaryShow}</button>
            </p>
          )}
        </Fragment>
      ))}
      {isPending && <Pending />}
      {last?.role === 'user' && !isRunning.value && !unsent.value[last.id] && (
        <Note
          tone="info"
          title={words.noAnswer}
          actions={<button type="button" class="note-button" onClick={() => resend(last.chat_id, last.id)}>{words.retry}</button>}
        />
      )}
    </>
  );
}

/** Sent, and nothing heard yet. */
const Pending = () => (
  <div class="turn assistant live">{run.value && <Waking run={run.value} />}</div>
);

function Loading() {
  const [isLong, setLong] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), 150);
    return () => clearTimeout(timer);
  }, []);
  if (!isLong) return null;
  return (
    <div class="thread-skeleton" role="img" aria-label={t.value.loadingChat}>
      <span class="right" />
      <span />
      <span />
      <span class="short" />
    </div>
  );
}
