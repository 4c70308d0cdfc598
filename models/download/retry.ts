/**
 * Retries: exponential back-off, the server's Retry-After, and a gate that all connections of a download share.
 * Requests throw TemporaryError for failures that are worth a retry.
 */

/** How often and after which pauses a request is repeated. */
export interface RetryPolicy {
  /** Tries in a row without a single new byte before giving up. */
  readonly tries: number;
  /** First pause in milliseconds; it doubles with every further failure. */
  readonly firstPause: number;
  /** Longest pause without a Retry-After, in milliseconds. */
  readonly longestPause: number;
  /** Longest Retry-After to wait for, in milliseconds; beyond it the download fails. */
  readonly longestRetryAfter: number;
  /** A connection without data for this many milliseconds is dropped. */
  readonly idle: number;
}

/** About a minute of trying without any progress; a server may ask for up to ten. */
export const defaultRetryPolicy: RetryPolicy = {
  tries: 8,
  firstPause: 500,
  longestPause: 30_000,
  longestRetryAfter: 600_000,
  idle: 30_000,
};

/** A failure for which a retry may help: a broken connection, a busy server. */
export class TemporaryError extends Error {
  /** `retryAfter`: the server's Retry-After, in milliseconds. */
  constructor(message: string, readonly retryAfter?: number, options?: ErrorOptions) {
    super(message, options);
  }
}

/**
 * The pause before try number `failures` + 1, in milliseconds: 0.75 to 1.25 times firstPause 2^(failures - 1), at most
 * longestPause. The spread keeps connections that broke together from retrying together; `random` is in [0, 1).
 */
export function backOff(policy: RetryPolicy, failures: number, random: () => number = Math.random): number {
  const pause = policy.firstPause * 2 ** Math.max(0, failures - 1);
  return Math.min(policy.longestPause, pause * (0.75 + 0.5 * random()));
}

/** Retry-After in milliseconds: whole seconds or an HTTP date (RFC 9110, 10.2.3); undefined when absent or neither. */
export function retryAfter(headers: Headers, now: number = Date.now()): number | undefined {
  const text = headers.get("retry-after")?.trim();
  if (text === undefined || text === "") return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const date = /^[A-Za-z]{3}/.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Waits. Rejects with the signal's reason when it aborts. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Called for every failure that is followed by a retry; `pause` in milliseconds. */
export type OnRetry = (message: string, pause: number) => void;

/** Pauses of one download, shared by its connections: a Retry-After holds all of them. */
export class Gate {
  #until = 0;

  constructor(readonly policy: RetryPolicy, readonly signal?: AbortSignal, readonly onRetry?: OnRetry) {}

  /** Waits until the last Retry-After is over. */
  async pass(): Promise<void> {
    for (let left = this.#until - Date.now(); left > 0; left = this.#until - Date.now()) {
      await sleep(left, this.signal);
    }
  }

  /**
   * Waits after failure number `failures` in a row (from 1 on). Rejects with the error when it is no
   * {@link TemporaryError}, when the tries are used up, or when the Retry-After is longer than the policy allows.
   */
  async failed(error: unknown, failures: number): Promise<void> {
    this.signal?.throwIfAborted();
    if (!(error instanceof TemporaryError)) throw error;
    const { tries, longestRetryAfter } = this.policy;
    if (failures >= tries) {
      throw new Error(`${error.message}; gave up after ${failures} tries in a row without a new byte`, {
        cause: error,
      });
    }
    const asked = error.retryAfter;
    if (asked !== undefined && asked > longestRetryAfter) {
      throw new Error(
        `${error.message}; the server asks to come back in ${Math.ceil(asked / 1000)} s: try again then`,
        { cause: error },
      );
    }
    const pause = asked ?? backOff(this.policy, failures);
    if (asked !== undefined) this.#until = Math.max(this.#until, Date.now() + asked);
    this.onRetry?.(error.message, pause);
    await sleep(pause, this.signal);
  }
}
