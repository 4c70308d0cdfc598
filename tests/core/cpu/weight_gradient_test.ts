/**
 * The CPU device's two ways to the gradient of a convolution's weight, over Winograd's tiles and over taps: equal where
 * nothing is rounded, whatever the sizes.
 */
import assert from "node:assert/strict";
import { Heap } from "../../../core/cpu/heap.ts";
import { weightGradientKernels } from "../../../core/cpu/kernels/weight_gradient.ts";
import { bestBuild } from "../../../core/cpu/engine.ts";
import { Pool, POOL_BYTES } from "../../../core/cpu/pool.ts";
import { Buffers, CpuStorage } from "../../../core/cpu/storage.ts";
import { Inputs } from "../kernels/check.ts";

interface Sizes {
  readonly batch?: number;
  readonly h: number;
  readonly w: number;
  readonly cIn: number;
  readonly cOut: number;
  readonly upsample?: 1 | 2;
  /** Left, right, top, bottom. */
  readonly pad?: readonly [number, number, number, number];
}

/** Odd and even images, several parts and chunks of tiles, several blocks of rows, panels that are not full. */
const sizes: readonly Sizes[] = [
  { h: 8, w: 8, cIn: 4, cOut: 8 },
  { h: 1, w: 1, cIn: 4, cOut: 4 },
  { h: 7, w: 9, cIn: 12, cOut: 16 },
  { h: 2, w: 71, cIn: 8, cOut: 12, batch: 2 },
  { h: 40, w: 52, cIn: 20, cOut: 300, batch: 2 },
  { h: 5, w: 6, cIn: 16, cOut: 24, upsample: 2 },
  { h: 9, w: 11, cIn: 16, cOut: 20, upsample: 2, pad: [1, 0, 0, 1], batch: 3 },
  { h: 9, w: 8, cIn: 4, cOut: 8, pad: [0, 0, 0, 0] },
  { h: 6, w: 5, cIn: 4, cOut: 8, pad: [5, 4, 6, 3] },
  { h: 67, w: 61, cIn: 68, cOut: 64 },
];

for (const [i, c] of sizes.entries()) {
  Deno.test(`weight gradients over Winograd's tiles and over taps are equal in whole numbers: ${JSON.stringify(c)}`, () => {
    const { batch = 1, h, w, cIn, cOut, upsample = 1, pad: [left, right, top, bottom] = [1, 1, 1, 1] } = c;
    const outH = h * upsample + top + bottom - 2, outW = w * upsample + left + right - 2;
    const heap = new Heap(POOL_BYTES);
    const pool = new Pool(heap, 1, bestBuild());
    const context = { heap, pool, buffers: new Buffers(heap) };
    const put = (values: Float32Array) => {
      const storage = new CpuStorage(heap, heap.alloc(values.byteLength), values.byteLength);
      heap.f32.set(values, storage.ptr / 4);
      return storage;
    };
    const inputs = new Inputs(300 + i);
    // Multiples of 4 have whole halves and quarters, and all sums stay below 2^24, so nothing is rounded.
    const x = put(inputs.wholeF32(batch * h * w * cIn, -5, 5).map((value) => 4 * value));
    const upstream = put(inputs.wholeF32(batch * outH * outW * cOut, -5, 5));
    const n = cOut * cIn * 9;
    const [winograd, taps] = [true, false].map((byWinograd) => {
      const out = put(new Float32Array(n + 16).fill(NaN));
      weightGradientKernels(context, () => byWinograd).conv2dWeightGradient({
        ...{ x, upstream, out, batch, h, w, cIn, cOut, kh: 3, kw: 3, stride: 1, upsample },
        ...{ padTop: top, padLeft: left, outH, outW },
      });
      const result = heap.f32.slice(out.ptr / 4, out.ptr / 4 + n + 16);
      assert.ok(result.subarray(n).every(Number.isNaN), "wrote beyond the result");
      return result.subarray(0, n);
    });
    pool.close();
    assert.ok(taps.some((value) => value !== 0));
    assert.deepEqual(winograd, taps);
  });
}
