/**
 * Draws at most once a frame, and less often where drawing is dear: the gap grows with the measured cost of a frame, so
 * that a slow machine still scrolls and types while lines pour in.
 */
const CHEAP_MS = 6;
const MOST_GAP_MS = 500;
const HIDDEN_MS = 500;

export class Frames {
  private frame = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private drawnAt = 0;
  private cost = 0;
  private readonly done = new MessageChannel();
  private startedAt = 0;

  constructor(private readonly draw: () => void) {
    this.done.port1.onmessage = () => {
      this.cost = this.cost * 0.8 + (performance.now() - this.startedAt) * 0.2;
    };
  }

  ask(): void {
    if (this.frame || this.timer) return;
    if (document.hidden) {
      this.timer = setTimeout(() => this.now(), HIDDEN_MS);
      return;
    }
    const gap = this.cost < CHEAP_MS ? 0 : Math.min(MOST_GAP_MS, 4 * this.cost);
    const wait = this.drawnAt + gap - performance.now();
    if (wait > 4) this.timer = setTimeout(() => this.onFrame(), wait);
    else this.onFrame();
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.done.port1.close();
  }

  private onFrame(): void {
    this.timer = undefined;
    this.frame = requestAnimationFrame(() => this.now());
  }

  private now(): void {
    this.frame = 0;
    this.timer = undefined;
    this.startedAt = performance.now();
    this.draw();
    this.drawnAt = performance.now();
    // The message comes after style, layout and paint of this frame.
    this.done.port2.postMessage(0);
  }
}
