/** When recorded commands go to the card: soon after a wait, and before they are too much for a driver's watchdog. */
import assert from "node:assert/strict";
import { openStubDevice } from "../../../bench/stub/gpu.ts";
import type { WebGpuDevice } from "../../../core/wgsl/mod.ts";

/** Dispatches of every submit since the stub was reset. */
function perSubmit({ dispatches }: { dispatches: readonly { submit: number }[] }): number[] {
  const counts: number[] = [];
  for (const { submit } of dispatches) counts[submit] = (counts[submit] ?? 0) + 1;
  return counts;
}

function product(device: WebGpuDevice, size: number) {
  const bytes = 4 * size * size;
  const [a, b, out] = [device.alloc(bytes), device.alloc(bytes), device.alloc(bytes)];
  return () =>
    device.run("matmul", {
      ...{ a, b, out, batch: 1, m: size, n: size, k: size, aBatchStride: 0, bBatchStride: 0 },
      ...{ transA: false, transB: false, packed: false, bType: "f32", epilogue: { activation: "none" } },
    });
}

Deno.test("after a wait submits take 16, 32, 64, 128, then 256 dispatches", async () => {
  const { device, stub } = openStubDevice();
  const run = product(device, 16);
  for (let pass = 0; pass < 2; pass++) {
    stub.reset();
    for (let i = 0; i < 1000; i++) run();
    await device.sync();
    assert.deepEqual(perSubmit(stub), [16, 32, 64, 128, 256, 256, 248]);
  }
});

Deno.test("a submit has at most a tenth of a second of work on a slow card", async () => {
  const { device, stub } = openStubDevice();
  const [large, small] = [product(device, 4096), product(device, 16)]; // 0.137 TFLOP, of 0.2 in 0.1 s
  stub.reset();
  for (let i = 0; i < 3; i++) large();
  for (let i = 0; i < 3; i++) small();
  large();
  await device.sync();
  assert.deepEqual(perSubmit(stub), [1, 1, 4, 1]);
});

Deno.test("moving much memory counts as work, too", async () => {
  const { device, stub } = openStubDevice();
  const n = 2 ** 28; // 1 GiB in, 1 GiB out: 10.7 ms at 200 GB/s
  const [x, out] = [device.alloc(4 * n), device.alloc(4 * n)];
  stub.reset();
  for (let i = 0; i < 15; i++) device.run("unary", { op: "neg", x, out, n, a: 0, b: 0 });
  await device.sync();
  assert.deepEqual(perSubmit(stub), [9, 6]);
});
