/**
 * Draws images of a series with a loaded variant and its tokenizer: class, tokens, pixels and latent. generate.ts
 * chooses the images and writes them.
 */
import { affine, disposeAll, scope, slice, type Tensor } from "../core/tensor/mod.ts";
import type { ImageTokenizer, Variant } from "../models/family.ts";
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
