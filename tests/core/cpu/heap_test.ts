import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Heap } from "../../../core/cpu/heap.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";

const MiB = 1024 * 1024;

Deno.test("Heap hands out aligned blocks that do not overlap, and counts them", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -40, max: 5000 }), { maxLength: 120 }), (steps) => {
      const heap = new Heap(4096);
      const live: { ptr: number; bytes: number }[] = [];
      let peak = 0;
      for (const step of steps) {
        // Negative steps free one of the live blocks, the others allocate.
        if (step < 0) {
          if (live.length > 0) heap.free(live.splice(-step % live.length, 1)[0].ptr);
        } else {
          live.push({ ptr: heap.alloc(step * step), bytes: step * step });
        }
        live.sort((a, b) => a.ptr - b.ptr);
        live.forEach((block, i) => {
          assert.equal(block.ptr % 64, 0);
          assert.ok(block.ptr >= 4096);
          if (i > 0) assert.ok(live[i - 1].ptr + live[i - 1].bytes <= block.ptr, "blocks overlap");
        });
        const held = live.reduce((sum, block) => sum + Math.max(64, Math.ceil(block.bytes / 64) * 64), 0);
        assert.equal(heap.liveBytes, held);
        assert.equal(heap.liveCount, live.length);
        assert.ok(heap.pooledBytes >= 0);
        peak = Math.max(peak, heap.liveBytes + heap.pooledBytes);
        assert.equal(heap.peakBytes, peak);
        assert.ok(heap.memory.buffer.byteLength >= 4096 + held);
      }
      for (const block of live) heap.free(block.ptr);
      assert.equal(heap.liveBytes, 0);
      heap.trim();
      assert.equal(heap.pooledBytes, 0);
    }),
    { seed: 1, numRuns: 60 },
  );
});

Deno.test("Heap gives back pieces as one block, in whatever order they were freed", () => {
  for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]]) {
    const heap = new Heap(4096);
    const pieces = [1, 2, 3, 4].map((n) => heap.alloc(n * MiB));
    for (const i of order) heap.free(pieces[i]);
    const whole = heap.alloc(10 * MiB);
    assert.equal(heap.peakBytes, 10 * MiB);
    heap.free(whole);
    assert.equal(heap.pooledBytes, 10 * MiB);
  }
});

Deno.test("Heap fills a hole with the smallest block that fits", () => {
  const heap = new Heap(4096);
  const [large, , small] = [4, 1, 2, 1].map((n) => heap.alloc(n * MiB));
  heap.free(large);
  heap.free(small);
  assert.equal(heap.alloc(2 * MiB), small);
  assert.equal(heap.alloc(4 * MiB), large);
});

Deno.test("Heap refuses to free twice and to exceed its limit, with the numbers", () => {
  const heap = new Heap(4096, 4 * MiB);
  const block = heap.alloc(MiB);
  assert.throws(() => heap.alloc(8 * MiB), /alloc: 8388608 bytes do not fit: 1048576 bytes are live .* 4194304/);
  heap.free(block);
  assert.throws(() => heap.free(block), /freed twice/);
  assert.equal(heap.liveBytes, 0);
});

Deno.test("the CPU device loads a second gigabyte where the first one was", () => {
  const device = openCpuDevice({ threads: 1 });
  const load = (part: number) => Array.from({ length: 2 ** 30 / part }, () => device.alloc(part));
  for (const part of [64 * MiB, 128 * MiB, 16 * MiB]) {
    const model = load(part);
    assert.equal(device.memory().liveBytes, 2 ** 30);
    for (const storage of model) device.free(storage);
  }
  assert.equal(device.memory().peakBytes, 2 ** 30);
  device.close();
});

Deno.test("the CPU device reaches addresses above 2 GiB", async () => {
  const device = openCpuDevice({ threads: 1 });
  const low = device.alloc(3 * 2 ** 30);
  const [x, out] = [device.alloc(4096), device.alloc(4096)];
  device.write(x, new Float32Array(1024).fill(3));
  device.run("unary", { op: "square", x, out, n: 1024, a: 0, b: 0 });
  assert.deepEqual(new Float32Array(await device.read(out, 4096)), new Float32Array(1024).fill(9));
  assert.throws(() => device.alloc(2 ** 30), /do not fit/);
  for (const storage of [low, x, out]) device.free(storage);
  assert.equal(device.memory().liveBytes, 0);
  device.close();
});
