import assert from "node:assert/strict";
import { Heap } from "../../../core/cpu/heap.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { Buffers, CpuStorage } from "../../../core/cpu/storage.ts";
import { DUPLICATE_SHARE, WeightSpill } from "../../../core/cpu/weight_spill.ts";
import {
  type Device,
  fromArray,
  keep,
  linear,
  packWeight,
  randomUniform,
  scope,
  type Tensor,
} from "../../../core/tensor/mod.ts";

const MiB = 2 ** 20;
const width = 512; // a layer in half precision takes 0.5 MiB

/** Layers in half precision, and what they make of some rows: as much arithmetic as shows that no weight was mixed up. */
function makeLayers(device: Device, count: number, from = 0): Tensor[] {
  const layer = (i: number) => scope(() => packWeight(randomUniform(device, [width, width], 3, i), "linear", "f16"));
  return Array.from({ length: count - from }, (_, i) => layer(from + i));
}

function pass(device: Device, layers: readonly Tensor[], rows = 64): Promise<Float32Array> {
  const x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
  const y = scope(() => {
    let h = fromArray(device, x, [rows, width]);
    for (const layer of layers) {
      const input = h;
      h = linear(input, layer, undefined, { residual: input });
      input.dispose();
    }
    return keep(h);
  });
  return y.data().finally(() => y.dispose());
}

Deno.test("the CPU device computes the same with more packed weights than its memory holds", async () => {
  const roomy = openCpuDevice({ threads: 2 });
  const tight = openCpuDevice({ threads: 2, memoryLimitBytes: 6 * MiB });
  const everything = makeLayers(roomy, 20);
  const layers = makeLayers(tight, 20);
  const { liveBytes, liveCount, peakBytes } = tight.memory();
  assert.equal(liveCount, 20);
  assert.equal(liveBytes, roomy.memory().liveBytes, "weights count wherever they are");
  assert.ok(liveBytes > 6 * MiB && peakBytes >= liveBytes);
  const expected = await pass(roomy, everything);
  // Weights leave for the first time, and come back, and leave again; for results of several sizes.
  for (let i = 0; i < 3; i++) assert.deepEqual(await pass(tight, layers), expected);
  assert.deepEqual(await pass(tight, layers, 640), await pass(roomy, everything, 640));
  assert.deepEqual(await pass(tight, layers.toReversed()), await pass(roomy, everything.toReversed()));
  // What one network left behind is another one's room.
  for (const layer of layers.splice(3)) layer.dispose();
  layers.push(...makeLayers(tight, 20, 3));
  assert.deepEqual(await pass(tight, layers), expected);
  for (const layer of [...layers, ...everything]) layer.dispose();
  assert.deepEqual([tight.memory().liveBytes, tight.memory().liveCount], [0, 0]);
  tight.close();
  roomy.close();
});

Deno.test("the CPU device moves out nothing but packed weights, and not those that a kernel is using", async () => {
  const device = openCpuDevice({ threads: 1, memoryLimitBytes: 3 * MiB });
  const layers = makeLayers(device, 8);
  // 2 MiB of results leave room for one weight, which is there while the kernel that uses it runs.
  const rows = fromArray(device, new Float32Array(MiB / 4).fill(1), [512, width]);
  const result = linear(rows, layers[0]);
  assert.throws(() => fromArray(device, new Float32Array(MiB / 2), [MiB / 2]), /alloc: 2097152 bytes do not fit/);
  const before = device.memory();
  assert.equal(before.liveBytes, 8 * 0.5 * MiB + 2 * MiB);
  const first = await result.data();
  assert.deepEqual(await rows.data(), new Float32Array(MiB / 4).fill(1));
  result.dispose();
  const again = linear(rows, layers[0]);
  assert.deepEqual(await again.data(), first);
  for (const tensor of [again, rows, ...layers]) tensor.dispose();
  assert.deepEqual([device.memory().liveBytes, device.memory().liveCount], [0, 0]);
  device.close();
});

Deno.test("host copies of reloaded weights stay within their share, and bytes are counted once", () => {
  const heap = new Heap(4096, 4 * MiB);
  const spill = new WeightSpill(heap);
  const buffers = new Buffers(heap, spill);
  const bytes = MiB / 8;
  const weights = Array.from({ length: 64 }, (_, i) => {
    const storage = new CpuStorage(heap, heap.alloc(bytes), bytes);
    heap.u8.fill(i, storage.ptr, storage.ptr + bytes);
    spill.allow(storage);
    spill.kernelEnded();
    return storage;
  });
  const total = 64 * bytes;
  let state = 1;
  for (let step = 0; step < 2000; step++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const at = (state >>> 16) % 64;
    const ptr = buffers.at("test", "weight", weights[at], bytes);
    assert.ok(heap.u8[ptr] === at && heap.u8[ptr + bytes - 1] === at, `weight ${at} at step ${step}`);
    spill.kernelEnded();
    if (step % 97 === 0) { // what others need makes many leave at once, and then come back into free room
      const others = heap.alloc(3 * MiB);
      heap.free(others);
    }
    assert.ok(spill.duplicateBytes <= heap.limit * DUPLICATE_SHARE + bytes);
    assert.equal(heap.liveBytes - spill.duplicateBytes + spill.bytes, total);
  }
  assert.ok(spill.peakBytes <= total);
  for (const weight of weights) {
    spill.forget(weight);
    if (weight.ptr >= 0) heap.free(weight.ptr);
  }
  assert.deepEqual([spill.bytes, spill.duplicateBytes, spill.evicted, heap.liveBytes], [0, 0, 0, 0]);
});
