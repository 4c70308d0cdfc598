/**
 * The gradient of conv2d's weight against the reference: kernels, strides, paddings, upsampling and channel counts, on
 * every device. cpu/weight_gradient_test.ts compares the CPU device's two algorithms.
 */
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../../core/tensor/device.ts";
import { agrees, forAll, Inputs, seed, sumTolerance } from "./check.ts";
import { openAllTargets, withDevices } from "../devices.ts";
import type { HostArgs } from "./reference.ts";

const targets = await openAllTargets();

interface GradientCase {
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
  seed: number;
}

const base: GradientCase = {
  ...{ batch: 1, h: 9, w: 7, cIn: 5, cOut: 6, kh: 3, kw: 3, stride: 1, upsample: 1, pad: [1, 1, 1, 1], seed: 1 },
};

function argsOf(c: GradientCase): HostArgs<"conv2dWeightGradient"> {
  const { pad: [padLeft, padRight, padTop, padBottom], seed, ...sizes } = c;
  const outH = Math.floor((c.h * c.upsample + padTop + padBottom - c.kh) / c.stride) + 1;
  const outW = Math.floor((c.w * c.upsample + padLeft + padRight - c.kw) / c.stride) + 1;
  fc.pre(outH >= 1 && outW >= 1);
  const inputs = new Inputs(seed);
  return {
    ...sizes,
    ...{ x: inputs.f32(c.batch * c.h * c.w * c.cIn), upstream: inputs.f32(c.batch * outH * outW * c.cOut) },
    ...{ padTop, padLeft, outH, outW },
  };
}

async function check(device: Device, c: GradientCase): Promise<void> {
  const args = argsOf(c);
  const terms = c.batch * args.outH * args.outW;
  // Products of numbers in [-1, 1] have a deviation of 1/3.
  await agrees(device, "conv2dWeightGradient", args, sumTolerance(device, terms, Math.sqrt(terms) / 3 + 1));
}

const anyCase: fc.Arbitrary<GradientCase> = fc.record({
  batch: fc.constantFrom<number[]>(1, 2, 3),
  h: fc.integer({ min: 1, max: 20 }),
  w: fc.integer({ min: 1, max: 20 }),
  cIn: fc.constantFrom<number[]>(1, 2, 3, 4, 5, 8, 12, 17, 24),
  cOut: fc.constantFrom<number[]>(1, 2, 3, 4, 6, 8, 13, 16, 25),
  kh: fc.constantFrom<number[]>(1, 2, 3, 5),
  kw: fc.constantFrom<number[]>(1, 2, 3, 4),
  stride: fc.constantFrom<number[]>(1, 1, 2, 3),
  upsample: fc.constantFrom(1 as const, 1 as const, 2 as const),
  pad: fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(3)),
  seed,
});

withDevices("conv2dWeightGradient agrees with the reference for any kernel", async (device) => {
  await forAll(device, anyCase, { cpu: 80, webgpu: 20 }, (c) => check(device, c), [
    base,
    { ...base, kh: 1, kw: 1, pad: [0, 0, 0, 0], cIn: 33, cOut: 9 },
    { ...base, kh: 1, kw: 1, pad: [0, 0, 0, 0], stride: 2, cIn: 8, cOut: 9 },
    { ...base, stride: 2, pad: [0, 1, 0, 1], h: 16, w: 12, cIn: 4, cOut: 8, batch: 2 },
    { ...base, upsample: 2 as const, cIn: 4, cOut: 8 },
    { ...base, cIn: 3, cOut: 140 },
  ]);
}, targets);

/** 3x3 kernels: odd and even images, paddings, channels that fill no panel, several blocks of rows. */
const threeByThree: readonly GradientCase[] = [
  { ...base, h: 16, w: 16, cIn: 16, cOut: 16 },
  { ...base, h: 1, w: 1, cIn: 16, cOut: 20 },
  { ...base, h: 17, w: 13, cIn: 20, cOut: 28, batch: 3 },
  { ...base, h: 2, w: 71, cIn: 24, cOut: 16, pad: [0, 1, 1, 0] },
  { ...base, h: 6, w: 5, cIn: 16, cOut: 16, pad: [5, 4, 6, 3] },
  { ...base, h: 9, w: 11, cIn: 16, cOut: 20, upsample: 2, pad: [1, 0, 0, 1], batch: 2 },
  { ...base, h: 9, w: 8, cIn: 64, cOut: 272, pad: [0, 0, 0, 0] },
];

withDevices("conv2dWeightGradient agrees with the reference for 3x3 kernels of many channels", async (device) => {
  for (const c of threeByThree) await check(device, c);
}, targets);
