/**
 * Dynamic batching with a bounded queue: items wait until a batch is full or the first of them has waited long enough,
 * and batches run one after the other. It knows nothing of images: the caller gives the function that runs a batch.
 */
import { setImmediate } from "node:timers";

/** The queue is full, or closed; the caller may try again after `retryAfter` seconds. */
export class QueueFullError extends Error {
  override readonly name = "QueueFullError";

  constructor(message: string, readonly retryAfter: number) {
    super(message);
  }
}

/** The deadline of an item passed before its batch was done. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

export interface BatcherOptions {
  readonly maxBatch: number;
  /** How long the first item of a batch waits for others, in milliseconds, while the runner is idle. */
  readonly maxWaitMs: number;
  /** Largest number of items that are accepted and not settled yet, those in the running batch included. */
  readonly maxQueue: number;
  /**
   * Items are refused when those before them would take longer than this, in milliseconds: they would miss a deadline.
   */
  readonly maxDelayMs?: number;
  /** A batch starts, after its first item waited so many seconds. */
  readonly onStart?: (items: number, waited: number) => void;
}

/** Runs a batch of 1 to `maxBatch` items: a result for each, in their order. `onProgress` takes the share done. */
export type Runner<T, R> = (items: readonly T[], onProgress: (done: number) => void) => Promise<readonly R[]>;

export interface ItemOptions {
  /** As performance.now() has it. */
  readonly deadline?: number;
  readonly signal?: AbortSignal;
  /** Called with 0 when the item's batch starts, and then with the share of the batch that is done. */
  readonly onProgress?: (done: number) => void;
}

/** Places in the queue, reserved before the items are there. Every place must be used or released, once. */
export interface Reservation {
  readonly count: number;
  /** Gives back all places that were not used. */
  release(): void;
}

type Outcome<R> = { readonly result: R } | { readonly error: unknown };

interface Item<T, R> {
  readonly value: T;
  readonly options: ItemOptions;
  readonly since: number;
  readonly settle: (outcome: Outcome<R>) => void;
  settled: boolean;
}

export class Batcher<T, R> {
  readonly #waiting: Item<T, R>[] = [];
  #taken = 0;
  #running = 0;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Smoothed seconds of work per item; sets Retry-After. */
  #secondsPerItem = 0.1;

  constructor(readonly run: Runner<T, R>, readonly options: BatcherOptions) {}

  /** Says what an item is expected to take, until batches have told. */
  expect(seconds: number): void {
    this.#secondsPerItem = Math.max(this.#secondsPerItem, seconds);
  }

  /** Reserved places. */
  get depth(): number {
    return this.#taken;
  }

  /** Items in the batch that is running. */
  get running(): number {
    return this.#running;
  }

  /** Seconds until about half of the queue is worked off. */
  get retryAfter(): number {
    return Math.max(1, Math.min(60, Math.ceil(0.5 * this.#taken * this.#secondsPerItem)));
  }

  /** Reserves places. Throws QueueFullError when there are not enough, or the queue is closed. */
  reserve(count: number): Reservation {
    const { maxQueue, maxDelayMs = Infinity } = this.options;
    if (this.#closed) throw new QueueFullError("the server is shutting down", 5);
    if (this.#taken + count > maxQueue) {
      throw new QueueFullError(`the queue is full: ${this.#taken} of ${maxQueue} places are taken`, this.retryAfter);
    }
    if (this.#taken > 0 && 1000 * (this.#taken + count) * this.#secondsPerItem > maxDelayMs) {
      const seconds = Math.round(this.#taken * this.#secondsPerItem);
      throw new QueueFullError(`the ${this.#taken} images before would take about ${seconds} s`, this.retryAfter);
    }
    this.#taken += count;
    let left = count;
    return { count, release: () => (this.#taken -= left, left = 0) };
  }

  /**
   * Queues an item, for which the caller holds a place. Rejects with DeadlineError, with the signal's reason, or with
   * what the runner throws; an item that is given up while its batch runs is settled at once, and the batch goes on.
   */
  add(value: T, options: ItemOptions = {}): Promise<R> {
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const abort = () => item.settle({ error: options.signal!.reason });
      const item: Item<T, R> = {
        value,
        options,
        since: performance.now(),
        settled: false,
        settle: (outcome) => {
          if (item.settled) return;
          item.settled = true;
          clearTimeout(timer);
          options.signal?.removeEventListener("abort", abort);
          const at = this.#waiting.indexOf(item);
          if (at >= 0) this.#waiting.splice(at, 1);
          if ("error" in outcome) reject(outcome.error);
          else resolve(outcome.result);
        },
      };
      if (options.signal?.aborted) return abort();
      options.signal?.addEventListener("abort", abort);
      if (options.deadline !== undefined) {
        const left = options.deadline - performance.now();
        const late = () => item.settle({ error: new DeadlineError("the deadline passed before the images were done") });
        if (left <= 0) return late();
        timer = setTimeout(late, left);
      }
      this.#waiting.push(item);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#running > 0 || this.#waiting.length === 0) return;
    const { maxBatch, maxWaitMs } = this.options;
    const left = this.#waiting[0].since + maxWaitMs - performance.now();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length >= maxBatch || left <= 0) this.#start();
    else this.#timer = setTimeout(() => this.#start(), left);
  }

  async #start(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#waiting.splice(0, this.options.maxBatch);
    if (batch.length === 0) return;
    const start = performance.now();
    this.#running = batch.length;
    this.options.onStart?.(batch.length, (start - batch[0].since) / 1000);
    const tell = (done: number) => {
      for (const { options, settled } of batch) if (!settled) options.onProgress?.(done);
    };
    let outcome: (i: number) => Outcome<R>;
    try {
      tell(0);
      const results = await this.run(batch.map(({ value }) => value), tell);
      outcome = (i) => ({ result: results[i] });
    } catch (error) {
      outcome = () => ({ error });
    }
    const seconds = (performance.now() - start) / 1000 / batch.length;
    this.#secondsPerItem += 0.3 * (seconds - this.#secondsPerItem);
    this.#running = 0;
    // The next batch starts before the items of this one are settled, and other tasks of the thread run between two
    // items.
    this.#schedule();
    for (const [i, item] of batch.entries()) {
      item.settle(outcome(i));
      if (i + 1 < batch.length) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Accepts no more items. Those that have a place still run. */
  close(): void {
    this.#closed = true;
  }
}
