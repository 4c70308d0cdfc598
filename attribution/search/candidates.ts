/**
 * The poses that the geometry search tries, with their prior probabilities: hypotheses about what happened to a
 * generated image before it was stored. Pure functions of pixels; rank.ts measures which of the poses fits.
 */
import type { RgbImage } from "../images/image.ts";
import type { Pose } from "../images/pose.ts";
import { canonicalJson } from "../../util/json.ts";
import { type Rectangle, seamedSquares, trimmedPicture } from "./rectangles.ts";

/** How much a search may cost: `quick` at most twice an image that is not searched, `full` at most ten times. */
export type SearchLevel = "quick" | "full";

/** All that `--search` takes. */
export const searchLevels = ["off", "quick", "full"] as const;

/** A pose to try. */
export interface Candidate {
  /** The pose. */
  readonly pose: Pose;
  /** Natural logarithm of its prior probability. */
  readonly logPrior: number;
}

/**
 * The poses to try for an image. The prior probabilities of all poses that were thought of add up to 1, those of the
 * image as it is and of the candidates to less where some were left out.
 */
export interface Candidates {
  /** Logarithm of the prior probability that the model made the image as it is, or resized. */
  readonly logPriorAsItIs: number;
  /** The likeliest first. */
  readonly poses: readonly Candidate[];
}

/** How many candidates a level tries. */
export const candidateLimit: Readonly<Record<SearchLevel, number>> = { quick: 5, full: 56 };
/** How many squares with seams a level looks at, their sides over the native one, and in how many pixels it looks for them. */
const seamLimit = {
  quick: { squares: 2, factors: [1], pixels: 2 ** 18 },
  full: { squares: 4, factors: [1, 2], pixels: 2 ** 21 },
};

/** A frame that shows an image upright or not, with its weight before weights are made to add up to 1. */
type Frame = Rectangle & { readonly weight: number };
/** The eight symmetries of a square. Most images are neither mirrored nor turned; phones mirror, viewers turn. */
const symmetries: readonly (Pick<Pose, "turn" | "mirror"> & { readonly weight: number })[] = [
  { turn: 0, mirror: false, weight: 0.7 },
  { turn: 0, mirror: true, weight: 0.1 },
  { turn: 90, mirror: false, weight: 0.05 },
  { turn: 270, mirror: false, weight: 0.05 },
  { turn: 180, mirror: false, weight: 0.04 },
  { turn: 180, mirror: true, weight: 0.04 },
  { turn: 90, mirror: true, weight: 0.01 },
  { turn: 270, mirror: true, weight: 0.01 },
];
/** Weights of the kinds of frames. `moved`: a border within an image of the native size, as a shift leaves it. */
const weights = { whole: 1, cropped: 1.5, picture: 3, moved: 0.5, seams: 3, shifted: 0.2 };
/** Of a cropped picture: that as much was cut off opposite sides, and that nothing was cut off two sides at a corner. */
const shares = { cropped: { centred: 0.7, corner: 0.02 }, moved: { centred: 0.1, corner: 0.2 } };
/** A picture that lacks at most this share of its side was cropped, not reduced. */
const largestCrop = 1 / 8;
/** Where more of a side was lost by reducing a picture before it was pasted, no traces are left. */
const largestReduction = 1 / 3;
/** Largest shift against the token grid that is tried without any trace of a border, in pixels. */
const largestShift = 3;

/**
 * The poses to try for an image and networks of images of size x size pixels. The square in the middle, upright, is the
 * image as it is, not a candidate.
 */
export function candidatePoses(image: RgbImage, size: number, level: SearchLevel): Candidates {
  const asItIs: Pose = { ...centralSquare({ left: 0, top: 0, ...sizeOf(image) }), turn: 0, mirror: false };
  const weightOf = new Map<string, { pose: Pose; weight: number }>();
  for (const { weight, ...frame } of framesOf(image, size, level)) {
    for (const { weight: share, ...symmetry } of symmetries) {
      const pose = { ...frame, ...symmetry };
      const key = canonicalJson(pose);
      weightOf.set(key, { pose, weight: weight * share + (weightOf.get(key)?.weight ?? 0) });
    }
  }
  const all = [...weightOf.values()];
  const total = all.reduce((sum, { weight }) => sum + weight, 0);
  const key = canonicalJson(asItIs);
  const logPriorAsItIs = Math.log(weightOf.get(key)!.weight / total);
  weightOf.delete(key);
  const poses = [...weightOf.values()].sort((a, b) => b.weight - a.weight).slice(0, candidateLimit[level])
    .map(({ pose, weight }) => ({ pose, logPrior: Math.log(weight / total) }));
  return { logPriorAsItIs, poses };
}

/** The frames in which the native image may lie, with their weights. */
function framesOf(image: RgbImage, size: number, level: SearchLevel): Frame[] {
  const whole = { left: 0, top: 0, ...sizeOf(image) };
  const square = { ...centralSquare(whole), weight: weights.whole };
  const frames: Frame[] = [...croppedFrames(whole, size, weights.cropped)];
  // A cropped image, resized, fits no model: the whole of it is a frame only if it was reduced.
  frames.push(frames.length > 0 ? { ...square, weight: weights.whole / 5 } : square);
  const picture = trimmedPicture(image);
  const isNative = image.width === size && image.height === size;
  if (picture !== undefined && isNative) frames.push(...croppedFrames(picture, size, weights.moved, shares.moved));
  else if (picture !== undefined) frames.push(...pictureFrames(picture, size));
  const { squares, pixels, factors } = seamLimit[level];
  if (image.width * image.height <= pixels) {
    const found = factors.flatMap((factor) => seamedSquares(image, factor * size, squares));
    const total = found.reduce((sum, { strength }) => sum + strength, 0);
    for (const { rectangle, strength } of found) {
      frames.push({ ...rectangle, weight: weights.seams * strength / total });
    }
  }
  if (level === "full" && isNative) frames.push(...shiftedFrames(size));
  return frames;
}

/** The frames of a picture that was found within an image. */
function pictureFrames(picture: Rectangle, size: number): Frame[] {
  const { width, height } = picture;
  if (width === size && height === size) return [{ ...picture, weight: weights.picture }];
  const cropped = croppedFrames(picture, size, weights.picture);
  if (cropped.length > 0) return cropped;
  const isSquare = Math.abs(width - height) <= Math.max(width, height) / 16;
  if (Math.min(width, height) < size * (1 - largestReduction)) return [];
  return isSquare
    ? [{ ...picture, weight: weights.picture }]
    : [{ ...centralSquare(picture), weight: weights.picture / 5 }];
}

/**
 * The native frames of which a picture shows all but a few rows and columns: every offset, the centred one first. None
 * if the picture is not a bit smaller than a native image.
 */
function croppedFrames(
  { left, top, width, height }: Rectangle,
  size: number,
  weight: number,
  { centred: middleShare, corner: cornerShare } = shares.cropped,
): Frame[] {
  const right = size - width, down = size - height;
  const most = size * largestCrop;
  if (right < 0 || down < 0 || right > most || down > most || right + down === 0) return [];
  const middle = [Math.floor(right / 2), Math.floor(down / 2)];
  const rest = 1 - middleShare - 4 * cornerShare;
  const even = rest / ((right + 1) * (down + 1));
  const frames: Frame[] = [];
  for (let y = 0; y <= down; y++) {
    for (let x = 0; x <= right; x++) {
      const corners = (x === 0 ? 1 : 0) + (x === right ? 1 : 0);
      const ends = (y === 0 ? 1 : 0) + (y === down ? 1 : 0);
      const centred = x === middle[0] && y === middle[1] ? middleShare : 0;
      const share = even + cornerShare * corners * ends + centred;
      frames.push({ left: left - x, top: top - y, width: size, height: size, weight: weight * share });
    }
  }
  return frames;
}

/** Frames moved by a few pixels: parts of the native image were lost at a side or two, something else is at the others. */
function shiftedFrames(size: number): Frame[] {
  const steps = Array.from({ length: 2 * largestShift + 1 }, (_, i) => i - largestShift);
  const moved = steps.flatMap((top) => steps.map((left) => ({ left, top }))).filter(({ left, top }) => left || top);
  return moved.map(({ left, top }) => ({
    left,
    top,
    width: size,
    height: size,
    weight: weights.shifted / moved.length,
  }));
}

/** The square in the middle, as images are resized to the networks' size (images/preprocess.ts). */
function centralSquare({ left, top, width, height }: Rectangle): Rectangle {
  const side = Math.min(width, height);
  return { left: left + (width - side) / 2, top: top + (height - side) / 2, width: side, height: side };
}

function sizeOf({ width, height }: RgbImage): { width: number; height: number } {
  return { width, height };
}
