// Tables of edits: by which the tool is judged, by which it is calibrated, and which move an image off its grid.

import { philox } from "../../../core/tensor/mod.ts";
import type { Edit } from "./edit.ts";
import { parseEdits } from "./text.ts";

/** Edits with a name. */
export interface Processing {
  /** For tables and options. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** In order. */
  readonly edits: readonly Edit[];
}

/** What images in the world have gone through: the rows of the tables by processing. */
export const standardProcessings: readonly Processing[] = [
  processing("none", "as generated", "none"),
  processing("jpeg95", "JPEG 95", "jpeg:95"),
  processing("jpeg90", "JPEG 90", "jpeg:90"),
  processing("jpeg75", "JPEG 75", "jpeg:75"),
  processing("webp80", "WebP 80", "webp:80"),
  processing("noise2", "noise of 2 levels", "noise:2"),
  processing("brightness110", "brightness +10 %", "brightness:1.1"),
  processing("palette64", "64 colours", "palette:64"),
  processing("enlarged2", "enlarged 2x", "resize:2"),
  processing("enlarged4-jpeg90", "enlarged 4x, JPEG 90", "resize:4,jpeg:90"),
  processing("reduced75", "reduced to 75 % and back", "resizeBack:0.75"),
  processing("mirrored", "mirrored", "mirror"),
  processing("turned90", "turned by 90 degrees", "turn:90"),
  processing("cropped3", "3 pixels cropped off each side", "crop:3"),
  processing("canvas3", "in a canvas three times as wide and high", "canvas:3"),
];

/** The standard processing of a name. Throws a RangeError that lists the names. */
export function standardProcessing(name: string): Processing {
  const found = standardProcessings.find((row) => row.name === name);
  if (found !== undefined) return found;
  const names = standardProcessings.map((row) => row.name).join(", ");
  throw new RangeError(`processing: expected one of ${names}, got ${name}`);
}

/** A kind of processing of the ladder. */
export type LadderKind =
  | "jpeg"
  | "jpeg444"
  | "webp"
  | "noise"
  | "brightness"
  | "contrast"
  | "saturation"
  | "palette"
  | "dither"
  | "blur"
  | "enlarged"
  | "reduced";

/**
 * What images are processed with for calibration: by kind, edits of one step each, from weak to strong or from low to
 * high. Kinds leave the picture where it is. `noise` has the seed 0 here; drawEdits() draws it.
 */
export const ladder: Readonly<Record<LadderKind, readonly Edit[]>> = {
  jpeg: steps("jpeg:", [98, 95, 92, 90, 85, 80, 75, 70, 60, 50]),
  jpeg444: [95, 90, 85, 75].flatMap((quality) => parseEdits(`jpeg:${quality}:444`)),
  webp: steps("webp:", [95, 90, 85, 80, 75, 65, 50]),
  noise: steps("noise:", [0.5, 1, 1.5, 2, 3, 4]),
  brightness: steps("brightness:", [0.8, 0.87, 0.93, 1.07, 1.15, 1.25]),
  contrast: steps("contrast:", [0.8, 0.87, 0.93, 1.07, 1.15, 1.25]),
  saturation: steps("saturation:", [0.8, 0.9, 1.1, 1.25]),
  palette: steps("palette:", [256, 128, 96, 64, 32, 16]),
  dither: [256, 128, 64].flatMap((colours) => parseEdits(`palette:${colours}:dither`)),
  blur: steps("blur:", [0.3, 0.4, 0.5, 0.7, 1]),
  enlarged: [1.25, 1.5, 2, 3, 4].flatMap((factor) =>
    ["bilinear", "bicubic", "lanczos", "nearest"].flatMap((filter) => parseEdits(`resize:${factor}:${filter}`))
  ),
  reduced: steps("resizeBack:", [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6]),
};

/** The kinds of the ladder. */
export const ladderKinds: readonly LadderKind[] = Object.keys(ladder) as LadderKind[];

/** Kinds that come first in a combination of two, and those that come second: files are written last. */
const FIRST: readonly LadderKind[] = ["brightness", "contrast", "saturation", "blur", "enlarged", "reduced", "jpeg"];
const SECOND: readonly LadderKind[] = ["jpeg", "jpeg", "webp", "noise", "palette"];

/** How edits are drawn. */
export interface DrawOptions {
  /** Kinds to draw from. Default all. */
  readonly kinds?: readonly LadderKind[];
  /** Probability of a combination of two. Default 0.25. */
  readonly combined?: number;
}

/**
 * Draws the edits of the `index`-th processed copy: a kind, then one of its steps, both uniformly. The draw has no
 * state and knows nothing of the image. So generated images and outliers of equal numbers are processed alike.
 *
 * `seed` and `index` are integers from 0 to 2^53 - 1. Throws a RangeError otherwise, and for an unknown or no kind.
 */
export function drawEdits(
  seed: number,
  index: number,
  { kinds = ladderKinds, combined = 0.25 }: DrawOptions = {},
): readonly Edit[] {
  const words = draw("drawEdits", seed, index, LADDER_STREAM);
  const noiseSeed = words[3];
  const step = (from: readonly LadderKind[], kindWord: number, stepWord: number): Edit => {
    const edit: Edit = pick<Edit>(ladder[pick(from, kindWord)], stepWord);
    return edit.name === "noise" ? { ...edit, seed: noiseSeed } : edit;
  };
  const unknown = kinds.find((kind) => !ladderKinds.includes(kind));
  if (unknown !== undefined || kinds.length === 0) {
    throw new RangeError(`drawEdits: expected kinds of ${ladderKinds.join(", ")}, got ${unknown ?? "none"}`);
  }
  const first = kinds.filter((kind) => FIRST.includes(kind)), second = SECOND.filter((kind) => kinds.includes(kind));
  if (words[0] / 2 ** 32 >= combined || first.length === 0 || second.length === 0) {
    return [step(kinds, words[1], words[2])];
  }
  const more = draw("drawEdits", seed, index, SECOND_STREAM);
  return [step(first, words[1], words[2]), step(second, more[0], more[1])];
}

/**
 * Edits that keep an image's size and content but move it off the model's grid: mirrored, turned, shifted. A shift has
 * an odd part, so that it leaves every grid of an even stride.
 */
export const wrongPoses: readonly (readonly Edit[])[] = [
  ...["mirror", "turn:90", "turn:180", "turn:270", "mirror,turn:90", "mirror,turn:180", "mirror,turn:270"]
    .map(parseEdits),
  ...shifts(7).map((edit) => [edit]),
];

/**
 * Draws the `index`-th wrong pose: with equal chances mirrored or turned, shifted, or both. Seed and index are as for
 * drawEdits().
 */
export function drawWrongPose(seed: number, index: number): readonly Edit[] {
  const words = draw("drawWrongPose", seed, index, POSE_STREAM);
  const turned = pick(wrongPoses.slice(0, 7), words[1]), shifted = pick(wrongPoses.slice(7), words[2]);
  return pick([turned, shifted, [...turned, ...shifted]], words[0]);
}

/** All shifts by up to `reach` pixels in x and y of which one is odd. */
function shifts(reach: number): Edit[] {
  const range = Array.from({ length: 2 * reach + 1 }, (_, i) => i - reach);
  return range.flatMap((y) =>
    range.filter((x) => x % 2 !== 0 || y % 2 !== 0).map((x): Edit => ({ name: "shift", x, y }))
  );
}

/** The random streams of this file. */
const LADDER_STREAM = 0x6c616464, SECOND_STREAM = 0x6c616432, POSE_STREAM = 0x706f7365; // "ladd", "lad2", "pose"

function draw(operation: string, seed: number, index: number, stream: number): Uint32Array {
  for (const [name, value] of Object.entries({ seed, index })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(`${operation}: expected ${name} as a whole number of at least 0, got ${value}`);
    }
  }
  const words = new Uint32Array(4);
  philox(seed, stream, index, words);
  return words;
}

function pick<T>(choices: readonly T[], word: number): T {
  return choices[Math.trunc((word / 2 ** 32) * choices.length)];
}

function processing(name: string, title: string, text: string): Processing {
  return { name, title, edits: parseEdits(text) };
}

function steps(prefix: string, strengths: readonly number[]): readonly Edit[] {
  return strengths.flatMap((strength) => parseEdits(`${prefix}${strength}`));
}
