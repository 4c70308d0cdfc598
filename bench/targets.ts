/**
 * Targets of speed, and whether a measurement reaches them. Targets are for the CPU device on two cores and for a
 * software WebGPU adapter; on other machines they are only printed.
 */
import type { DeviceInfo } from "../core/tensor/mod.ts";
import type { Measured, RivalTiming } from "./measure.ts";

export interface Verdict {
  readonly case: string;
  /** What is measured: `GFLOP/s`, or a time relative to a rival's. */
  readonly what: string;
  readonly value: number;
  /** The same from the best samples: what the machine gives when nothing disturbs it. Not what is judged. */
  readonly best: number;
  readonly wanted: string;
  readonly met: boolean;
}

/** GFLOP/s of matrix products: the CPU device with two threads, and a software adapter. */
const matmulGflops = { cpu: 75, webgpu: 15 };

/** Our time over PyTorch's, at PyTorch's better setting: with vectors of 128 bits, and of 256. */
const torchRatios: readonly (readonly [RegExp, number, number])[] = [
  [/^rarb incl\. condition, batch 1$/, 2.3, 2.3],
  [/^(rarb|var16|llamagenb) same condition, batch 1$/, 1.5, 1.25],
  [/^(maskgit-vq|vqvae|vq-16) (en|de)coder/, 2.5, 1.6],
  [/^rarb scoring, 8 images, two conditions$/, 1.5, 1.5],
  [/^(maskgit-vq|vqvae) training step, batch 1$/, 2.5, 2.5],
];

/** Our time over PyTorch's in float32 on a hardware adapter: 0.7 of its throughput, and 0.5. */
const cudaRatios: readonly (readonly [RegExp, number])[] = [
  [/^(rarb|var16|llamagenb) (same|incl\.) condition/, 1 / 0.7],
  [/^(maskgit-vq|vqvae|vq-16) ((en|de)coder|training step),/, 1 / 0.5],
];

/** Peak memory of a RAR-B pass, weights and condition included, in bytes. */
const rarbPeakBytes = 2 * 2 ** 30;

/** What a verdict says apart from whether it is met. */
type Claim = Omit<Verdict, "wanted" | "met">;

const atMost = (claim: Claim, limit: number): Verdict => ({
  ...claim,
  wanted: `at most ${Number(limit.toFixed(2))}`,
  met: claim.value <= limit,
});

const atLeast = (claim: Claim, limit: number): Verdict => ({
  ...claim,
  wanted: `at least ${limit}`,
  met: claim.value >= limit,
});

function timeOver(measured: Measured, rival: RivalTiming): Claim {
  const best = measured.seconds.best / rival.best;
  return { case: measured.name, what: `time / ${rival.name}`, value: rival.ratio, best };
}

/** The PyTorch that was faster on this case. */
export function betterTorch({ rivals }: Measured): RivalTiming | undefined {
  const torches = rivals.filter(({ name }) => name.startsWith("torch"));
  return torches.sort((a, b) => a.median - b.median)[0];
}

/** Every target that applies to a measurement. */
export function verdicts(measured: Measured, device: Pick<DeviceInfo, "kind" | "software" | "name">): Verdict[] {
  const verdicts: Verdict[] = [];
  const { kind } = device;
  if (measured.group === "matmul" && (kind === "cpu" || device.software)) {
    const { name, gflops, flops, seconds } = measured;
    const claim = { case: name, what: "GFLOP/s", value: gflops, best: flops / seconds.best / 1e9 };
    verdicts.push(atLeast(claim, matmulGflops[kind]));
    for (const rival of measured.rivals.filter(({ name }) => name.startsWith("jax-js"))) {
      verdicts.push(atMost(timeOver(measured, rival), 1));
    }
  }
  if (kind === "cpu") {
    const torch = betterTorch(measured);
    const limit = torchRatios.find(([name]) => name.test(measured.name))?.[device.name.includes("256 bits") ? 2 : 1];
    if (torch && limit !== undefined) verdicts.push(atMost(timeOver(measured, torch), limit));
  }
  if (kind === "webgpu" && !device.software) {
    const cuda = measured.rivals.find(({ name }) => name === "torch cuda");
    const limit = cudaRatios.find(([name]) => name.test(measured.name))?.[1];
    if (cuda && limit !== undefined) verdicts.push(atMost(timeOver(measured, cuda), limit));
  }
  if (/^rarb .*, batch 1$/.test(measured.name)) {
    const value = measured.devicePeakBytes / 2 ** 30;
    verdicts.push(atMost({ case: measured.name, what: "peak GiB", value, best: value }, rarbPeakBytes / 2 ** 30));
  }
  return verdicts;
}
