/**
 * Measures the lag of the event loop of the server's main thread: how late its timers fire. Every response, /healthz
 * included, waits at least that long. On a busy machine an idle thread lags, too.
 */

export interface LoopDelayOptions {
  /** Milliseconds between two measurements. Default 20. */
  readonly everyMs?: number;
  /** `longest` covers the last one to two windows of this length, in milliseconds. Default 30 s. */
  readonly windowMs?: number;
  /** Receives every lag in seconds. */
  readonly onDelay?: (seconds: number) => void;
}

/** Its timer does not keep the process running. Call `stop` when done. */
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

  /** The longest lag of the last one to two windows, in seconds. */
  get longest(): number {
    return Math.max(this.#before, this.#now);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
