/**
 * How much device memory a network will need, from its configuration alone, so that work can be planned before anything
 * is loaded. Weights are exact; activations are estimates from above, which the tests hold against measured peaks.
 */
import { bytesPerElement, type Device } from "../core/tensor/mod.ts";
import type { WeightSpec } from "./weights.ts";

/** Bytes of device memory. */
export interface Footprint {
  /** All weights, as the device lays them out. */
  readonly weights: number;
  /**
   * Part of `weights`: those that are packed, which the CPU device keeps elsewhere while its memory is full of others.
   */
  readonly packed: number;
  /** On top of `weights` while loading: the largest of them, as it comes from the file. */
  readonly loading: number;
  /** What a transformer prepares: one condition for the whole batch, and its tables of positions; 0 for a tokenizer. */
  readonly condition: number;
  /** Live at the peak of a pass, per image. */
  readonly perImage: number;
  /** Largest single activation, per image. */
  readonly largestTensor: number;
}

/** What a network needs apart from its weights. */
export type Activations = Omit<Footprint, "weights" | "packed" | "loading">;

/** Weights as `loadWeights` stores them: matrices, convolutions and embeddings in `weightType`, everything else f32. */
export function weightFootprint(
  device: Pick<Device, "packedBytes">,
  specs: readonly WeightSpec[],
  weightType: "f32" | "f16" = "f32",
): Pick<Footprint, "weights" | "packed" | "loading"> {
  let packed = 0, others = 0, loading = 0;
  for (const { shape, role, split = 1 } of specs) {
    const elements = shape.reduce((product, d) => product * d, 1);
    const rows = shape[0] / split;
    if (role === "linear") {
      packed += split * device.packedBytes("linear", [rows, elements / shape[0]], weightType);
    } else if (role === "conv") {
      packed += split * device.packedBytes("conv", [rows, ...shape.slice(1)], weightType);
    } else others += elements * bytesPerElement(role === "embedding" ? weightType : "f32");
    loading = Math.max(loading, elements / split * bytesPerElement("f32"));
  }
  return { weights: packed + others, packed, loading };
}

/**
 * Activations of a convolutional autoencoder with these widths per level, finest first. The peak is at one resolution
 * level: the outputs of its blocks stay until the level ends, a block holds its input, two norms, two convolutions and
 * a shortcut, and a convolution may pad a copy of its input. The decoder enters a level with the width of the level
 * below.
 */
export function convolutionalActivations(resolution: number, widths: readonly number[], blocks: number): Activations {
  const perLevel = widths.map((width, i) => {
    const side = resolution / 2 ** i;
    return side * side * Math.max(width, widths[i + 1] ?? width) * bytesPerElement("f32");
  });
  const largestTensor = Math.max(...perLevel);
  return { condition: 0, perImage: (blocks + 8) * largestTensor, largestTensor };
}

/**
 * Activations of a transformer pass over `rows` rows. A block holds a dozen or so tensors of the model's width and one
 * of the MLP's; the logits come out twice (sliced).
 */
export function transformerActivations(
  { rows, width, mlp, codes }: { rows: number; width: number; mlp: number; codes: number },
): Pick<Activations, "perImage" | "largestTensor"> {
  const row = bytesPerElement("f32") * rows;
  return { perImage: row * (16 * width + mlp + 2 * codes), largestTensor: row * Math.max(width, mlp, codes) };
}
