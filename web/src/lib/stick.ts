/**
 * Keeps the end of a growing conversation in view, and lets go at once when the reader moves up.
 *
 * Any upward movement unpins; reaching the bottom pins again. Content that grows never moves a reader who looked away.
 */

const NEAR_PX = 40;

export class Stick {
  private isPinned = true;
  private top = 0;
  private height = 0;
  private readonly watcher: ResizeObserver;
  private readonly stopListening: () => void;

  constructor(
    private readonly scroller: HTMLElement,
    content: HTMLElement,
    private readonly onChange: (isPinned: boolean) => void,
    private readonly mayFollow: () => boolean,
  ) {
    this.watcher = new ResizeObserver(() => this.grew());
    this.watcher.observe(content);
    this.watcher.observe(scroller);
    const scrolled = () => this.scrolled();
    // The wheel says what the reader wants before the scroll position does.
    const wheeled = (event: WheelEvent) => {
      if (event.deltaY < 0 && this.scroller.scrollTop > 0) this.pin(false);
    };
    scroller.addEventListener('scroll', scrolled, { passive: true });
    scroller.addEventListener('wheel', wheeled, { passive: true });
    this.stopListening = () => {
      scroller.removeEventListener('scroll', scrolled);
      scroller.removeEventListener('wheel', wheeled);
    };
  }

  get isAtEnd(): boolean {
    const { scrollHeight, clientHeight, scrollTop } = this.scroller;
    return scrollHeight - clientHeight - scrollTop <= NEAR_PX;
  }

  toEnd(smooth = false): void {
    this.pin(true);
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth ? 'smooth' : 'instant' });
    this.top = this.scroller.scrollTop;
  }

  close(): void {
    this.watcher.disconnect();
    this.stopListening();
  }

  private grew(): void {
    const { scrollHeight } = this.scroller;
    if (this.isPinned && this.mayFollow()) {
      this.scroller.scrollTop = scrollHeight;
      this.top = this.scroller.scrollTop;
    } else if (!this.isAtEnd) this.pin(false);
    this.height = scrollHeight;
  }

  private scrolled(): void {
    const { scrollTop, scrollHeight } = this.scroller;
    // A page that got shorter moves up by itself; that is not the reader.
    const movedUp = scrollTop < this.top - 1 && scrollHeight >= this.height;
    this.top = scrollTop;
    this.height = scrollHeight;
    if (movedUp && !this.isAtEnd) this.pin(false);
    else if (this.isAtEnd) this.pin(true);
  }

  private pin(isPinned: boolean): void {
    if (isPinned === this.isPinned) return;
    this.isPinned = isPinned;
    this.onChange(isPinned);
  }
}
