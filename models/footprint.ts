/**
 * How much device memory a network will need, from its configuration alone, so that work can be planned before anything is
 * loaded. Weights are exact; activations are estimates from above, which the tests hold against measured peaks.
 */
import { bytesPerElement, type Device } from "../core/tensor/mod.ts";
import type { RarConfig, RarTokenizerConfig } from "./rar/config.ts";
import { tokenCount, type VarConfig, type VqvaeConfig } from "./var/config.ts";
import type { WeightSpec } from "./weights.ts";

/** Bytes of device memory. */
export interface Footprint {
  /** All weights, as the device lays them out. */
  readonly weights: number;
  /** Part of `weights`: those that are packed, which the CPU device keeps elsewhere while its memory is full of others. */
  readonly packed: number;
  /** On top of `weights` while loading: the largest of them, as it comes from the file. */
  readonly loading: number;
  /** What a transformer prepares: one condition for the whole batch, and its tables of positions; 0 for a tokenizer. */
  readonly condition: number;
  /** Live at the peak of a pass, per image. */
  readonly perImage: number;
  /** Largest single activation, per image. */
  readonly largestTensor: number;
  /** Of a tokenizer of several scales: what the tables of its quantisers depend on. */
  readonly multiScale?: MultiScale;
}

/** What a network needs apart from its weights. */
export type Activations = Omit<Footprint, "weights" | "packed" | "loading">;

/** Sides of the token maps, coarse to fine, and the codebook's size. */
export interface MultiScale {
  readonly patchNums: readonly number[];
  readonly codes: number;
  readonly channels: number;
}

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

/** Activations of the MaskGIT-VQ tokenizer. */
export function rarTokenizerActivations(config: RarTokenizerConfig): Pick<Footprint, "perImage" | "largestTensor"> {
  return convolutional(config.resolution, config.channelMult.map((m) => m * config.hiddenChannels), config.resBlocks);
}

/** Activations of VAR's VQVAE, whose decoder has one block more per level. */
export function vqvaeActivations(config: VqvaeConfig): Pick<Footprint, "perImage" | "largestTensor" | "multiScale"> {
  const { patchNums, codes, zChannels: channels } = config;
  return {
    ...convolutional(config.resolution, config.chMult.map((m) => m * config.ch), config.resBlocks + 1),
    multiScale: { patchNums, codes, channels },
  };
}

/**
 * The peak is at one resolution level: the outputs of its blocks stay until the level ends, a block holds its input, two
 * norms, two convolutions and a shortcut, and a convolution may pad a copy of its input. The decoder enters a level with
 * the width of the level below.
 */
function convolutional(resolution: number, widths: readonly number[], blocks: number) {
  const perLevel = widths.map((width, i) => {
    const side = resolution / 2 ** i;
    return side * side * Math.max(width, widths[i + 1] ?? width) * bytesPerElement("f32");
  });
  const largestTensor = Math.max(...perLevel);
  return { perImage: (blocks + 8) * largestTensor, largestTensor };
}

/** Condition and activations of a RAR transformer: adaLN tables for every row of every block. */
export function rarActivations(config: RarConfig): Activations {
  const { hiddenSize: d, layers, intermediateSize, codes } = config;
  const rows = config.tokenCount + 2;
  return {
    condition: rows * (6 * layers + 2 + 3) * d * bytesPerElement("f32"),
    ...transformer(rows, d, intermediateSize, codes),
  };
}

/** Condition and activations of a VAR transformer, the quantiser's work on its input included. */
export function varActivations(config: VarConfig): Activations {
  const { embedDim: d, depth, mlpRatio, codes, patchNums, codeChannels } = config;
  const rows = tokenCount(patchNums);
  const { perImage, largestTensor } = transformer(rows, d, mlpRatio * d, codes);
  const side = patchNums[patchNums.length - 1];
  const latents = 4 * patchNums.length * side * side * codeChannels * bytesPerElement("f32");
  const condition = (6 * depth + 3 + rows) * d * bytesPerElement("f32");
  return { condition, perImage: perImage + latents, largestTensor };
}

/** A block holds a dozen or so tensors of the model's width and one of the MLP's; the logits come out twice (sliced). */
function transformer(rows: number, d: number, mlp: number, codes: number) {
  const row = bytesPerElement("f32") * rows;
  return { perImage: row * (16 * d + mlp + 2 * codes), largestTensor: row * Math.max(d, mlp, codes) };
}
