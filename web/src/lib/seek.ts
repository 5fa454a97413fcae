/** To one message of a chat, wherever it is: on an older page, on another branch, far above. And shows which it is. */

import { effect } from '@preact/signals';
import { loadEarlier, switchBranch } from '../actions';
import { list, openId, path, state } from '../store';

const threadOf = (id: string) => state.peek().threads[id] ?? null;

/** When the chat has been read; false when it cannot be, or another one is open by then. */
const arrived = (chatId: string): Promise<boolean> =>
  new Promise((resolve) => {
    const stop = effect(() => {
      const isOpen = openId.value === chatId;
      const how = state.value.threads[chatId]?.state;
      if (isOpen && (how === undefined || how === 'loading')) return;
      queueMicrotask(() => stop());
      resolve(isOpen && how === 'ready');
    });
  });

const WAIT_FRAMES = 240;
const HOLD_MS = 900;

const frame = (): Promise<number> => new Promise((resolve) => requestAnimationFrame(resolve));

export async function seek(chatId: string, messageId: string): Promise<void> {
  const words = list.peek().query;
  if (!(await arrived(chatId))) return;
  for (let before: string | null | undefined; !threadOf(chatId)?.messages[messageId]; ) {
    const { firstId, hasEarlier } = threadOf(chatId)!;
    if (!hasEarlier || firstId === before) return;
    before = firstId;
    await loadEarlier(chatId);
  }
  if (!path.peek().some(({ id }) => id === messageId)) switchBranch(chatId, messageId);
  for (let n = 0; n < WAIT_FRAMES && openId.peek() === chatId; n++) {
    const node = document.querySelector<HTMLElement>(`.turn[data-id="${CSS.escape(messageId)}"]`);
    if (node) return show(node, words);
    await frame();
  }
}

/** Older turns are still drawn above it for a moment: it is held in view until that is over, or the reader moves. */
async function show(node: HTMLElement, words: string): Promise<void> {
  node.querySelector<HTMLElement>('.show-all[aria-expanded="false"]')?.click();
  await frame();
  node.classList.add('sought');
  node.tabIndex = -1;
  node.focus({ preventScroll: true });
  let isHeld = true;
  const letGo = () => (isHeld = false);
  for (const kind of ['wheel', 'pointerdown', 'keydown'] as const) addEventListener(kind, letGo, { once: true, passive: true });
  const target = mark(node, words) ?? node;
  for (const until = performance.now() + HOLD_MS; isHeld && performance.now() < until && node.isConnected; ) {
    const scroller = node.closest('.thread');
    const { top, bottom } = target.getBoundingClientRect();
    const box = scroller?.getBoundingClientRect();
    if (box && (top < box.top + 8 || bottom > box.bottom - 8)) scroller!.scrollTop += top - box.top - Math.max(8, (box.height - (bottom - top)) / 3);
    await frame();
  }
  node.addEventListener('blur', () => node.classList.remove('sought'), { once: true });
}

/** Marks the words inside it without touching the nodes. The first place, if there is one. */
function mark(node: HTMLElement, words: string): Range | null {
  if (words === '' || !('highlights' in CSS)) return null;
  const sought = words.toLowerCase();
  const ranges: Range[] = [];
  const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const said = text.nodeValue!.toLowerCase();
    if (said.length !== text.nodeValue!.length || text.parentElement?.closest('button, .sr-only')) continue;
    for (let at = said.indexOf(sought); at >= 0; at = said.indexOf(sought, at + sought.length)) {
      const range = document.createRange();
      range.setStart(text, at);
      range.setEnd(text, at + sought.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set('sought', new Highlight(...ranges));
  return ranges[0] ?? null;
}
