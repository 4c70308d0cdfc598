/**
 * Calls `start` for every item, in order, and yields what it resolves to, in the same order. Up to `count` items are
 * started before the one whose result is awaited has been taken, and go on while what was taken is used. Ends when all
 * that were started have settled.
 */
export async function* inAdvance<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  count: number,
  start: (item: T) => Promise<R>,
): AsyncGenerator<R, void, void> {
  const started: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = start(item);
      result.catch(() => {}); // thrown when it is its turn
      started.push(result);
      if (started.length > count) yield await started.shift()!;
    }
    for (let result = started.shift(); result !== undefined; result = started.shift()) yield await result;
  } finally {
    await Promise.allSettled(started);
  }
}
