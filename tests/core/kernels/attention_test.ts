/**
 * attention and its gradients against the reference: head sizes, full, causal and block-causal masks, caches longer than what counts.
 * Runs on the default devices and on their other code paths.
 */
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../../core/tensor/device.ts";
import { agrees, byKind, compare, edgeSize, expectedOf, forAll, Inputs, runKernel, seed } from "./check.ts";
import type { HostArgs } from "./reference.ts";
import { openAllTargets, withDevices } from "../devices.ts";

const targets = await openAllTargets();

const masks = ["full", "causal", "block-causal", "random"] as const;

interface AttentionCase {
  batch: number;
  heads: number;
  headDim: number;
  lq: number;
  lk: number;
  /** Rows of the cache behind the first lk. */
  spare: number;
  mask: (typeof masks)[number];
  /** About the largest logit. */
  logits: number;
  seed: number;
}

const plainCase: AttentionCase = {
  batch: 1,
  heads: 2,
  headDim: 16,
  lq: 9,
  lk: 9,
  spare: 0,
  mask: "full",
  logits: 4,
  seed: 1,
};

function visibleOf({ mask, lq, lk }: AttentionCase, inputs: Inputs): Int32Array | undefined {
  const past = lk - lq; // rows of the cache that every query sees
  if (mask === "causal") return Int32Array.from({ length: lq }, (_, i) => past + i + 1);
  if (mask === "random") return inputs.i32(lq, 1, lk);
  if (mask === "full") return undefined;
  // Blocks of 1, 4, 9, ... tokens: a query sees the end of its own block.
  return Int32Array.from({ length: lq }, (_, i) => {
    let end = 0;
    for (let side = 1; end <= i; side++) end += side * side;
    return Math.min(lk, past + end);
  });
}

function argsOf(c: AttentionCase, inputs: Inputs): HostArgs<"attention"> {
  const { batch, heads, headDim, lk, spare, logits } = c;
  const lq = c.mask === "causal" || c.mask === "block-causal" ? Math.min(c.lq, lk) : c.lq;
  const kvCapacity = lk + spare;
  const width = heads * headDim;
  const cache = () => {
    const rows = inputs.f32(batch * kvCapacity * width);
    // Rows that do not count hold garbage.
    for (let b = 0; b < batch; b++) rows.fill(NaN, (b * kvCapacity + lk) * width, (b + 1) * kvCapacity * width);
    return rows;
  };
  return {
    q: inputs.f32(batch * lq * width),
    k: cache(),
    v: cache(),
    visible: visibleOf({ ...c, lq }, inputs),
    batch,
    heads,
    headDim,
    lq,
    lk,
    kvCapacity,
    // A dot product of uniform numbers in [-1, 1] has a deviation of sqrt(headDim) / 3.
    scale: logits / Math.sqrt(headDim),
  };
}

/**
 * The result is an average of v, |v| <= 1. A logit is wrong by some roundings of its own size, and exp turns that into a
 * relative error of the weight: the absolute part comes from the sums, the rest from the logits.
 */
function roundingsOf(device: Device, { lk, logits, headDim }: AttentionCase): number {
  return byKind(device, { cpu: 1, webgpu: 2 }) * (8 * Math.sqrt(lk) + 4 * logits * Math.sqrt(headDim) / 4 + 8);
}

async function check(device: Device, c: AttentionCase): Promise<void> {
  const args = argsOf(c, new Inputs(c.seed));
  await agrees(device, "attention", args, { roundings: roundingsOf(device, c), floor: 1 });
}

const gradientNames = ["dq", "dk", "dv"];

/**
 * An error of a weight goes into dv as it is, and times a product of upstream and value, which has the deviation of
 * a logit over its scale, and the scale into the two others.
 */
async function checkGradient(device: Device, c: AttentionCase, wanted = gradientNames): Promise<void> {
  const inputs = new Inputs(c.seed);
  const forward = argsOf(c, inputs);
  const args = { ...forward, upstream: inputs.f32(forward.q.length) };
  const whole = Object.entries(expectedOf("attentionGradient", args));
  const expected = Object.fromEntries(whole.filter(([name]) => wanted.includes(name)));
  const got = await runKernel(device, "attentionGradient", args, expected);
  for (const [name, values] of Object.entries(expected)) {
    const floor = name === "dv" ? 1 : Math.max(1, c.logits);
    compare(`attentionGradient: ${name}`, got[name], values, { roundings: roundingsOf(device, c), floor });
  }
}

const anyCase: fc.Arbitrary<AttentionCase> = fc.record({
  batch: fc.constantFrom(1, 2, 3),
  heads: fc.constantFrom(1, 2, 3, 5),
  headDim: fc.constantFrom(3, 4, 5, 8, 16, 17, 32, 48, 64),
  lq: edgeSize,
  lk: fc.oneof(edgeSize, fc.constantFrom(64, 65, 100, 257)),
  spare: fc.constantFrom(0, 0, 1, 7),
  mask: fc.constantFrom(...masks),
  logits: fc.constantFrom(1, 4, 50),
  seed,
});

withDevices("attention agrees with the reference for head sizes from 1 to 640", async (device) => {
  // Every head size is a pipeline of its own, which a software adapter takes a second or two to compile.
  const some = [3, 33, 64, 128, 640];
  const all = [1, 4, 6, 16, 48, 80, 96, 160, 256, 512, ...some];
  for (const headDim of device.info.kind === "cpu" ? all : some) {
    await check(device, { ...plainCase, headDim, lq: 7, lk: 19 });
  }
}, targets);

withDevices("attention agrees with the reference for every mask, with and without a cache", async (device) => {
  for (const mask of masks) {
    await check(device, { ...plainCase, mask, batch: 2, lq: 30, lk: 30 });
    await check(device, { ...plainCase, mask, batch: 2, lq: 5, lk: 23, spare: 9 });
    await check(device, { ...plainCase, mask, lq: 1, lk: 40, spare: 3, headDim: 64 });
    await check(device, { ...plainCase, mask, batch: 2, lq: 8, lk: 300, spare: 5, headDim: 64 });
  }
}, targets);

withDevices("attention agrees with the reference over random shapes", async (device) => {
  await forAll(device, anyCase, { cpu: 80, webgpu: 12 }, (c) => check(device, c));
}, targets);

withDevices("attention agrees with the reference beyond one tile", async (device) => {
  await check(device, { ...plainCase, mask: "causal", lq: 131, lk: 131, headDim: 48, heads: 3 });
  await check(device, { ...plainCase, mask: "block-causal", lq: 140, lk: 140, headDim: 64 });
  await check(device, { ...plainCase, lq: 64, lk: 257, headDim: 128, heads: 1, spare: 31 });
}, targets);

withDevices("attention does not overflow for logits beyond the range of exp", async (device) => {
  await check(device, { ...plainCase, logits: 300, lq: 17, lk: 33, mask: "full" });
  await check(device, { ...plainCase, logits: 300, lq: 33, lk: 33, mask: "causal", headDim: 64 });
  // Logits that are all very negative must not sum to zero either.
  const inputs = new Inputs(3);
  const ones = new Float32Array(4 * 8).fill(1);
  const sizes = { batch: 1, heads: 1, headDim: 8, lq: 4, lk: 4, kvCapacity: 4, scale: -50 };
  await agrees(device, "attention", { q: ones, k: ones, v: inputs.f32(4 * 8), ...sizes }, { roundings: 32, floor: 1 });
}, targets);

withDevices("attention of one visible key returns its value", async (device) => {
  const inputs = new Inputs(4);
  const [batch, heads, headDim, l] = [2, 3, 8, 6];
  const size = batch * l * heads * headDim;
  const visible = new Int32Array(l).fill(1);
  const args = { q: inputs.f32(size), k: inputs.f32(size), v: inputs.f32(size), visible, batch, heads, headDim };
  await agrees(device, "attention", { ...args, lq: l, lk: l, kvCapacity: l, scale: 1 });
}, targets);

withDevices("attentionGradient agrees with the reference for head sizes from 1 to 640", async (device) => {
  for (const headDim of [1, 3, 8, 20, 64, 130, 640]) {
    await checkGradient(device, { ...plainCase, headDim, lq: 7, lk: 19 });
  }
}, targets);

withDevices("attentionGradient agrees with the reference for every mask, whatever of it is wanted", async (device) => {
  for (const [i, mask] of masks.entries()) {
    await checkGradient(device, { ...plainCase, mask, batch: 2, lq: 30, lk: 30 });
    await checkGradient(device, { ...plainCase, mask, batch: 2, lq: 5, lk: 23, spare: 9 });
    await checkGradient(device, { ...plainCase, mask, lq: 1, lk: 40, spare: 3 }, [gradientNames[i % 3]]);
  }
}, targets);

withDevices("attentionGradient agrees with the reference over random shapes", async (device) => {
  await forAll(device, anyCase, { cpu: 80, webgpu: 12 }, (c) => checkGradient(device, c));
}, targets);

withDevices("attentionGradient agrees with the reference over several blocks of queries", async (device) => {
  await checkGradient(device, { ...plainCase, mask: "causal", lq: 131, lk: 131, headDim: 48, heads: 3 });
  await checkGradient(device, { ...plainCase, mask: "block-causal", lq: 160, lk: 160, headDim: 20, batch: 2 });
  await checkGradient(device, { ...plainCase, lq: 80, lk: 900, headDim: 12, heads: 1, spare: 31 });
}, targets);

withDevices("attentionGradient does not overflow for logits beyond the range of exp", async (device) => {
  await checkGradient(device, { ...plainCase, logits: 300, lq: 33, lk: 33, mask: "causal" });
}, targets);
