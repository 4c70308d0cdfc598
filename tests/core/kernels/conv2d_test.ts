/**
 * conv2d and packConv against the reference: kernels, strides, paddings, upsampling, channel counts and epilogues.
 * Runs on the default devices and on their other code paths.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../../core/tensor/device.ts";
import type { Activation, Storage } from "../../../core/tensor/kernels.ts";
import { agrees, forAll, Inputs, seed, sumTolerance } from "./check.ts";
import { openAllTargets, withDevices } from "../devices.ts";

const targets = await openAllTargets();

const weightKinds = ["f32 to f32", "f32 to f16", "f16 to f16", "f16 to f32"] as const;

interface ConvCase {
  batch: number;
  h: number;
  w: number;
  cIn: number;
  cOut: number;
  kh: number;
  kw: number;
  stride: number;
  upsample: 1 | 2;
  /** Left, right, top, bottom. */
  pad: readonly number[];
  weight: (typeof weightKinds)[number];
  bias: boolean;
  residual: boolean;
  activation: Activation;
  seed: number;
}

const plainCase: ConvCase = {
  batch: 1,
  h: 9,
  w: 7,
  cIn: 5,
  cOut: 6,
  kh: 3,
  kw: 3,
  stride: 1,
  upsample: 1,
  pad: [1, 1, 1, 1],
  weight: "f32 to f32",
  bias: true,
  residual: false,
  activation: "none",
  seed: 1,
};

async function check(device: Device, c: ConvCase): Promise<void> {
  const { pad: [padLeft, padRight, padTop, padBottom], weight: kind, seed, ...sizes } = c;
  const outH = Math.floor((c.h * c.upsample + padTop + padBottom - c.kh) / c.stride) + 1;
  const outW = Math.floor((c.w * c.upsample + padLeft + padRight - c.kw) / c.stride) + 1;
  fc.pre(outH >= 1 && outW >= 1);
  const inputs = new Inputs(seed);
  const weights = c.cOut * c.cIn * c.kh * c.kw;
  const args = {
    ...sizes,
    x: inputs.f32(c.batch * c.h * c.w * c.cIn),
    weight: kind.startsWith("f16") ? inputs.f16(weights) : inputs.f32(weights),
    bias: c.bias ? inputs.f32(c.cOut) : undefined,
    residual: c.residual ? inputs.f32(c.batch * outH * outW * c.cOut) : undefined,
    padTop,
    padLeft,
    outH,
    outW,
    wType: kind.endsWith("f16") ? "f16" as const : "f32" as const,
  };
  const terms = c.kh * c.kw * c.cIn;
  // As for matmul: products with a deviation of 1/3, then bias and residual.
  await agrees(device, "conv2d", args, sumTolerance(device, terms, Math.sqrt(terms) / 3 + 1));
}

const kernelSize = fc.constantFrom(1, 2, 3, 3, 4, 5);
const channels = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 33);
const image = fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17);
const padding = fc.nat(2);

const anyCase: fc.Arbitrary<ConvCase> = fc.record({
  batch: fc.constantFrom(1, 1, 2, 3),
  h: image,
  w: image,
  cIn: channels,
  cOut: channels,
  kh: kernelSize,
  kw: kernelSize,
  stride: fc.constantFrom(1, 1, 2),
  upsample: fc.constantFrom(1 as const, 1 as const, 2 as const),
  pad: fc.tuple(padding, padding, padding, padding),
  weight: fc.constantFrom(...weightKinds),
  bias: fc.boolean(),
  residual: fc.boolean(),
  activation: fc.constantFrom("none" as const, "silu" as const, "gelu" as const, "geluTanh" as const, "relu" as const),
  seed,
});

withDevices("conv2d agrees with the reference for kernels of 1, 3, 5 and even sizes", async (device) => {
  for (const size of [1, 2, 3, 4, 5]) {
    const before = Math.floor((size - 1) / 2);
    const after = size - 1 - before;
    await check(device, { ...plainCase, kh: size, kw: size, pad: [before, after, before, after] });
    await check(device, { ...plainCase, kh: size, kw: size, pad: [0, 0, 0, 0], batch: 2 });
  }
  await check(device, { ...plainCase, kh: 1, kw: 5, pad: [2, 2, 0, 0] });
  await check(device, { ...plainCase, kh: 4, kw: 3, pad: [1, 1, 2, 1] });
}, targets);

withDevices("conv2d agrees with the reference for strides and asymmetric padding", async (device) => {
  await check(device, { ...plainCase, h: 8, w: 8, stride: 2, pad: [0, 1, 0, 1] }); // the VQVAE's downsampling
  await check(device, { ...plainCase, h: 9, w: 6, stride: 2, pad: [0, 1, 0, 1], batch: 2 });
  await check(device, { ...plainCase, stride: 2, pad: [2, 0, 1, 2] });
  await check(device, { ...plainCase, kh: 1, kw: 1, stride: 2, pad: [0, 0, 0, 0] });
  await check(device, { ...plainCase, kh: 5, kw: 5, stride: 3, pad: [2, 2, 2, 2] });
  await check(device, { ...plainCase, pad: [5, 4, 6, 3] }); // padding beyond the kernel: borders of bias alone
}, targets);

withDevices("conv2d upsamples its input before padding", async (device) => {
  await check(device, { ...plainCase, upsample: 2 });
  await check(device, { ...plainCase, upsample: 2, batch: 2, kh: 1, kw: 1, pad: [0, 0, 0, 0] });
  await check(device, { ...plainCase, upsample: 2, kh: 2, kw: 2, pad: [0, 1, 0, 1] });
  await check(device, { ...plainCase, upsample: 2, stride: 2, pad: [1, 0, 1, 0] });
  await check(device, { ...plainCase, upsample: 2, h: 1, w: 1 });
}, targets);

withDevices("conv2d agrees with the reference for 1, 3 and odd numbers of channels", async (device) => {
  for (const [cIn, cOut] of [[3, 16], [16, 3], [1, 1], [1, 9], [3, 3], [13, 31], [4, 8], [8, 4], [33, 65]]) {
    await check(device, { ...plainCase, cIn, cOut });
    await check(device, { ...plainCase, cIn, cOut, kh: 1, kw: 1, pad: [0, 0, 0, 0], bias: false });
  }
}, targets);

withDevices("conv2d agrees with the reference for every epilogue and storage of weights", async (device) => {
  for (const activation of ["none", "silu", "gelu", "geluTanh", "relu"] as const) {
    await check(device, { ...plainCase, activation });
    await check(device, { ...plainCase, activation, residual: true, bias: false });
  }
  await check(device, { ...plainCase, residual: true });
  for (const weight of weightKinds) {
    await check(device, { ...plainCase, weight, cIn: 9, cOut: 17 });
    await check(device, { ...plainCase, weight, cIn: 16, cOut: 16, residual: true });
  }
}, targets);

withDevices("conv2d agrees with the reference over random shapes and options", async (device) => {
  await forAll(device, anyCase, { cpu: 120, webgpu: 10 }, (c) => check(device, c));
}, targets);

withDevices("conv2d agrees with the reference beyond one tile", async (device) => {
  await check(device, { ...plainCase, h: 33, w: 35, cIn: 16, cOut: 24, batch: 2 });
  await check(device, { ...plainCase, h: 16, w: 16, cIn: 130, cOut: 67 });
  await check(device, { ...plainCase, h: 5, w: 67, cIn: 3, cOut: 130, stride: 2, pad: [0, 1, 0, 1] });
  await check(device, { ...plainCase, h: 12, w: 11, cIn: 20, cOut: 33, upsample: 2, residual: true });
  await check(device, { ...plainCase, h: 4, w: 4, cIn: 300, cOut: 9 });
}, targets);

const manyChannels: fc.Arbitrary<ConvCase> = fc.record({
  batch: fc.constantFrom(1, 2),
  h: fc.integer({ min: 1, max: 19 }),
  w: fc.integer({ min: 1, max: 37 }),
  cIn: fc.constantFrom(64, 68, 96, 128),
  cOut: fc.constantFrom(64, 65, 72, 100),
  kh: fc.constant(3),
  kw: fc.constant(3),
  stride: fc.constant(1),
  upsample: fc.constantFrom(1 as const, 1 as const, 2 as const),
  pad: fc.oneof(fc.constant([1, 1, 1, 1]), fc.tuple(padding, padding, padding, padding)),
  weight: fc.constantFrom(...weightKinds),
  bias: fc.boolean(),
  residual: fc.boolean(),
  activation: fc.constantFrom("none" as const, "silu" as const),
  seed,
});

withDevices("conv2d of 3 x 3 taps over many channels agrees with the reference", async (device) => {
  // The sizes at which other algorithms than the sum over taps pay.
  const runs = { cpu: 15, webgpu: 4 };
  await forAll(device, manyChannels, runs, (c) => check(device, c), [
    { ...plainCase, h: 8, w: 8, cIn: 64, cOut: 64 },
    { ...plainCase, h: 33, w: 21, cIn: 64, cOut: 72, residual: true },
  ]);
}, targets);

withDevices("conv2d of whole numbers is exact", async (device) => {
  // Sums below 2^20: no rounding in any order, nor in the halves and quarters of a transformed kernel.
  for (const [cIn, cOut] of [[5, 6], [64, 64]]) {
    const [h, w] = [9, 11];
    const inputs = new Inputs(4);
    const args = {
      x: inputs.wholeF32(2 * h * w * cIn, -9, 9),
      weight: inputs.wholeF32(cOut * cIn * 9, -9, 9),
      activation: "none" as const,
      ...{ batch: 2, h, w, cIn, cOut, kh: 3, kw: 3, stride: 1, upsample: 1 as const },
      ...{ padTop: 1, padLeft: 1, outH: h, outW: w, wType: "f32" as const },
    };
    await agrees(device, "conv2d", args);
  }
}, targets);

withDevices("conv2d at its borders reads zeros, not neighbours", async (device) => {
  // Whole numbers far from zero: sums are exact, and a wrong neighbour is off by thousands.
  const [h, w, cIn, cOut] = [6, 5, 4, 4];
  const inputs = new Inputs(2);
  const args = {
    x: inputs.wholeF32(2 * h * w * cIn, 500, 900),
    weight: inputs.wholeF32(cOut * cIn * 9, 1, 9),
    activation: "none" as const,
    ...{ batch: 2, h, w, cIn, cOut, kh: 3, kw: 3, stride: 1, upsample: 1 as const },
    ...{ padTop: 1, padLeft: 1, outH: h, outW: w, wType: "f32" as const },
  };
  await agrees(device, "conv2d", args);
}, targets);

withDevices("packConv turned packs the weight with in and out swapped and its taps in reverse", async (device) => {
  for (const [cOut, cIn, kh, kw] of [[5, 6, 3, 3], [24, 19, 3, 2], [8, 16, 1, 1], [70, 72, 3, 3]]) {
    for (const [xType, outType] of [["f32", "f32"], ["f16", "f32"], ["f32", "f16"]] as const) {
      const inputs = new Inputs(cOut), taps = kh * kw;
      const own = xType === "f16" ? inputs.f16(cOut * cIn * taps) : inputs.f32(cOut * cIn * taps);
      const turned = own.map((_, i) => {
        const [o, c, tap] = [Math.floor(i / (cIn * taps)), Math.floor(i / taps) % cIn, i % taps];
        return own[(c * cOut + o) * taps + taps - 1 - tap];
      });
      const [h, w] = [9, 10];
      const [outH, outW] = [h - kh + 1, w - kw + 1];
      const storages: Storage[] = [];
      const put = (values: ArrayBufferView) => {
        const storage = device.alloc(values.byteLength);
        device.write(storage, values);
        storages.push(storage);
        return storage;
      };
      const x = put(inputs.f32(h * w * cIn));
      const results = [];
      for (const [weight, flag] of [[own, true], [turned, false]] as const) {
        const packed = device.alloc(device.packedBytes("conv", [cOut, cIn, kh, kw], outType));
        const out = put(new Float32Array(outH * outW * cOut));
        storages.push(packed);
        device.run("packConv", { x: put(weight), out: packed, cOut, cIn, kh, kw, xType, outType, turned: flag });
        device.run("conv2d", {
          ...{ x, weight: packed, out, activation: "none", batch: 1, h, w, cIn, cOut, kh, kw, stride: 1, upsample: 1 },
          ...{ padTop: 0, padLeft: 0, outH, outW, wType: outType },
        });
        results.push(new Float32Array(await device.read(out, outH * outW * cOut * 4)));
      }
      for (const storage of storages) device.free(storage);
      assert.ok(results[0].some((value) => value !== 0));
      assert.deepEqual(results[0], results[1]);
    }
  }
}, targets);
