/**
 * How much device memory a network will need, from its configuration alone, so that work can be planned before anything
 * is loaded. Weights are exact; activations are estimates from above, which the tests hold against measured peaks.
 */
import { bytesPerElement, type Device, type DeviceInfo } from "../core/tensor/mod.ts";
import { isKeptHalf, type WeightSpec, type WeightType } from "./weights.ts";

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
  /** At the peak of a pass, per image: live, or kept for the next pass. */
  readonly perImage: number;
  /** Largest single activation, per image. */
  readonly largestTensor: number;
}

/**
 * Bytes by kind of device. On the CPU device freed memory serves tensors of any size; kernels need copies of their own.
 * On WebGPU it serves tensors of the same size, and waits for them: a pass takes, for every size, the most tensors of
 * that size that are alive at once.
 */
export type BytesByDevice = Readonly<Record<DeviceInfo["kind"], number>>;

/** What a network needs apart from its weights. */
export interface Activations extends Pick<Footprint, "condition" | "largestTensor"> {
  /** As `Footprint.perImage`. */
  readonly perImage: BytesByDevice;
}

/**
 * Bytes that kernels take for themselves during a pass of a large network, mostly for sums of products that a card computes
 * in parts. On the CPU device they are part of `perImage`.
 */
export const kernelBytes: BytesByDevice = { cpu: 0, webgpu: 24 * 2 ** 20 };

/** What a plan asks a device. */
export type PlannedDevice = Pick<Device, "info" | "packedBytes">;

/**
 * Weights as `loadWeights` stores them: matrices, convolutions and embeddings in `weightType`, everything else f32.
 * `halves` are the names of those that the file has in half precision.
 */
export function weightFootprint(
  device: Pick<Device, "packedBytes">,
  specs: readonly WeightSpec[],
  weightType: WeightType = "f32",
  halves: ReadonlySet<string> = new Set(),
): Pick<Footprint, "weights" | "packed" | "loading"> {
  let packed = 0, others = 0, loading = 0;
  for (const spec of specs) {
    const { name, shape, role, split = 1 } = spec;
    const type = isKeptHalf(spec, weightType, halves.has(name)) ? "f16" : "f32";
    const elements = shape.reduce((product, d) => product * d, 1);
    const rows = shape[0] / split;
    if (role === "linear") {
      packed += split * device.packedBytes("linear", [rows, elements / shape[0]], type);
    } else if (role === "conv") {
      packed += split * device.packedBytes("conv", [rows, ...shape.slice(1)], type);
    } else others += elements * bytesPerElement(type);
    loading = Math.max(loading, elements / split * bytesPerElement("f32"));
  }
  return { weights: packed + others, packed, loading };
}

/**
 * Activations of a convolutional autoencoder with these widths per level, finest first. The decoder enters a level with the
 * width of the level below.
 *
 * At a level, outputs of its blocks stay until it ends, and a block holds its input, two norms, two convolutions and a
 * shortcut. On the CPU the peak is at one level, and a convolution may pad a copy of its input. On WebGPU a level has
 * `blocks` + 3 tensors of its own width at once, and two of the level below's where that is larger.
 */
export function convolutionalActivations(resolution: number, widths: readonly number[], blocks: number): Activations {
  const levels = widths.map((width, i) => {
    const pixels = (resolution / 2 ** i) ** 2 * bytesPerElement("f32");
    const below = widths[i + 1] ?? width;
    return {
      largest: pixels * Math.max(width, below),
      kept: pixels * ((blocks + 3) * width + (below > width ? 2 * below : 0)),
    };
  });
  const largestTensor = Math.max(...levels.map(({ largest }) => largest));
  const webgpu = levels.reduce((sum, { kept }) => sum + kept, 0);
  return { condition: 0, perImage: { cpu: (blocks + 8) * largestTensor, webgpu }, largestTensor };
}

/** Bytes per image of a training step on WebGPU, keeping activations for the backward pass or computing them again. */
export interface StepActivations {
  /** Keeping activations. */
  readonly kept: number;
  /** Computing them again. */
  readonly recomputed: number;
}

/**
 * Activations and their gradients in a training step of a convolutional encoder with these widths per level, finest first:
 * `blocks` + 5 tensors of a level's own width at once (one less where they are computed again), and three of the level
 * before where that is narrower.
 */
export function encoderStep(resolution: number, widths: readonly number[], blocks: number): StepActivations {
  const total = (tensors: number) =>
    widths.reduce((sum, width, i) => {
      const before = widths[i - 1] ?? width;
      const elements = (resolution / 2 ** i) ** 2 * (tensors * width + (before < width ? 3 * before : 0));
      return sum + elements * bytesPerElement("f32");
    }, 0);
  return { kept: total(blocks + 5), recomputed: total(blocks + 4) };
}

/**
 * Activations of a transformer pass over `rows` rows. On the CPU a block holds a dozen or so tensors of the model's width
 * and one of the MLP's; the logits come out twice (sliced). On WebGPU `tensors` of the model's width are alive at once,
 * one of the MLP's, and `logits` of the logits, which take the MLP's if they have the same size.
 */
export function transformerActivations(
  { rows, width, mlp, codes, tensors, logits }: {
    readonly rows: number;
    readonly width: number;
    readonly mlp: number;
    readonly codes: number;
    readonly tensors: number;
    readonly logits: number;
  },
): Pick<Activations, "perImage" | "largestTensor"> {
  const row = bytesPerElement("f32") * rows;
  const others = mlp === codes ? Math.max(1, logits) * mlp : mlp + logits * codes;
  return {
    perImage: { cpu: row * (16 * width + mlp + 2 * codes), webgpu: row * (tensors * width + others) },
    largestTensor: row * Math.max(width, mlp, codes),
  };
}
