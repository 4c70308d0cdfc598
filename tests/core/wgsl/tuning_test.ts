// The choice of blocks for cards, tried with the tiles of hardware on whatever adapter there is.
import assert from "node:assert/strict";
import { measureTuning, type Tunable, tuningOf, usualTuning } from "../../../core/wgsl/tuning.ts";
import type { WebGpuDevice } from "../../../core/wgsl/mod.ts";
import { cpuOnly, openWebGpuForTests } from "../devices.ts";

/** A device that computes nothing and whose products take the time that `cost` says. */
function simulated(name: string, cost: (large: boolean, blocks: number) => number) {
  let clock = 0, runs = 0;
  const device: Tunable = {
    info: { kind: "webgpu", name, software: false, maxTensorBytes: 2 ** 30 },
    tuning: usualTuning,
    alloc: (bytes) => ({ bytes }) as never,
    free: () => {},
    run(_kernel, args) {
      const { m, n } = args as { m: number; n: number };
      clock += cost(device.tuning.fewestLargeBlocks === 0, m * n / 128 ** 2);
      runs++;
    },
    sync: () => Promise.resolve(),
  };
  return { device, now: () => clock, runs: () => runs };
}

/** measureTuning() under the clock of a simulated device. */
async function tune(cost: (large: boolean, blocks: number) => number): Promise<number> {
  const { device, now } = simulated("simulated", cost);
  const real = performance.now;
  performance.now = now;
  try {
    const { fewestLargeBlocks } = await measureTuning(device);
    assert.equal(device.tuning, usualTuning);
    return fewestLargeBlocks;
  } finally {
    performance.now = real;
  }
}

Deno.test("measureTuning() finds from how many blocks on large ones are faster", async () => {
  // A card of 60 units: large blocks come in rounds of 60, small ones are three tenths dearer.
  const rounds = (large: boolean, blocks: number) =>
    large ? Math.ceil(blocks / 60) : 1.3 / 4 * Math.ceil(4 * blocks / 60);
  assert.equal(await tune(rounds), 192);
  assert.equal(await tune((large) => large ? 1 : 2), 16);
  assert.equal(await tune((large) => large ? 2 : 1), Infinity);
  assert.equal(await tune((large, blocks) => large && blocks < 200 ? 2 : 1), 256);
});

Deno.test("tuningOf() measures an adapter once, and again after a failure", async () => {
  const { device } = simulated("a card", () => 1);
  let calls = 0;
  const measure = () => Promise.resolve({ fewestLargeBlocks: ++calls });
  const [first, second] = await Promise.all([tuningOf(device, measure), tuningOf(device, measure)]);
  assert.deepEqual([first, second, calls], [{ fewestLargeBlocks: 1 }, { fewestLargeBlocks: 1 }, 1]);
  const { device: other } = simulated("another card", () => 1);
  await assert.rejects(tuningOf(other, () => Promise.reject(new Error("lost"))), /lost/);
  assert.deepEqual(await tuningOf(other, measure), { fewestLargeBlocks: 2 });
});

if (!cpuOnly) {
  Deno.test("measureTuning() runs on the adapter, and both sizes of blocks give the same product", async () => {
    const device = await openWebGpuForTests({ tiles: "hardware" }) as WebGpuDevice;
    try {
      const sizes = { blocks: [1, 2], across: 1, k: 16, sampleMs: 0.01, samples: 1 };
      const { fewestLargeBlocks } = await measureTuning(device, sizes);
      assert.ok([1, 2, Infinity].includes(fewestLargeBlocks), `${fewestLargeBlocks}`);
      assert.equal(device.tuning, usualTuning);
      const [m, n, k] = [130, 136, 24];
      const put = (count: number) => {
        const storage = device.alloc(count * 4);
        device.write(storage, Float32Array.from({ length: count }, (_, i) => i * 37 % 19 - 9));
        return storage;
      };
      const a = put(m * k), b = put(k * n), out = device.alloc(m * n * 4);
      const results: Float32Array[] = [];
      for (const fewest of [0, Infinity]) {
        device.tuning = { fewestLargeBlocks: fewest };
        device.run("matmul", {
          ...{ a, b, out, batch: 1, m, n, k, aBatchStride: 0, bBatchStride: 0 },
          ...{ transA: false, transB: false, packed: false, bType: "f32", epilogue: { activation: "none" } },
        });
        results.push(new Float32Array(await device.read(out, m * n * 4)));
      }
      assert.deepEqual(results[0], results[1]); // whole numbers: exact in any order
      assert.ok(results[0].some((value) => value !== 0));
    } finally {
      device.close();
    }
  });
}
