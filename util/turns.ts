/** Pieces of work of which the next is begun before the one before it is finished. */

/**
 * Work in two halves: `begin` starts it and returns a promise, such as commands for a GPU and the reading of their result, and
 * `finish` uses the result. With `ahead`, a piece is begun before the one before it is finished, so that a GPU has something to do
 * while the host uses results. Pieces are finished in the order in which they were begun, one at a time.
 *
 * @example
 * ```ts
 * const turns = new Turns(true);
 * for (const n of [1, 2, 3]) await turns.add(() => Promise.resolve(n * n), (square) => Promise.resolve(console.log(square)));
 * await turns.end();
 * ```
 */
export class Turns {
  #pending: (() => Promise<void>) | undefined;
  #finishedAt = 0;

  /** Without `ahead`, a piece is finished before the next is begun. */
  constructor(readonly ahead: boolean) {}

  /**
   * Begins a piece, and finishes the one before it. `finish` also gets the milliseconds that the piece took beside the one before.
   * Rejects with what `begin` of this piece threw, or with what became of the one before.
   */
  async add<R>(begin: () => Promise<R>, finish: (result: R, elapsedMs: number) => Promise<void>): Promise<void> {
    const start = performance.now();
    const result = begin();
    result.catch(() => {}); // whoever waits for it gets the error
    const before = this.#pending;
    this.#pending = async () => {
      const value = await result;
      const elapsed = performance.now() - Math.max(start, this.#finishedAt);
      await finish(value, elapsed);
      this.#finishedAt = performance.now();
    };
    await before?.();
    if (!this.ahead) await this.end();
  }

  /** Finishes what was begun. */
  async end(): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    await pending?.();
  }
}
