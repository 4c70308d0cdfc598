import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Heap } from "../../../core/cpu/heap.ts";
import { convKernels } from "../../../core/cpu/kernels/conv2d.ts";
import { packKernels } from "../../../core/cpu/kernels/pack.ts";
import { suitsWinograd } from "../../../core/cpu/kernels/winograd.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { bestBuild } from "../../../core/cpu/engine.ts";
import { Pool, POOL_BYTES } from "../../../core/cpu/pool.ts";
import { Buffers, CpuStorage } from "../../../core/cpu/storage.ts";
import type { Kernels } from "../../../core/tensor/kernels.ts";
import { agrees, Inputs, sumTolerance } from "../kernels/check.ts";
import type { HostArgs } from "../kernels/reference.ts";

interface Sizes {
  readonly batch?: number;
  readonly h: number;
  readonly w: number;
  readonly cIn: number;
  readonly cOut: number;
  readonly upsample?: 1 | 2;
  /** Left, right, top, bottom. */
  readonly pad?: readonly [number, number, number, number];
  readonly wType?: "f32" | "f16";
}

/** Odd and even images, regions that are cut at the right and below, paddings, panels that are not full. */
const sizes: readonly Sizes[] = [
  { h: 8, w: 8, cIn: 4, cOut: 8 },
  { h: 1, w: 1, cIn: 4, cOut: 1 },
  { h: 7, w: 9, cIn: 12, cOut: 13 },
  { h: 2, w: 71, cIn: 8, cOut: 9, batch: 2 },
  { h: 71, w: 3, cIn: 8, cOut: 17 },
  { h: 19, w: 37, cIn: 20, cOut: 75, batch: 2 },
  { h: 5, w: 6, cIn: 16, cOut: 24, upsample: 2 },
  { h: 9, w: 11, cIn: 16, cOut: 20, upsample: 2, pad: [1, 0, 0, 1], batch: 3 },
  { h: 9, w: 8, cIn: 4, cOut: 6, pad: [0, 0, 0, 0] },
  { h: 6, w: 5, cIn: 4, cOut: 7, pad: [5, 4, 6, 3] },
  { h: 16, w: 15, cIn: 64, cOut: 68, wType: "f16" },
  { h: 17, w: 33, cIn: 160, cOut: 64 },
];

function convolution(inputs: Inputs, c: Sizes, options: Partial<HostArgs<"conv2d">>): HostArgs<"conv2d"> {
  const { batch = 1, h, w, cIn, cOut, upsample = 1, wType = "f32" } = c;
  const [left, right, top, bottom] = c.pad ?? [1, 1, 1, 1];
  return {
    x: inputs.f32(batch * h * w * cIn),
    weight: inputs.f32(cOut * cIn * 9),
    ...{ batch, h, w, cIn, cOut, kh: 3, kw: 3, stride: 1, upsample, padTop: top, padLeft: left, wType },
    ...{ outH: h * upsample + top + bottom - 2, outW: w * upsample + left + right - 2, activation: "none" },
    ...options,
  };
}

/** conv2d by Winograd's algorithm and by the sum over taps. */
function bothWays(args: HostArgs<"conv2d">): [Float32Array, Float32Array] {
  const heap = new Heap(POOL_BYTES);
  const pool = new Pool(heap, 1, bestBuild());
  const context = { heap, pool, buffers: new Buffers(heap) };
  const space = (bytes: number) => new CpuStorage(heap, heap.alloc(bytes), bytes);
  const put = (values: ArrayBufferView) => {
    const storage = space(values.byteLength);
    heap.u8.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), storage.ptr);
    return storage;
  };
  const { batch, cIn, cOut, outH, outW, wType } = args;
  const n = batch * outH * outW * cOut;
  const weight = space(Math.ceil(cOut / 8) * 8 * cIn * 9 * (wType === "f16" ? 2 : 4));
  const onDevice = {
    ...args,
    ...{ x: put(args.x), weight, bias: args.bias && put(args.bias), residual: args.residual && put(args.residual) },
  };
  const ways = [true, false].map((winograd) => {
    const kernels = { ...packKernels(context), ...convKernels(context, () => winograd) };
    const pack = { cOut, cIn, kh: 3, kw: 3, xType: "f32", outType: wType } as const;
    kernels.packConv({ x: put(args.weight), out: weight, ...pack });
    const out = put(new Float32Array(n + 16).fill(NaN));
    kernels.conv2d({ ...onDevice, out } as Kernels["conv2d"]);
    const result = heap.f32.slice(out.ptr / 4, out.ptr / 4 + n + 16);
    assert.ok(result.subarray(n).every(Number.isNaN), "wrote beyond the result");
    return result.subarray(0, n);
  });
  pool.close();
  return [ways[0], ways[1]];
}

for (const [i, c] of sizes.entries()) {
  Deno.test(`Winograd and the sum over taps agree: ${JSON.stringify(c)}`, () => {
    const inputs = new Inputs(100 + i);
    const activation = (["none", "silu", "gelu", "geluTanh", "relu"] as const)[i % 5];
    const args = convolution(inputs, c, { activation, bias: inputs.f32(c.cOut) });
    const residual = i % 2 === 0 ? inputs.f32(args.batch * args.outH * args.outW * c.cOut) : undefined;
    const [winograd, taps] = bothWays({ ...args, residual });
    const largest = taps.reduce((max, value) => Math.max(max, Math.abs(value)), Math.sqrt(9 * c.cIn) / 3 + 1);
    // Each within sumTolerance's 8 sqrt(terms) roundings of the exact result.
    const allowed = 2 * 8 * Math.sqrt(9 * c.cIn) * 2 ** -24 * largest;
    taps.forEach((value, j) => assert.ok(Math.abs(value - winograd[j]) <= allowed, `[${j}]: ${value}, ${winograd[j]}`));
  });

  Deno.test(`Winograd and the sum over taps are equal in whole numbers: ${JSON.stringify(c)}`, () => {
    const inputs = new Inputs(200 + i);
    const { batch = 1, h, w, cIn, cOut } = c;
    // Multiples of 4 have whole halves and quarters, and all sums stay below 2^24, so nothing is rounded.
    const weight = inputs.wholeF32(cOut * cIn * 9, -3, 3).map((value) => 4 * value);
    const x = inputs.wholeF32(batch * h * w * cIn, -9, 9);
    const [winograd, taps] = bothWays(convolution(inputs, c, { x, weight, bias: inputs.wholeF32(cOut, -99, 99) }));
    assert.ok(taps.some((value) => value !== 0));
    assert.deepEqual(winograd, taps);
  });
}

Deno.test("the CPU device's convolutions by Winograd agree with the reference", async () => {
  const device = openCpuDevice({ threads: 2 });
  const inputs = new Inputs(300);
  for (
    const c of [
      { h: 9, w: 8, cIn: 64, cOut: 66, batch: 2 },
      { h: 8, w: 7, cIn: 128, cOut: 64, wType: "f16" as const },
      { h: 4, w: 5, cIn: 96, cOut: 72, upsample: 2 as const },
      { h: 8, w: 8, cIn: 640, cOut: 64 },
    ]
  ) {
    const args = convolution(inputs, c, { bias: inputs.f32(c.cOut), activation: "silu" });
    assert.ok(suitsWinograd(args as unknown as Kernels["conv2d"]), JSON.stringify(c));
    const terms = 9 * c.cIn;
    await agrees(device, "conv2d", args, sumTolerance(device, terms, Math.sqrt(terms) / 3 + 1));
  }
  device.close();
});

Deno.test("a convolution by Winograd needs no memory afterwards and gives the same bits for any number of threads", async () => {
  const inputs = new Inputs(400);
  const args = convolution(inputs, { h: 40, w: 41, cIn: 64, cOut: 100, batch: 2 }, { bias: inputs.f32(100) });
  const results: Uint8Array[] = [];
  for (const threads of [1, 2, 3]) {
    const device = openCpuDevice({ threads });
    const put = (values: ArrayBufferView) => {
      const storage = device.alloc(values.byteLength);
      device.write(storage, values);
      return storage;
    };
    const n = 2 * 40 * 41 * 100;
    const { cIn, cOut, kh, kw } = args;
    const weight = device.alloc(device.packedBytes("conv", [cOut, cIn, kh, kw], "f32"));
    const pack = { cOut, cIn, kh, kw, xType: "f32", outType: "f32" } as const;
    device.run("packConv", { x: put(args.weight), out: weight, ...pack });
    const out = device.alloc(4 * n);
    const onDevice = { ...args, x: put(args.x), weight, bias: put(args.bias!), residual: undefined, out };
    assert.ok(suitsWinograd(onDevice));
    const { liveBytes, liveCount } = device.memory();
    for (let i = 0; i < 20; i++) {
      device.run("conv2d", onDevice);
      await new Promise((resolve) => setTimeout(resolve, 5)); // lets workers start
    }
    assert.deepEqual([device.memory().liveBytes, device.memory().liveCount], [liveBytes, liveCount]);
    results.push(new Uint8Array(await device.read(out, 4 * n)));
    device.close();
  }
  assert.ok(results.every((bytes) => Buffer.from(bytes).equals(results[0])));
});

Deno.test("suitsWinograd() takes only what the algorithm can do and gains from", () => {
  const args = convolution(new Inputs(1), { h: 16, w: 16, cIn: 64, cOut: 64 }, {}) as unknown as Kernels["conv2d"];
  assert.equal(suitsWinograd(args), true);
  for (const change of [{ stride: 2 }, { kh: 1 }, { kw: 5 }, { cIn: 66 }, { cIn: 12 }, { cOut: 3 }, { cIn: 1028 }]) {
    assert.equal(suitsWinograd({ ...args, ...change }), false, JSON.stringify(change));
  }
  assert.equal(suitsWinograd({ ...args, outH: 4, outW: 4 }), false);
});
