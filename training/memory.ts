/**
 * Device memory of a training step on WebGPU, before anything is loaded, so that a run that cannot fit ends at once and not
 * in its first step.
 */
import { type Device, sizeOf } from "../core/tensor/mod.ts";
import type { FamilyName } from "../models/family.ts";
import { familyNamed } from "../models/registry.ts";
import { kernelBytes, type PlannedDevice, weightFootprint } from "../models/footprint.ts";
import { formatBytes } from "../util/bytes.ts";
import { MemoryLimitError } from "../util/errors.ts";

/** What a step's memory depends on. */
export interface StepSizes {
  readonly family: FamilyName;
  /** Configuration of the tokenizer. */
  readonly config: unknown;
  /** Images per step. */
  readonly batch: number;
  /** Whether activations are computed again in the backward pass. */
  readonly checkpointing: boolean;
}

/**
 * Bytes of the tokenizer, the gradients and moments of its encoder, and a step's activations, without the losses on decoded
 * images.
 */
export function stepBytes(device: PlannedDevice, { family: name, config, batch, checkpointing }: StepSizes): number {
  const family = familyNamed(name);
  const specs = family.tokenizerSpecs(config);
  const trained = specs.filter((spec) => family.encoderModules.some((module) => spec.name.startsWith(module)));
  const parameters = 4 * trained.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const { kept, recomputed } = family.tokenizerFacts(config).training;
  // Gradients, and Adam's two moments.
  const fixed = weightFootprint(device, specs).weights + 3 * parameters + kernelBytes.webgpu;
  return 1.02 * (fixed + batch * (checkpointing ? recomputed : kept)); // allocations are rounded up
}

/** Throws MemoryLimitError where a card cannot give what a step needs, with what would fit. */
export async function requireStepMemory(device: Device, sizes: StepSizes): Promise<void> {
  if (device.availableBytes === undefined || device.info.software) return;
  const needed = stepBytes(device, sizes);
  const available = await device.availableBytes(needed);
  if (available >= needed) return;
  const perImage = stepBytes(device, { ...sizes, batch: 1 }) - stepBytes(device, { ...sizes, batch: 0 });
  const fits = Math.floor((available - stepBytes(device, { ...sizes, batch: 0 })) / perImage);
  const ways = fits >= 1 ? [`--batch ${fits}`] : [];
  if (stepBytes(device, { ...sizes, checkpointing: true }) <= available) ways.push("--checkpointing");
  const advice = ways.length > 0 ? `; try ${ways.join(" or ")}` : "";
  throw new MemoryLimitError(
    `train: a step of ${sizes.batch} images needs ${formatBytes(needed)}, ${device.info.name} gives ` +
      `${formatBytes(available)}${advice}`,
  );
}
