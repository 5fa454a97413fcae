/** What a finger that moves over a phone means for the drawer. Pure. */

export interface Point {
  x: number;
  y: number;
  /** Milliseconds. */
  at: number;
}

const SLIP_PX = 12;
/** So much more sideways than down: a scroll that wavers is no swipe. */
const SIDEWAYS = 1.6;
const FLICK_PX_PER_MS = 0.35;

/** Whether it is decided, and for what: sideways in the one direction that changes anything, or not at all. */
export function aimOf(from: Point, to: Point, isOpen: boolean): 'swipe' | 'other' | null {
  const [dx, dy] = [to.x - from.x, Math.abs(to.y - from.y)];
  if (Math.hypot(dx, dy) < SLIP_PX) return null;
  return Math.abs(dx) > dy * SIDEWAYS && (isOpen ? dx < 0 : dx > 0) ? 'swipe' : 'other';
}

/** How far the drawer is open, from 0 to 1. */
export const shareAt = (from: Point, to: Point, isOpen: boolean, width: number): number =>
  Math.max(0, Math.min(1, (isOpen ? 1 : 0) + (to.x - from.x) / width));

/** Whether it is to be open once the finger is lifted: a flick decides, or where it was let go. */
export function staysOpen(from: Point, before: Point, to: Point, isOpen: boolean, width: number): boolean {
  const speed = (to.x - before.x) / Math.max(1, to.at - before.at);
  if (Math.abs(speed) > FLICK_PX_PER_MS) return speed > 0;
  return shareAt(from, to, isOpen, width) > 0.5;
}
