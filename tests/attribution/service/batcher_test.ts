import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import fc from "npm:fast-check@4.10.2";
import { Batcher, type BatcherOptions, DeadlineError, QueueFullError } from "../../../attribution/service/batcher.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A runner that doubles numbers when it is told to go on. */
function controlled(options: Partial<BatcherOptions> = {}) {
  const batches: number[][] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const batcher = new Batcher<number, number>(async (items) => {
    batches.push([...items]);
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
    return items.map((item) => 2 * item);
  }, { maxBatch: 4, maxWaitMs: 5, maxQueue: 8, ...options });
  return { batcher, batches, gates };
}

Deno.test("Batcher runs what waits in one batch, in order, once the first has waited long enough", async () => {
  const { batcher, batches, gates } = controlled({ maxWaitMs: 30 });
  const results = [1, 2, 3].map((value) => batcher.add(value));
  await pause(10);
  assert.deepEqual(batches, []);
  await pause(40);
  assert.deepEqual(batches, [[1, 2, 3]]);
  gates[0].resolve();
  assert.deepEqual(await Promise.all(results), [2, 4, 6]);
});

Deno.test("Batcher starts a full batch at once, and fills the next one while it runs", async () => {
  const { batcher, batches, gates } = controlled({ maxWaitMs: 10_000 });
  const results = [1, 2, 3, 4, 5].map((value) => batcher.add(value));
  assert.deepEqual(batches, [[1, 2, 3, 4]]);
  const later = [6, 7, 8].map((value) => batcher.add(value));
  assert.equal(batches.length, 1);
  gates[0].resolve();
  await Promise.all(results.slice(0, 4));
  await pause(0);
  assert.deepEqual(batches[1], [5, 6, 7, 8]);
  gates[1].resolve();
  assert.deepEqual(await Promise.all([...results, ...later]), [2, 4, 6, 8, 10, 12, 14, 16]);
});

Deno.test("Batcher.reserve() refuses what does not fit, with a time to come again, and takes released places", () => {
  const { batcher } = controlled({ maxQueue: 3 });
  const two = batcher.reserve(2);
  assert.throws(() => batcher.reserve(2), (error: QueueFullError) => {
    assert.ok(error instanceof QueueFullError);
    assert.match(error.message, /2 of 3 places are taken/);
    assert.ok(error.retryAfter >= 1 && error.retryAfter <= 60);
    return true;
  });
  two.release();
  two.release();
  assert.equal(batcher.depth, 0);
  assert.equal(batcher.reserve(3).count, 3);
});

Deno.test("Batcher.reserve() refuses what would wait longer than is of use, and always takes the first", async () => {
  const { batcher, gates } = controlled({ maxQueue: 1000, maxBatch: 1, maxWaitMs: 0, maxDelayMs: 300 });
  // A tenth of a second per item is assumed before anything was measured.
  assert.throws(() => {
    for (let i = 0; i < 10; i++) batcher.reserve(1);
  }, /the 3 images before would take about 0 s/);
  assert.equal(batcher.depth, 3);
  const result = batcher.add(1);
  await pause(1);
  gates[0].resolve();
  assert.equal(await result, 2);
});

Deno.test("Batcher.close() takes no more items and works off the others", async () => {
  const { batcher, gates } = controlled();
  const result = batcher.add(21);
  batcher.close();
  assert.throws(() => batcher.reserve(1), /shutting down/);
  await pause(20);
  gates[0].resolve();
  assert.equal(await result, 42);
});

Deno.test("Batcher drops a waiting item whose deadline passes or whose signal is aborted", async () => {
  const { batcher, batches, gates } = controlled({ maxBatch: 1, maxWaitMs: 0 });
  const first = batcher.add(1);
  await pause(5);
  const stop = new AbortController();
  const late = batcher.add(2, { deadline: performance.now() + 10 });
  const given = batcher.add(3, { signal: stop.signal });
  const last = batcher.add(4);
  await assert.rejects(late, DeadlineError);
  stop.abort(new Error("gone"));
  await assert.rejects(given, /gone/);
  await assert.rejects(batcher.add(5, { deadline: performance.now() - 1 }), DeadlineError);
  await assert.rejects(batcher.add(5, { signal: stop.signal }), /gone/);
  gates[0].resolve();
  await first;
  await pause(20);
  gates[1].resolve();
  assert.equal(await last, 8);
  assert.deepEqual(batches, [[1], [4]]);
});

Deno.test("Batcher answers an item whose deadline passes while its batch runs; the others get their results", async () => {
  // A full batch starts at once, so that a slow thread cannot put the two into batches of their own.
  const { batcher, gates } = controlled({ maxBatch: 2, maxWaitMs: 10_000 });
  const late = batcher.add(1, { deadline: performance.now() + 200 });
  const other = batcher.add(2);
  await assert.rejects(late, DeadlineError);
  gates[0].resolve();
  assert.equal(await other, 4);
});

Deno.test("Batcher begins the next batch before it answers the first, and answers in a turn of the thread each", async () => {
  const { batcher, batches, gates } = controlled();
  let turn = 0, done = false;
  const count = () => {
    turn++;
    if (!done) setImmediate(count);
  };
  count();
  const turns: number[] = [];
  const results = [1, 2, 3].map(async (value) => {
    assert.equal(await batcher.add(value), 2 * value);
    assert.equal(batches.length, 2);
    turns.push(turn);
  });
  await pause(20);
  const next = batcher.add(4);
  await pause(20);
  gates[0].resolve();
  await Promise.all(results);
  done = true;
  assert.equal(new Set(turns).size, 3, `answers in the turns ${turns}`);
  gates[1].resolve();
  assert.equal(await next, 8);
});

Deno.test("Batcher fails all items of a batch that fails, and none of the next one", async () => {
  let runs = 0;
  const batcher = new Batcher<number, number>((items) => {
    if (runs++ === 0) return Promise.reject(new Error("no device"));
    return Promise.resolve([...items]);
  }, { maxBatch: 2, maxWaitMs: 5, maxQueue: 9 });
  const results = await Promise.allSettled([batcher.add(1), batcher.add(2), batcher.add(3)]);
  assert.deepEqual(results.map(({ status }) => status), ["rejected", "rejected", "fulfilled"]);
});

Deno.test("Batcher gives every item its own result, whatever the sizes, order and times of arrival", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 0, max: 3 }),
      fc.array(fc.record({ value: fc.integer(), delay: fc.integer({ min: 0, max: 4 }) }), { maxLength: 20 }),
      async (maxBatch, maxWaitMs, items) => {
        let running = 0;
        const batcher = new Batcher<number, number>(async (batch) => {
          assert.equal(running++, 0);
          assert.ok(batch.length >= 1 && batch.length <= maxBatch);
          await pause(1);
          running--;
          return batch.map((value) => value + 1);
        }, { maxBatch, maxWaitMs, maxQueue: 100 });
        const results = await Promise.all(items.map(async ({ value, delay }) => {
          await pause(delay);
          return await batcher.add(value);
        }));
        assert.deepEqual(results, items.map(({ value }) => value + 1));
      },
    ),
    { numRuns: 30 },
  );
});
