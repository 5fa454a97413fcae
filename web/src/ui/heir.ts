/**
 * The focus never falls to nothing: when what had it goes away, or can no longer be used, its heir takes it.
 *
 * The heir is the next step where there is one: of an answer that is asked for again the Stop button, of that the new
 * answer's own buttons, of a dialog what opened it. Otherwise it is what now stands at the same place, or nearest to it.
 * Whoever knows better moves the focus themselves: this looks only after everything has been drawn.
 */

import { isTouch } from '../lib/keys';

const CAN_HAVE = 'a[href], button, input, select, textarea, summary, [tabindex]';
/** What stands before the page: from there one returns to where one was. */
const BEFORE = 'dialog, .toasts';

interface Place {
  parent: Element;
  index: number;
}

let last: HTMLElement | null = null;
/** Where `last` stood, from its parent up: it is asked when `last` stands nowhere any more. */
let places: readonly Place[] = [];
let before: HTMLElement | null = null;

const wasIn = (selector: string): boolean => places.some(({ parent }) => parent.matches(selector));
const isUsable = (node: HTMLElement): boolean =>
  node.isConnected && !node.matches(':disabled') && node.closest('[inert]') === null && node.checkVisibility();
const one = (selector: string): HTMLElement | null => [...document.querySelectorAll<HTMLElement>(selector)].findLast(isUsable) ?? null;

/** Of all in here that can have the focus, what is most like the one that had it, or else what is nearest to it. */
function inside(node: Element, like: HTMLElement, isBefore: boolean): HTMLElement | null {
  const all = [node, ...node.querySelectorAll(CAN_HAVE)].filter((each): each is HTMLElement => each.matches(CAN_HAVE) && isUsable(each as HTMLElement));
  const name = like.getAttribute('aria-label');
  const group = places[0]?.parent.className;
  return all.find((each) => name && each.getAttribute('aria-label') === name) ?? all.find((each) => group && each.parentElement?.className === group) ?? all.at(isBefore ? -1 : 0) ?? null;
}

function nearest({ parent, index }: Place, like: HTMLElement): HTMLElement | null {
  const by = [...parent.children].map((child, at) => ({ child, isBefore: at < index, far: Math.abs(at - index) }));
  for (const { child, isBefore } of by.sort((a, b) => a.far - b.far)) {
    const found = inside(child, like, isBefore);
    if (found) return found;
  }
  return null;
}

/** Where one writes; on a phone that would bring up the keyboard. */
const home = (): HTMLElement | null => (isTouch() ? null : one('#composer')) ?? one('.thread') ?? one('.head button');

function heir(gone: HTMLElement): HTMLElement | null {
  if (wasIn(BEFORE) && one('dialog[open]') === null) return before && isUsable(before) ? before : home();
  if (wasIn('.thread') && one('.send.stop')) return wasIn('.edit') ? home() : one('.send.stop');
  if (gone.matches('.send.stop')) return one('.thread .turn.assistant:last-of-type :is(.note-button, .again)') ?? one('.thread .note-button') ?? home();
  const form = gone.closest('form');
  const first = gone.matches('[type=submit]') && form && one('dialog[open]') && [...form.querySelectorAll<HTMLElement>('input, textarea, select')].find(isUsable);
  if (first) return first;
  for (const place of places) {
    if (place.parent.matches('dialog')) return one('#dialog-title');
    if (place.parent.id === 'app') break;
    const found = place.parent.isConnected && nearest(place, gone);
    if (found) return found;
  }
  return home();
}

function check(): void {
  const at = document.activeElement;
  if (last === null || (at !== null && at !== document.body && at !== last) || isUsable(last)) return;
  heir(last)?.focus({ preventScroll: true });
}

const watcher = new MutationObserver(check);

function took({ target }: FocusEvent): void {
  const node = target as HTMLElement;
  if (node.closest(BEFORE) && !wasIn(BEFORE)) before = last;
  last = node;
  places = [];
  for (let child: Element = node; child.parentElement; child = child.parentElement) {
    places = [...places, { parent: child.parentElement, index: [...child.parentElement.children].indexOf(child) }];
  }
  // The message box stays: while somebody writes there is nothing to watch.
  if (node.id === 'composer') watcher.disconnect();
  else watcher.observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ['disabled', 'inert'] });
}

/** The reader has left it for nothing by themselves: a press beside everything is no loss. */
function left({ relatedTarget }: FocusEvent): void {
  if (relatedTarget !== null) return;
  queueMicrotask(() => {
    if (last === null || document.activeElement !== document.body || !isUsable(last)) return;
    last = null;
    watcher.disconnect();
  });
}

export function keepFocus(): void {
  addEventListener('focusin', took);
  addEventListener('focusout', left);
}
