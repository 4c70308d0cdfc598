import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Heap } from "../../../core/cpu/heap.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { bestBuild } from "../../../core/cpu/engine.ts";
import { Pool, POOL_BYTES } from "../../../core/cpu/pool.ts";
import { runEverything, workersUp } from "./kernel_runs.ts";

Deno.test("CPU results are the same to the last bit for any number of threads", async () => {
  const one = openCpuDevice({ threads: 1 });
  const expected = await runEverything(one);
  one.close();
  for (const threads of [2, 3, 5]) {
    const device = openCpuDevice({ threads });
    await workersUp(device);
    for (const [name, bytes] of await runEverything(device)) {
      assert.ok(Buffer.from(bytes).equals(expected.get(name)!), `${name} differs with ${threads} threads`);
    }
    device.close();
  }
});

Deno.test("every CPU kernel frees what it needs meanwhile", async () => {
  const device = openCpuDevice({ threads: 2 });
  await runEverything(device);
  const { peakBytes } = device.memory();
  for (let i = 0; i < 3; i++) await runEverything(device);
  assert.deepEqual({ ...device.memory(), pooledBytes: 0 }, { liveBytes: 0, liveCount: 0, pooledBytes: 0, peakBytes });
  device.close();
});

Deno.test("workers close after a second without work and come back", async () => {
  const device = openCpuDevice({ threads: 2 });
  assert.equal(device.workers, 0);
  await workersUp(device);
  assert.equal(device.workers, 1);
  while (device.workers > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  await workersUp(device);
  assert.equal(device.workers, 1);
  device.close();
});

Deno.test("opening a CPU device starts no workers", () => {
  const device = openCpuDevice();
  assert.equal(device.workers, 0);
  device.close();
});

Deno.test("a program that forgets to close its CPU device ends by itself", async () => {
  const program = new URL("./forgets_close.ts", import.meta.url);
  // No permissions: the device needs none.
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "--no-prompt", program.href], stdout: "piped" });
  const { code, stdout } = await command.output();
  assert.equal(code, 0);
  assert.match(new TextDecoder().decode(stdout), /^1 worker/);
});

Deno.test("Pool reports a kernel that trapped, on whichever thread, and goes on", () => {
  const heap = new Heap(POOL_BYTES);
  const pool = new Pool(heap, 2, bestBuild());
  const x = heap.alloc(4 * 4096 * 64);
  const job = (address: number) => ({
    ...{ units: 64, unitCost: 1e6, ints: [address, address, 4096 * 64, 13], floats: [2, 1] },
  });
  for (let i = 0; i < 20; i++) {
    // At once where no worker is up, else when the queue is waited for.
    assert.throws(() => {
      pool.run("unary", job(heap.memory.buffer.byteLength));
      pool.settle();
    }, /unary|out of bounds/);
    heap.f32.fill(3, x / 4, x / 4 + 4096 * 64);
    pool.run("unary", job(x));
    assert.ok(heap.f32.subarray(x / 4, x / 4 + 4096 * 64).every((value) => value === 7));
  }
  assert.throws(() => pool.run("nothing", job(x)), /no WebAssembly kernel is called nothing/);
  pool.close();
});

Deno.test("jobs run once each and in their order, however short they are and whoever waits for them", async () => {
  for (const threads of [2, 3, 5]) {
    const heap = new Heap(POOL_BYTES);
    const pool = new Pool(heap, threads, bestBuild());
    const n = 4096 * 16;
    const [x, y] = [heap.alloc(4 * n), heap.alloc(4 * n)];
    heap.f32.fill(0, x / 4, x / 4 + n);
    const affine = (from: number, to: number, units: number, unitCost: number, a: number, b: number) =>
      pool.run("unary", { units, unitCost, ints: [from, to, units * 4096, 13], floats: [a, b] });
    affine(x, y, 16, 1e6, 1, 0); // long enough to start workers
    while (pool.ready < threads - 1) await new Promise((resolve) => setTimeout(resolve, 5));
    for (let i = 0; i < 6000; i++) {
      // There and back, the second half a step ahead, so that every job reads what the one before wrote. Claimed costs
      // decide whether a job is split.
      const cost = [10, 2_000, 20_000][i % 3];
      affine(x, y, 16, cost, 1, 1);
      affine(y, x, 16, cost, 1, 2);
      if (i % 1000 === 999) affine(x, x, 16, 10, 1, -3000);
      if (i % 701 === 0) pool.settle();
      if (i % 1501 === 0) await new Promise((resolve) => setTimeout(resolve, 2)); // workers fall asleep
    }
    const got = new Set(heap.f32.subarray(x / 4, x / 4 + n));
    assert.deepEqual([...got], [0], `${threads} threads`);
    pool.close();
  }
});

Deno.test("openCpuDevice() refuses a number of threads out of range", () => {
  for (const threads of [0, -1, 1.5, 1000]) {
    assert.throws(() => openCpuDevice({ threads }), /threads must be an integer from 1 to 256/);
  }
});
