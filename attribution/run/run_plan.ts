/**
 * The plan of a run: what it will compute, how fast this device is, how long it will take, and what would be cheaper.
 * Plain data and its wording.
 */
import type { StageCost } from "./work_model.ts";
import { networkShare, type Rates } from "./work_meter.ts";

/** Plans of runs that are expected to take less than so many seconds are not told. */
export const toldFromSeconds = 10;

/** Operations per second of a card that plans compare with: what one of some years ago sustains (docs/scale.md). */
const cardRate = 20e12;

/** A part of the work on an image. */
export type WorkPart = "tokenizers" | "classes" | "likelihoods" | "search";

/** Something that would make a run cheaper. */
export interface Cheaper {
  /** The options, such as `--search off`. */
  readonly change: string;
  /** Operations per image then. */
  readonly flops: number;
  /** Expected seconds per image then. */
  readonly seconds: number;
}

/**
 * What a run will compute, and how long it will take.
 *
 * @example
 * ```ts
 * import type { RunEvents, RunPlan } from "@model-tracer/model-tracer";
 *
 * const events: RunEvents = { onPlan: (plan: RunPlan) => console.error(`about ${plan.seconds.toFixed(0)} s`) };
 * console.log(Object.keys(events)); // for Tracer.open(options, events)
 * ```
 */
export interface RunPlan {
  /** Number of images in the run. */
  readonly images: number;
  /** Of these, images that the journal has whole. */
  readonly recalled: number;
  /** Whether all images were looked up; a lookup that takes long is given up, and `recalled` is what was found by then. */
  readonly isCounted: boolean;
  /** Names of the networks. */
  readonly networks: readonly string[];
  /** Expected operations per image, by part of the work; a part that only some images need counts with their share. */
  readonly flops: Readonly<Record<WorkPart, number>>;
  /** Name of the device. */
  readonly device: string;
  /** Operations per second of a convolution and of a product, measured before the run. */
  readonly rates: Rates;
  /** Expected seconds per image. */
  readonly secondsPerImage: number;
  /** Expected seconds in all. */
  readonly seconds: number;
  /** What would be cheaper, the cheapest last. */
  readonly cheaper: readonly Cheaper[];
  /** What else may help, in words. */
  readonly remarks: readonly string[];
}

/** Expected operations per image. */
export function expectedFlops(costs: readonly StageCost[]): number {
  return costs.reduce((sum, { flops, share }) => sum + flops * share, 0);
}

/** Expected seconds per image. */
export function expectedSeconds(costs: readonly StageCost[], rates: Rates): number {
  return costs.reduce((sum, { flops, share, kind }) => sum + flops * share / (networkShare * rates[kind]), 0);
}

/** What a plan is made from. */
export interface PlanInput extends Pick<RunPlan, "images" | "recalled" | "isCounted" | "networks" | "rates"> {
  readonly device: { readonly kind: "cpu" | "webgpu"; readonly name: string; readonly software: boolean };
  readonly costs: readonly StageCost[];
  /** Other options, and what they would cost. */
  readonly others?: readonly { readonly change: string; readonly costs: readonly StageCost[] }[];
  /** What else may help, as it is to be said: that weights of half the size would stay loaded. */
  readonly remarks?: readonly string[];
}

/** Makes a plan. */
export function makePlan({ costs, others = [], device, remarks = [], ...about }: PlanInput): RunPlan {
  const { images, recalled, isCounted, networks, rates } = about;
  const flops = { tokenizers: 0, classes: 0, likelihoods: 0, search: 0 };
  for (const { part, flops: each, share } of costs) flops[part] += each * share;
  const total = expectedFlops(costs), secondsPerImage = expectedSeconds(costs, rates);
  const cheaper = others
    .map(({ change, costs }) => ({ change, flops: expectedFlops(costs), seconds: expectedSeconds(costs, rates) }))
    .filter((other) => other.flops < 0.9 * total)
    .sort((a, b) => b.flops - a.flops);
  const isSlow = device.kind === "cpu" || device.software;
  if (isSlow) cheaper.push({ change: `a GPU of ${cardRate / 1e12} TFLOP/s`, flops: total, seconds: total / cardRate });
  return {
    ...{ images, recalled, isCounted, networks, flops, rates, secondsPerImage, cheaper, remarks },
    device: device.name,
    seconds: (images - recalled) * secondsPerImage,
  };
}

/** A plan in words, a line each. */
export function describePlan(plan: RunPlan): string[] {
  const { images, recalled, isCounted, networks, flops, device, rates, cheaper, remarks } = plan;
  const parts = Object.entries(flops).filter(([, each]) => each > 0).map(([part, each]) =>
    `${part} ${digits(each / 1e12)}`
  );
  const total = Object.values(flops).reduce((sum, each) => sum + each, 0);
  const known = recalled === 0 ? "" : `, ${isCounted ? "" : "at least "}${recalled} of them in the journal`;
  const options = cheaper.map(({ change, flops, seconds }) => {
    return `${change}: ${digits(flops / 1e12)} TFLOP, ${inWords(seconds)} per image`;
  });
  return [
    `plan: ${images} ${images === 1 ? "image" : "images"}${known}; networks: ${networks.join(", ")}`,
    `plan: about ${digits(total / 1e12)} TFLOP per image: ${parts.join(", ")}`,
    `plan: ${device}: ${digits(rates.tokenizer / 1e9)} GFLOP/s in a convolution, ${
      digits(rates.transformer / 1e9)
    } in a product of these networks' sizes, measured now`,
    `plan: about ${inWords(plan.secondsPerImage)} per image, ${inWords(plan.seconds)} in all; progress corrects this ` +
    "once networks have run",
    ...options.length === 0 ? [] : [`plan: cheaper would be ${options.join("; ")}`],
    ...remarks.map((remark) => `plan: ${remark}`),
  ];
}

function digits(value: number): string {
  return String(Number(value.toPrecision(2)));
}

/** `0.4 s`, `45 s`, `3 min`, `2.1 h`, `3.4 days`. */
export function inWords(seconds: number): string {
  if (seconds < 60) return `${digits(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${digits(seconds / 3600)} h`;
  return `${digits(seconds / 86400)} days`;
}
