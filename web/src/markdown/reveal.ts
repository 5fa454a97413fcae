/**
 * Shows arriving text smoothly. Some servers send in beats of a quarter of a second; the eye should not see them.
 *
 * Each arrival sets a speed at which everything that is here will be out by the time the next one is expected, and
 * never later than LAG_MS. What comes in quick beats is smooth by itself: it is drawn once for each, which is half the
 * work of drawing it in every frame.
 */

const LAG_MS = 280;
const FRAME_MS = 16;
/** From twenty beats a second on there is nothing to smooth. */
const QUICK_MS = 50;
/** A frame that took longer than this was not alone: the machine cannot keep up. */
const LATE_MS = 24;

export interface Clock {
  now: () => number;
  frame: (job: () => void) => void;
}

export class Reveal {
  private text = '';
  private shown = 0;
  private speed = 0;
  private beat = FRAME_MS;
  private arrived = 0;
  private drawn = 0;
  private asked = 0;
  private isResting = false;
  private isAsked = false;
  private isEnded = false;

  constructor(
    private readonly show: (text: string) => void,
    private readonly end: () => void,
    private readonly clock: Clock,
    /** False for readers who asked for less motion: text appears as it comes. */
    private readonly isSmooth: () => boolean,
  ) {}

  /** The whole text so far. */
  push(text: string): void {
    if (text === this.text) return;
    const now = this.clock.now();
    if (this.arrived > 0) {
      const gap = Math.min(LAG_MS, now - this.arrived);
      this.beat += (gap - this.beat) * 0.4;
    }
    if (this.shown >= this.text.length) this.drawn = now;
    this.arrived = now;
    this.text = text;
    this.shown = Math.min(this.shown, text.length);
    this.speed = (text.length - this.shown) / Math.max(FRAME_MS, Math.min(LAG_MS, this.beat * 1.15));
    this.ask(now);
  }

  /** No more text comes: what is left goes out, then `end` is called once. */
  finish(): void {
    this.isEnded = true;
    this.speed = Math.max(this.speed, (this.text.length - this.shown) / (LAG_MS / 2));
    this.ask(this.clock.now());
  }

  private ask(now: number): void {
    if (this.isAsked) return;
    this.isAsked = true;
    this.asked = now;
    this.clock.frame(() => this.draw());
  }

  private draw(): void {
    this.isAsked = false;
    const now = this.clock.now();
    const isLate = now - this.asked > LATE_MS;
    // A machine that drops frames gets every second one for itself; the text keeps its speed.
    this.isResting = isLate && !this.isResting && !this.isEnded;
    if (this.isResting) return this.ask(now);
    const step = Math.max(1, (now - this.drawn) * this.speed);
    this.drawn = now;
    const whole = this.text.length;
    this.shown = this.beat > QUICK_MS && this.isSmooth() ? Math.min(whole, this.shown + step) : whole;
    let cut = Math.floor(this.shown);
    // Never half of a surrogate pair.
    const code = this.text.charCodeAt(cut - 1);
    if (cut < whole && code >= 0xd800 && code <= 0xdbff) cut++;
    if (cut >= whole && this.isEnded) {
      this.isEnded = false;
      this.end();
      return;
    }
    this.show(cut >= whole ? this.text : this.text.slice(0, cut));
    if (cut < whole || this.isEnded) this.ask(now);
  }
}
