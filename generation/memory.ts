/**
 * Device memory of drawing images, from configurations alone: how many images fit at a time, and which variants fit at
 * all. One variant is loaded at a time, beside the tokenizer of its family.
 */
import { memoryOption } from "../attribution/run/memory_plan.ts";
import { usualMemoryLimit } from "../attribution/run/memory_limit.ts";
import type { Device } from "../core/tensor/mod.ts";
import { type Footprint, kernelBytes, type PlannedDevice } from "../models/footprint.ts";
import type { ModelSet } from "../models/model_set.ts";
import { formatBytes } from "../util/bytes.ts";
import { MemoryLimitError } from "../util/errors.ts";
import type { BatchSizes } from "./generator.ts";

/** Larger batches are not faster. */
const maxImages = 64;

/** Factor on what must be in one block of memory: what is free there is in pieces. */
const headroom = 1.05;

/** Type in which weights are stored; undefined for that of their files. */
type Stored = "f32" | "f16" | undefined;

/** A set as the plan sees it. */
export type PlannedSet = Pick<ModelSet, "familyOf" | "footprint" | "variantFacts">;

/** What drawing with a variant takes, in bytes. */
interface Need {
  readonly transformer: Footprint;
  readonly tokenizer: Footprint;
  /** Weights of both networks, and what is needed for a moment. */
  readonly fixed: number;
  /** The part of `fixed` that kernels work on in one block: all but packed weights. */
  readonly pinned: number;
  /** Per image in the transformer: two rows, conditional and unconditional, with conditions, keys and values. */
  readonly perImage: number;
  /** Largest tensor of an image. */
  readonly largestTensor: number;
}

function needOf(set: PlannedSet, device: PlannedDevice, variant: string, weightType: Stored): Need {
  const family = set.familyOf(variant);
  const { kind } = device.info;
  const transformer = set.footprint(device, { family, variant }, weightType);
  const tokenizer = set.footprint(device, { family }, weightType);
  const { tokenCount, codes, generation } = set.variantFacts(variant);
  // Temporary tensors of models/sampling.ts, which works on at most 2^21 logits at a time.
  const drawing = 24 * Math.min(2 ** 21, tokenCount * codes) * 4 + tokenCount * codes * 4;
  const brief = Math.max(transformer.loading, kernelBytes[kind] + drawing);
  const weights = transformer.weights + tokenizer.weights;
  return {
    transformer,
    tokenizer,
    fixed: weights + brief,
    pinned: headroom * (weights - transformer.packed - tokenizer.packed + transformer.loading + brief),
    perImage: 2 * (transformer.condition + generation.steps[kind] + generation.cacheBytes),
    largestTensor: 2 * Math.max(transformer.largestTensor, generation.largestTensor),
  };
}

/** Bytes with which a variant draws and decodes one image at a time. */
function leastBytes({ fixed, perImage, tokenizer }: Need): number {
  return Math.ceil(fixed + Math.max(perImage, tokenizer.perImage));
}

/**
 * How many images of a variant fit into `memoryBytes` beside the weights. Throws a MemoryLimitError, with the bytes needed,
 * when not even one does.
 */
export function planBatch(
  set: PlannedSet,
  device: PlannedDevice,
  variant: string,
  memoryBytes: number,
  weightType?: "f32" | "f16",
): BatchSizes {
  requireMemory(set, device, [variant], { bytes: memoryBytes, isUsual: false }, weightType);
  return fittingBatch(set, device, variant, memoryBytes, weightType)!;
}

/** As `planBatch`; undefined when not even one image fits. */
export function fittingBatch(
  set: PlannedSet,
  device: PlannedDevice,
  variant: string,
  memoryBytes: number,
  weightType?: "f32" | "f16",
): BatchSizes | undefined {
  const { fixed, pinned, perImage, largestTensor, tokenizer } = needOf(set, device, variant, weightType);
  const { kind, maxTensorBytes } = device.info;
  // The CPU device's kernels work in one block, which packed weights may leave.
  const block = kind === "cpu" ? (maxTensorBytes - pinned) / headroom : Infinity;
  const left = Math.min(memoryBytes - fixed, block);
  const fits = (bytes: number, largest: number) =>
    Math.min(maxImages, Math.floor(left / bytes), Math.floor(maxTensorBytes / largest));
  const sizes = {
    generate: fits(perImage, largestTensor),
    decode: fits(tokenizer.perImage, tokenizer.largestTensor),
  };
  return sizes.generate >= 1 && sizes.decode >= 1 ? sizes : undefined;
}

/** The least limit under which each of the variants draws and decodes an image, loaded by itself; 0 for none. */
export function leastGenerationMemory(
  set: PlannedSet,
  device: PlannedDevice,
  variants: readonly string[],
  weightType?: "f32" | "f16",
): number {
  return Math.max(0, ...variants.map((variant) => leastBytes(needOf(set, device, variant, weightType))));
}

/** A limit, and whether it is the usual one. */
export interface GenerationMemory {
  readonly bytes: number;
  /** By the free memory, and not named by the user. */
  readonly isUsual: boolean;
}

/** The limit for drawing with variants one at a time: `named`, else by the free memory and what the largest needs. */
export async function generationMemory(
  set: PlannedSet,
  device: Pick<Device, "info" | "packedBytes" | "availableBytes">,
  variants: readonly string[],
  named: number | undefined,
  weightType?: "f32" | "f16",
): Promise<GenerationMemory> {
  if (named !== undefined) return { bytes: named, isUsual: false };
  const least = leastGenerationMemory(set, device, variants, weightType);
  return { bytes: await usualMemoryLimit(device, least), isUsual: true };
}

/**
 * Throws a MemoryLimitError that lists the variants that do not fit into the limit by themselves, what each needs, and the
 * options that help. `chosen` is the option that chooses variants.
 */
export function requireMemory(
  set: PlannedSet,
  device: PlannedDevice,
  variants: readonly string[],
  { bytes, isUsual }: GenerationMemory,
  weightType?: "f32" | "f16",
  chosen = (names: readonly string[]) => names.map((name) => `--model ${name}`).join(" "),
): void {
  const large = variants.filter((variant) => fittingBatch(set, device, variant, bytes, weightType) === undefined);
  if (large.length === 0) return;
  const least = (type: Stored) =>
    new Map(large.map((variant) => [variant, leastBytes(needOf(set, device, variant, type))]));
  const needs = least(weightType), halved = least("f16");
  const lines = large.map((variant) => {
    const { transformer, tokenizer } = needOf(set, device, variant, weightType);
    return `  ${variant}: ${formatBytes(needs.get(variant)!)} (weights ${formatBytes(transformer.weights)}, ` +
      `tokenizer ${formatBytes(tokenizer.weights)})`;
  });
  const most = Math.max(...needs.values()), mostHalved = Math.max(...halved.values());
  const ways: string[] = [];
  if (weightType !== "f16" && mostHalved < most) {
    ways.push(`--weight-type f16${mostHalved > bytes ? ` with --memory ${memoryOption(mostHalved)}` : ""}`);
  }
  if (most > bytes) ways.push(`--memory ${memoryOption(most)}`);
  const fitting = variants.filter((variant) => !large.includes(variant));
  if (fitting.length > 0) ways.push(`${chosen(fitting)}, which fit`);
  if (most <= bytes) ways.push("--device webgpu: the cpu device holds no more at once");
  const limit = formatBytes(bytes) + (isUsual ? ", by the free memory," : "");
  throw new MemoryLimitError([
    `memory: the limit of ${limit} is not enough for one image; needed are:`,
    ...lines,
    `what would help: ${ways.join("; or ")}`,
  ].join("\n"));
}
