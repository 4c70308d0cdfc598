/**
 * Statistics of the refined latents (attribution/signals/reconstruction.ts, `invert`) that an inverse decoder finds
 * for images of its own family: how far they are off, and how often every code occurs. Measured where the encoder is
 * trained and kept in its file; the quantiser reads it.
 */
import type { TensorInfo, TensorSource } from "./checkpoint/source.ts";
import type { TokenizerFacts } from "./family.ts";

/** What their shapes depend on. */
export type LatentShape = Pick<TokenizerFacts, "channels" | "codes" | "patchNums">;

/** How far an inverse decoder's refined latents are off, and how often every code occurs. */
export interface LatentStatistics {
  /**
   * Mean of e e' over images and the frequencies of a band, with e the orthonormal cosine transform of f - f_Z over the
   * pixels: [bands, c, c], every band's row-major, symmetric, positive definite. Per pixel where noise is white; an
   * encoder's errors are largest at the lowest frequencies.
   */
  readonly noise: Float32Array<ArrayBuffer>;
  /** Probability of every code by scale, [scales, codes] row-major: positive, every row's sum is 1. */
  readonly prior: Float32Array<ArrayBuffer>;
}

/**
 * Band of a frequency: 0 for the mean over all pixels, then octaves, each with the frequencies from 1, 2, 4, ... on.
 */
export function bandOf(vertical: number, horizontal: number): number {
  const highest = Math.max(vertical, horizontal);
  return highest === 0 ? 0 : Math.floor(Math.log2(highest)) + 1;
}

/** Number of bands of a square of that side. */
export const bandCount = (side: number): number => bandOf(side - 1, side - 1) + 1;

/** Names in an encoder's file. */
export const latentTensors: { readonly noise: string; readonly prior: string } = {
  noise: "latents.noise",
  prior: "latents.prior",
};

/** The tensors of an encoder's file that belong to no network. */
export const latentNames = /^latents\./;

/** Shapes by name for a tokenizer of several scales. */
export function latentShapes({ channels, codes, patchNums }: LatentShape): Map<string, readonly number[]> {
  return new Map([
    [latentTensors.noise, [bandCount(patchNums[patchNums.length - 1]), channels, channels]],
    [latentTensors.prior, [patchNums.length, codes]],
  ]);
}

/** Reads what a file has of it; null where it has nothing. Throws when only a part is there, or of another shape. */
export async function readLatentStatistics(
  source: TensorSource,
  shape: LatentShape,
): Promise<LatentStatistics | null> {
  const shapes = latentShapes(shape);
  const present = [...shapes.keys()].filter((name) => source.tensors.has(name));
  if (present.length === 0) return null;
  for (const [name, expected] of shapes) {
    const found = source.tensors.get(name);
    if (found?.shape.join() === expected.join()) continue;
    const got = found ? `[${found.shape}]` : "nothing";
    throw new Error(
      `${source.label}: ${name}: expected [${expected}], got ${got}; train the encoder for this tokenizer`,
    );
  }
  const noise = await source.readF32(latentTensors.noise), prior = await source.readF32(latentTensors.prior);
  checkLatentStatistics({ noise, prior }, shape, source.label);
  return { noise, prior };
}

/** A tokenizer's tensors with statistics that its file lacks. Closing the result closes `source`. */
export function withLatentStatistics(
  source: TensorSource,
  statistics: LatentStatistics,
  shape: LatentShape,
): TensorSource {
  const values = new Map([[latentTensors.noise, statistics.noise], [latentTensors.prior, statistics.prior]]);
  const tensors = new Map<string, TensorInfo>(source.tensors);
  for (const [name, size] of latentShapes(shape)) tensors.set(name, { name, shape: size, dtype: "f32" });
  return {
    label: source.label,
    tensors,
    readF32: (name) => values.has(name) ? Promise.resolve(values.get(name)!.slice()) : source.readF32(name),
    readF16: (name) => source.readF16(name),
    readI32: (name) => source.readI32(name),
    close: () => source.close(),
  };
}

/** Throws when the values cannot be what they should be. */
export function checkLatentStatistics({ noise, prior }: LatentStatistics, shape: LatentShape, label: string): void {
  const { channels: c, codes } = shape;
  for (const [name, size] of latentShapes(shape)) {
    const expected = size.reduce((product, n) => product * n, 1);
    const { length } = name === latentTensors.noise ? noise : prior;
    if (length === expected) continue;
    throw new Error(`${label}: ${name}: expected ${expected} values ([${size}]), got ${length}`);
  }
  for (let at = 0; at < noise.length; at++) {
    const onDiagonal = at % (c * c) % (c + 1) === 0;
    if (onDiagonal && !(noise[at] > 0 && noise[at] < Infinity)) {
      throw new Error(`${label}: ${latentTensors.noise}: expected variances above 0, got ${noise[at]}`);
    }
  }
  for (let s = 0; s * codes < prior.length; s++) {
    let sum = 0;
    for (const p of prior.subarray(s * codes, (s + 1) * codes)) sum += p > 0 ? p : NaN;
    if (!(Math.abs(sum - 1) < 1e-3)) {
      throw new Error(`${label}: ${latentTensors.prior}: expected probabilities above 0 whose sum is 1, got ${sum}`);
    }
  }
}
