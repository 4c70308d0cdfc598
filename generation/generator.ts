/**
 * Draws images of a series with a loaded variant and its tokenizer: class, tokens, pixels and latent. generate.ts
 * chooses the images and writes them.
 */
import { affine, type Device, disposeAll, scope, slice, type Tensor } from "../core/tensor/mod.ts";
import { kernelBytes } from "../models/footprint.ts";
import type { ImageTokenizer, Variant } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";
import { seriesSeed } from "../models/sampling.ts";
import { toRgbImage } from "../attribution/images/augment/mod.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { classOf, type Series } from "./settings.ts";

/** An image in memory. */
export interface GeneratedImage {
  /** Index in its series. */
  readonly index: number;
  /** Null for none. */
  readonly class: number | null;
  /** In the order of `ImageTokenizer.quantize`. */
  readonly tokens: Int32Array;
  /** The decoded image, clamped and truncated to bytes as in the official repositories, or rounded by `roundBytes`. */
  readonly image: RgbImage;
  /** The input of the decoder, [channels, side, side] as in PyTorch; only with `latents`. */
  readonly latent?: Latent;
}

/** A latent on the host. */
export interface Latent {
  /** [channels, side, side]. */
  readonly shape: readonly number[];
  /** Row-major. */
  readonly values: Float32Array;
}

/** How a batch is drawn. */
export interface BatchOptions {
  /** Return latents, too. Default false. */
  readonly latents?: boolean;
  /** Called with the finished share of the batch, 0 to 1. */
  readonly onProgress?: (share: number) => void;
  /** Aborting it rejects with its reason before the next step. */
  readonly signal?: AbortSignal;
}

/** Images per pass. */
export interface BatchSizes {
  /** Images drawn at once. */
  readonly generate: number;
  /** Images decoded at once. */
  readonly decode: number;
}

/** The transformer's approximate share of the time for a batch, for progress reports. */
const transformerShare = 0.7;

/** Draws and decodes images of one variant. The caller loads and disposes the networks. */
export class Generator {
  /** A generator on loaded networks. */
  constructor(readonly tokenizer: ImageTokenizer, readonly variant: Variant, readonly sizes: BatchSizes) {}

  /**
   * Draws the images of a series with these indices, at most `sizes.generate`. Throws the signal's reason when aborted.
   */
  async batch(series: Series, images: readonly number[], options: BatchOptions = {}): Promise<GeneratedImage[]> {
    const { latents = false, onProgress, signal } = options;
    const labels = images.map((image) => classOf(series, image, this.variant.classes));
    const { tokens, fHat } = await this.variant.generate(this.tokenizer, series.sampler, {
      labels,
      images,
      seed: seriesSeed(series.seed, series.variant),
      argmax: series.argmax,
      moreSmooth: series.moreSmooth,
      signal,
      onProgress: (share) => onProgress?.(transformerShare * share),
    });
    try {
      const codes = await tokens.ints();
      const perImage = codes.length / images.length;
      const made: GeneratedImage[] = [];
      for (let start = 0; start < images.length; start += this.sizes.decode) {
        signal?.throwIfAborted();
        const end = Math.min(images.length, start + this.sizes.decode);
        const part = scope(() => slice(fHat, 0, start, end));
        const pictures = await this.#decode(part, series, images.slice(start, end));
        const values = latents ? toChannelsFirst(await part.data(), part.shape) : undefined;
        part.dispose();
        for (let i = start; i < end; i++) {
          made.push({
            index: images[i],
            class: labels[i],
            tokens: codes.slice(i * perImage, (i + 1) * perImage),
            image: pictures[i - start],
            latent: values?.[i - start],
          });
        }
        onProgress?.(transformerShare + (1 - transformerShare) * end / images.length);
      }
      return made;
    } finally {
      disposeAll([tokens, fHat]);
    }
  }

  async #decode(
    fHat: Tensor,
    { variant, roundBytes = false }: Series,
    indices: readonly number[],
  ): Promise<RgbImage[]> {
    const { imageSize: size, valueRange: [low, high] } = this.tokenizer;
    const half = roundBytes ? 0.5 / 255 : 0; // toRgbImage() truncates
    const pixels = scope(() => affine(this.tokenizer.decode(fHat), 1 / (high - low), -low / (high - low) + half));
    const values = await pixels.data();
    pixels.dispose();
    const length = size * size * 3;
    return indices.map((index, i) => {
      const data = values.subarray(i * length, (i + 1) * length);
      if (data.some(Number.isNaN)) {
        throw new Error(`${variant}: image ${index} has pixels that are not numbers; are the weights damaged?`);
      }
      return toRgbImage({ width: size, height: size, data });
    });
  }
}

/** Converts values [batch, h, w, c] to a latent [c, h, w] per image. */
function toChannelsFirst(values: Float32Array, [batch, h, w, c]: readonly number[]): Latent[] {
  const length = h * w * c;
  return Array.from({ length: batch }, (_, b) => {
    const out = new Float32Array(length);
    for (let i = 0; i < h * w; i++) for (let k = 0; k < c; k++) out[k * h * w + i] = values[b * length + i * c + k];
    return { shape: [c, h, w], values: out };
  });
}

/** Larger batches are not faster. */
const maxImages = 64;

/**
 * Plans how many images fit into `memoryBytes` beside the weights. Throws, with the bytes needed, when not even one
 * does. An image takes two rows, conditional and unconditional, each with its condition, activations, keys and values.
 */
export function planBatch(
  set: ModelSet,
  device: Device,
  variant: string,
  memoryBytes: number,
  weightType: "f32" | "f16" = "f32",
): BatchSizes {
  const family = set.familyOf(variant);
  const transformer = set.footprint(device, { family, variant }, weightType);
  const tokenizer = set.footprint(device, { family }, weightType);
  const { tokenCount, codes, generation } = set.variantFacts(variant);
  // Temporary tensors of models/sampling.ts, which works on at most 2^21 logits at a time.
  const drawing = 24 * Math.min(2 ** 21, tokenCount * codes) * 4 + tokenCount * codes * 4;
  const perImage = 2 * (transformer.condition + generation.steps[device.info.kind] + generation.cacheBytes);
  const brief = kernelBytes[device.info.kind] + drawing;
  const fixed = transformer.weights + tokenizer.weights + Math.max(transformer.loading, brief);
  const left = memoryBytes - fixed;
  const fits = (bytes: number, largest: number) =>
    Math.min(maxImages, Math.floor(left / bytes), Math.floor(device.info.maxTensorBytes / largest));
  const sizes = {
    generate: fits(perImage, 2 * Math.max(transformer.largestTensor, generation.largestTensor)),
    decode: fits(tokenizer.perImage, tokenizer.largestTensor),
  };
  if (sizes.generate >= 1 && sizes.decode >= 1) return sizes;
  const needed = fixed + Math.max(perImage, tokenizer.perImage);
  throw new Error(
    `--memory: ${variant} needs at least ${mebibytes(needed)} (${mebibytes(fixed)} of it for weights), ` +
      `got ${mebibytes(memoryBytes)}; --weight-type f16 halves the weights`,
  );
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
