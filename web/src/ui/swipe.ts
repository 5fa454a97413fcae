/** The drawer of a phone follows the finger. Who wants less motion sees only where it ends. */

import { prefersLessMotion } from '../lib/keys';
import { aimOf, shareAt, staysOpen, type Point } from '../lib/swipe';
import { isDrawerOpen, isPhone } from './view';

let isListening = false;

/** Whether something between the finger and the page scrolls sideways itself, or is moved by the finger. */
function isTaken(target: EventTarget | null): boolean {
  for (let node = target as Element | null; node; node = node.parentElement) {
    if (node.matches('input[type=range], dialog, .menu, [role=menu]')) return true;
    if (node.scrollWidth > node.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(node).overflowX)) return true;
  }
  return false;
}

export function listen(): void {
  if (isListening) return;
  isListening = true;
  let from: Point | null = null;
  let before: Point | null = null;
  let isSwiping = false;
  const app = () => document.querySelector<HTMLElement>('.app');
  const width = () => document.getElementById('sidebar')?.offsetWidth || 1;
  const point = (event: PointerEvent): Point => ({ x: event.clientX, y: event.clientY, at: event.timeStamp });
  const end = () => {
    from = before = null;
    isSwiping = false;
    app()?.classList.remove('swiping');
    app()?.style.removeProperty('--swipe');
  };
  addEventListener('pointerdown', (event) => {
    end();
    const isSelecting = getSelection()?.isCollapsed === false;
    if (!isPhone.peek() || event.pointerType !== 'touch' || !event.isPrimary || isSelecting || isTaken(event.target)) return;
    from = before = point(event);
  });
  addEventListener('pointermove', (event) => {
    if (from === null || !event.isPrimary) return;
    const now = point(event);
    if (!isSwiping) {
      const aim = aimOf(from, now, isDrawerOpen.peek());
      if (aim === 'other') return end();
      if (aim === null) return;
      isSwiping = true;
    }
    if (now.at - before!.at > 40) before = now;
    if (prefersLessMotion()) return;
    app()?.classList.add('swiping');
    app()?.style.setProperty('--swipe', `${(shareAt(from, now, isDrawerOpen.peek(), width()) - 1) * 100}%`);
  });
  addEventListener('pointerup', (event) => {
    if (from !== null && isSwiping) isDrawerOpen.value = staysOpen(from, before!, point(event), isDrawerOpen.peek(), width());
    end();
  });
  addEventListener('pointercancel', end);
}
