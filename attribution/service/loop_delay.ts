/**
 * Measures how late timers of the server's own thread come: that late is every answer, /healthz included, that waits
 * for the thread meanwhile. It does not say why; a thread that has nothing to do is late, too, when the machine is
 * busy.
 */

export interface LoopDelayOptions {
  /** Milliseconds between two looks. Default 20. */
  readonly everyMs?: number;
  /** `longest` is that of the time between one and two of these before now. Default 30 s. */
  readonly windowMs?: number;
  /** Receives every delay in seconds. */
  readonly onDelay?: (seconds: number) => void;
}

/** It does not keep the process running. Stop it when done. */
export class LoopDelay {
  readonly #timer: ReturnType<typeof setTimeout>;
  #windowStart: number;
  #before = 0;
  #now = 0;

  constructor({ everyMs = 20, windowMs = 30_000, onDelay }: LoopDelayOptions = {}) {
    let due = performance.now() + everyMs;
    this.#windowStart = due;
    this.#timer = setInterval(() => {
      const now = performance.now();
      const seconds = Math.max(0, now - due) / 1000;
      due = now + everyMs;
      if (now - this.#windowStart > windowMs) {
        this.#windowStart = now;
        this.#before = this.#now;
        this.#now = 0;
      }
      this.#now = Math.max(this.#now, seconds);
      onDelay?.(seconds);
    }, everyMs);
    this.#timer.unref();
  }

  /** Seconds. */
  get longest(): number {
    return Math.max(this.#before, this.#now);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
