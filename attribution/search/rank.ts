/**
 * Ranks the poses of one image by passes of encoder and decoder alone, without token search or transformers.
 *
 * In the right pose, the tokenizer reproduces the known pixels and E(x) lies near codes; in all others, both are as bad
 * as for any image. So poses of one image are compared with each other: no threshold depends on the models. The
 * reconstruction is D(Q(E(x))) where a position has one token, and D(E(x)) where nearest codes of several scales are
 * mostly wrong ones. What the frame shows of pixels that are not known is filled in with it, over and over, while known
 * pixels stay as they are.
 */
import { type Device, disposeAll, fromArray, scope } from "../../core/tensor/mod.ts";
import type { ByFamily, FamilyName, ImageTokenizer } from "../../models/family.ts";
import { chunks } from "../../util/chunks.ts";
import { median } from "../../util/median.ts";
import type { RgbImage } from "../images/image.ts";
import { toValueRange } from "../images/load.ts";
import type { Pose } from "../images/pose.ts";
import { posedImage } from "../images/posed_image.ts";
import { preprocess } from "../images/preprocess.ts";
import { quantLoss, reconstruct } from "../signals/reconstruction.ts";
import type { Candidate, Candidates, SearchLevel } from "./candidates.ts";

/** A pose that fits a family better than the others that were tried. */
export interface FoundPose extends Candidate {
  /** Natural logarithm of its prior probability; of a full search, after the contrasts have narrowed the candidates. */
  readonly logPrior: number;
  /** The family that it fits. */
  readonly family: FamilyName;
  /** By how much its score lies below the median of comparable poses, in nats (`contrastOf`). */
  readonly contrast: number;
  /** [size, size, 3] in [0, 1], `size` being the family's. Unknown pixels are filled in. */
  readonly pixels: Float32Array;
}

/** Networks and sizes of a ranking. */
export interface RankOptions {
  readonly device: Device;
  readonly tokenizers: ByFamily<ImageTokenizer>;
  /** Poses per pass. */
  readonly batch: number;
  readonly level: SearchLevel;
  /** Called between passes. It may throw to end the search. */
  readonly onPass?: () => Promise<void>;
}

/** How many poses a level returns in all, and how many of them of one family. */
const foundLimit: Readonly<Record<SearchLevel, { all: number; family: number }>> = {
  quick: { all: 1, family: 1 },
  full: { all: 4, family: 2 },
};
/**
 * The least contrast of a pose that is returned: the best of five poses of photographs reaches it under a tokenizer in
 * less than a twentieth, the right one of mirrored images of the embedded set in all (docs/search.md).
 */
export const leastContrast = 0.25;
/**
 * Multiples of it: for poses without comparable ones, and for frames that lie partly beside the image, whose unknown
 * pixels make known ones easier or harder.
 */
const leastFactor = { unlike: 2, cropped: 1.4 };
/**
 * How much a nat of contrast says about which pose is the right one: contrasts of wrong poses have a standard deviation
 * of about a tenth, so this is little.
 */
const contrastWeight = 4;
/** How often unknown pixels are filled in. */
const fillRounds = 3;
/** Of so many poses of a family the best one is chosen after unknown pixels were filled in: which it is may change. */
const refinedPoses = 3;
/** Where more poses are tried of a family with one token per position, only so many, with the lowest QuantLoss, are decoded. */
const decodedPoses = 16;

/** A pose under test. */
interface Trial extends Candidate {
  quantLoss: number;
  /** Mean squared error of the reconstruction over known pixels. */
  error: number;
}

/** The candidates of an image, by the image size of the networks, and the best fits. */
export async function rankPoses(
  image: RgbImage,
  candidates: ReadonlyMap<number, Candidates>,
  options: RankOptions,
): Promise<FoundPose[]> {
  const limit = foundLimit[options.level];
  const found: FoundPose[] = [];
  for (const [family, tokenizer] of Object.entries(options.tokenizers)) {
    const { poses } = candidates.get(tokenizer.imageSize)!;
    const trials = poses.map((candidate): Trial => ({ ...candidate, quantLoss: Infinity, error: Infinity }));
    const tested = await testPoses(image, trials, tokenizer, options);
    const compared = tested.map((trial) => ({ trial, ...contrastOf(trial, tested, image) }));
    // A quick search tries few poses, whose priors stay as they are.
    const logPriorOf = options.level === "full" ? narrowed(trials, compared) : (trial: Trial) => trial.logPrior;
    const passing = compared
      .filter(({ contrast, least }) => contrast >= least)
      .sort((a, b) => b.contrast - a.contrast).slice(0, Math.max(limit.family, refinedPoses));
    const refined: { found: FoundPose; gain: number }[] = [];
    for (const { trial, contrast } of passing) {
      const { pixels, gain } = await refine(trial, image, tokenizer, options);
      const { pose } = trial;
      refined.push({ found: { pose, logPrior: logPriorOf(trial), family, contrast, pixels }, gain });
    }
    refined.sort((a, b) => b.found.contrast + b.gain - a.found.contrast - a.gain);
    found.push(...refined.slice(0, limit.family).map(({ found }) => found));
  }
  return withoutTwins(found.sort((a, b) => b.contrast - a.contrast)).slice(0, limit.all);
}

/** Of poses that fit several families, keeps the better fit. */
function withoutTwins(found: readonly FoundPose[]): FoundPose[] {
  return found.filter(({ pose }, i) => found.findIndex((other) => other.pose === pose) === i);
}

/** Lower is better. QuantLoss weighs less: a photograph's varies more from pose to pose than its error does. */
function scoreOf({ quantLoss, error }: Pick<Trial, "quantLoss" | "error">): number {
  return Math.log(error + 1e-12) + Math.log(quantLoss + 1e-12) / 4;
}

/**
 * By how much a pose's score lies below the median of other poses, and by how much it must: poses of the same frame,
 * which is as difficult in all of them; where there are fewer than two, those that show the same part of the image;
 * else all.
 */
function contrastOf(
  trial: Trial,
  tested: readonly Trial[],
  image: RgbImage,
): { readonly contrast: number; readonly least: number } {
  const others = tested.filter((other) => other !== trial);
  const part = visiblePart(trial.pose, image);
  const sameFrame = others.filter(({ pose }) => frameOf(pose) === frameOf(trial.pose));
  const samePart = others.filter(({ pose }) => visiblePart(pose, image) === part);
  const alike = [sameFrame, samePart].find(({ length }) => length > 1);
  const contrast = median((alike ?? others).map(scoreOf)) - scoreOf(trial);
  const factor = alike === undefined ? leastFactor.unlike : isWhole(trial.pose, image) ? 1 : leastFactor.cropped;
  return { contrast, least: factor * leastContrast };
}

/** Whether a frame lies within the image. */
function isWhole({ left, top, width, height }: Pose, image: RgbImage): boolean {
  return left >= 0 && top >= 0 && left + width <= image.width && top + height <= image.height;
}

/**
 * The logarithm of a pose's probability among all that were tried, after their contrasts are known: they share the same
 * prior probability in all, in proportion to prior x exp(contrastWeight x contrast). Poses that were not decoded count
 * with a contrast of 0.
 */
function narrowed(
  trials: readonly Trial[],
  compared: readonly { readonly trial: Trial; readonly contrast: number }[],
): (trial: Trial) => number {
  const contrasts = new Map(compared.map(({ trial, contrast }) => [trial, contrast]));
  const weightOf = (trial: Trial) => Math.exp(trial.logPrior + contrastWeight * (contrasts.get(trial) ?? 0));
  const prior = trials.reduce((sum, { logPrior }) => sum + Math.exp(logPrior), 0);
  const total = trials.reduce((sum, trial) => sum + weightOf(trial), 0);
  return (trial) => Math.log(prior * weightOf(trial) / total);
}

/** A frame as a text. */
function frameOf({ left, top, width, height }: Pose): string {
  return [left, top, width, height].join();
}

/** The part of the image that a frame shows, as a text. */
function visiblePart({ left, top, width, height }: Pose, image: RgbImage): string {
  const right = Math.min(image.width, left + width), bottom = Math.min(image.height, top + height);
  return [Math.max(0, left), Math.max(0, top), right, bottom].join();
}

/** Whether a tokenizer has one token per position, so that the nearest code is the right one. */
function isPlain(tokenizer: ImageTokenizer): boolean {
  return tokenizer.residual === null;
}

/** Measures poses under a tokenizer, and returns those that were decoded. */
async function testPoses(
  image: RgbImage,
  trials: Trial[],
  tokenizer: ImageTokenizer,
  options: RankOptions,
): Promise<Trial[]> {
  let rest = trials;
  const isNarrowed = isPlain(tokenizer) && trials.length > decodedPoses;
  for (const isLast of isNarrowed ? [false, true] : [true]) {
    for (const batch of chunks(rest, options.batch)) {
      const posed = batch.map(({ pose }) => posedImage(image, pose, tokenizer.imageSize));
      const pixels = posed.map(({ image }) => preprocess(image, tokenizer.imageSize));
      const { quantLosses, reconstructions } = await pass(pixels, tokenizer, options, isLast);
      batch.forEach((trial, i) => {
        trial.quantLoss = quantLosses[i];
        if (isLast) trial.error = errorOf(pixels[i], reconstructions[i], posed[i].known);
      });
    }
    if (!isLast) rest = rest.toSorted((a, b) => a.quantLoss - b.quantLoss).slice(0, decodedPoses);
  }
  return rest;
}

/**
 * The pixels of a pose that was found, filled in as they were then: [size, size, 3] in [0, 1], `size` being the
 * tokenizer's.
 */
export async function posedPixels(
  image: RgbImage,
  { pose, logPrior }: Candidate,
  tokenizer: ImageTokenizer,
  options: Pick<RankOptions, "device" | "onPass">,
): Promise<Float32Array> {
  const trial = { pose, logPrior, quantLoss: Infinity, error: Infinity };
  return (await refine(trial, image, tokenizer, options)).pixels;
}

/** A pose's pixels with unknown ones filled in, and by how much its score falls with them. A frame within the image gains 0. */
async function refine(
  trial: Trial,
  image: RgbImage,
  tokenizer: ImageTokenizer,
  options: Pick<RankOptions, "device" | "onPass">,
): Promise<{ pixels: Float32Array; gain: number }> {
  const posed = posedImage(image, trial.pose, tokenizer.imageSize);
  const pixels = preprocess(posed.image, tokenizer.imageSize);
  if (!posed.known.includes(0)) return { pixels, gain: 0 };
  let { quantLoss, error } = trial;
  for (let round = 0; round < fillRounds; round++) {
    const { quantLosses, reconstructions: [reconstruction] } = await pass([pixels], tokenizer, options, true);
    quantLoss = quantLosses[0];
    error = errorOf(pixels, reconstruction, posed.known);
    posed.known.forEach((isKnown, i) => {
      if (isKnown === 0) pixels.set(reconstruction.subarray(3 * i, 3 * i + 3), 3 * i);
    });
  }
  return { pixels, gain: scoreOf(trial) - scoreOf({ quantLoss, error }) };
}

/** Pixels in [0, 1] -> their QuantLoss with the nearest codes, and reconstructions in [0, 1] unless `decode` is false. */
async function pass(
  pixels: readonly Float32Array[],
  tokenizer: ImageTokenizer,
  { device, onPass }: Pick<RankOptions, "device" | "onPass">,
  decode: boolean,
): Promise<{ quantLosses: Float32Array; reconstructions: Float32Array[] }> {
  await onPass?.();
  const { imageSize: size, valueRange: [low, high] } = tokenizer;
  const values = toValueRange(pixels, [low, high]);
  const tensors = scope(() => {
    const f = tokenizer.encode(fromArray(device, values, [pixels.length, size, size, 3]));
    const { fHat } = tokenizer.quantize(f);
    const losses = quantLoss(f, fHat);
    return decode ? [losses, reconstruct(tokenizer, isPlain(tokenizer) ? fHat : f)] : [losses];
  });
  try {
    const [quantLosses, decoded = new Float32Array()] = await Promise.all(tensors.map((tensor) => tensor.data()));
    const unit = new Float32Array(decoded.length);
    for (let i = 0; i < unit.length; i++) unit[i] = (decoded[i] - low) / (high - low);
    const length = size * size * 3;
    const reconstructions = decode ? pixels.map((_, i) => unit.subarray(i * length, (i + 1) * length)) : [];
    return { quantLosses, reconstructions };
  } finally {
    disposeAll(tensors);
  }
}

/** Mean squared difference over known pixels. */
function errorOf(pixels: Float32Array, reconstruction: Float32Array, known: Uint8Array): number {
  let sum = 0, count = 0;
  for (let i = 0; i < known.length; i++) {
    if (known[i] === 0) continue;
    count++;
    for (let at = 3 * i; at < 3 * i + 3; at++) sum += (reconstruction[at] - pixels[at]) ** 2;
  }
  return sum / (3 * count);
}
