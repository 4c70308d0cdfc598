// What can happen to an image, as JSON data, and the ranges of its numbers.

/** Filters of `resize`. All but `nearest` are Pillow's, which average when the image shrinks. */
export const resizeFilters = ["nearest", "box", "bilinear", "bicubic", "lanczos"] as const;

/** One of `resizeFilters`. */
export type ResizeFilter = typeof resizeFilters[number];

/** Chroma subsampling of a JPEG: one chroma sample for 2x2 pixels, or for each pixel. */
export type Subsampling = "4:2:0" | "4:4:4";

/** Where an image lies on a canvas. What lies outside of the canvas is cut off. */
export interface CanvasPlace {
  /** Of the image on the canvas, in pixels. Default: the middle. */
  readonly left?: number;
  /** As `left`. */
  readonly top?: number;
  /** `#rrggbb`. Default white. */
  readonly colour?: string;
}

/**
 * One thing that happens to an image between its maker and us, with all its parameters. The same edit of the same image
 * always gives the same pixels.
 *
 * - jpeg, webp: stored as such a file, `quality` 1..100; a JPEG has 4:2:0 by default
 * - noise: a normal number of standard deviation `levels` (0..255) is added to each byte, drawn from `seed`
 * - brightness, contrast, saturation: Pillow's ImageEnhance, `factor` 1 changes nothing
 * - palette: at most `colours` (2..256) colours, as writers of GIF and PNG-8 do it; `dither`: Floyd-Steinberg
 * - blur: Gaussian, `sigma` in pixels
 * - resize: both sides times `factor`, bicubic by default
 * - resizeBack: reduced to `ratio` of its sides and enlarged to the former size, bicubic
 * - mirror: left to right; turn: clockwise
 * - crop: pixels cut off each side
 * - shift: moved by x to the right and y down at the same size; border pixels are repeated
 * - canvas: pasted into a larger picture, `times` as wide and high, or of a given size
 * - grey: ITU-R 601
 */
export type Edit =
  | { readonly name: "jpeg"; readonly quality: number; readonly subsampling?: Subsampling }
  | { readonly name: "webp"; readonly quality: number }
  | { readonly name: "noise"; readonly levels: number; readonly seed: number }
  | { readonly name: "brightness"; readonly factor: number }
  | { readonly name: "contrast"; readonly factor: number }
  | { readonly name: "saturation"; readonly factor: number }
  | { readonly name: "palette"; readonly colours: number; readonly dither?: boolean }
  | { readonly name: "blur"; readonly sigma: number }
  | { readonly name: "resize"; readonly factor: number; readonly filter?: ResizeFilter }
  | { readonly name: "resizeBack"; readonly ratio: number }
  | { readonly name: "mirror" }
  | { readonly name: "turn"; readonly degrees: 90 | 180 | 270 }
  | CropEdit
  | { readonly name: "shift"; readonly x: number; readonly y: number }
  | CanvasEdit
  | { readonly name: "grey" };

/** Pixels cut off each side. */
export interface CropEdit {
  /** Of the edit. */
  readonly name: "crop";
  /** In pixels, at least 0. */
  readonly left: number;
  /** As `left`. */
  readonly top: number;
  /** As `left`. */
  readonly right: number;
  /** As `left`. */
  readonly bottom: number;
}

/** Pasted into a larger picture: `times` as wide and high as the image, or of `width` x `height` pixels. */
export type CanvasEdit =
  | { readonly name: "canvas"; readonly times: number } & CanvasPlace
  | { readonly name: "canvas"; readonly width: number; readonly height: number } & CanvasPlace;

/** Name of an edit. */
export type EditName = Edit["name"];

/** The edit of a name. */
export type EditOf<Name extends EditName> = Extract<Edit, { name: Name }>;

/** A range of numbers: lowest, highest, and whether they are whole. */
type Range = readonly [low: number, high: number, whole?: "whole"];

/** By parameter; the ranges that differ between edits stand under `edit.parameter`. */
const RANGES: Readonly<Record<string, Range>> = {
  quality: [1, 100, "whole"],
  levels: [0, 255],
  seed: [0, Number.MAX_SAFE_INTEGER, "whole"],
  factor: [0, 16],
  "resize.factor": [1 / 64, 64],
  colours: [2, 256, "whole"],
  sigma: [0.01, 100],
  ratio: [1 / 64, 1],
  x: [-65535, 65535, "whole"],
  y: [-65535, 65535, "whole"],
  times: [1, 64],
  width: [1, 65535, "whole"],
  height: [1, 65535, "whole"],
  "crop.left": [0, 65535, "whole"],
  "crop.top": [0, 65535, "whole"],
  right: [0, 65535, "whole"],
  bottom: [0, 65535, "whole"],
  left: [-65535, 65535, "whole"],
  top: [-65535, 65535, "whole"],
};

/** Choices of parameters that are no numbers. */
const CHOICES: Readonly<Record<string, readonly unknown[]>> = {
  subsampling: ["4:2:0", "4:4:4"],
  filter: resizeFilters,
  degrees: [90, 180, 270],
  dither: [true, false],
};

/** Returns the edit. Throws a RangeError that names parameter, range and value if a value is out of range. */
export function checkEdit<E extends Edit>(edit: E): E {
  for (const [parameter, value] of Object.entries(edit)) {
    if (parameter === "name" || value === undefined) continue;
    const expected = problemOf(edit.name, parameter, value);
    if (expected !== undefined) {
      throw new RangeError(`${edit.name}: expected ${parameter} ${expected}, got ${JSON.stringify(value)}`);
    }
  }
  return edit;
}

/** What was expected of a value; undefined if it is in range. */
function problemOf(name: EditName, parameter: string, value: unknown): string | undefined {
  if (parameter === "colour") return /^#[0-9a-f]{6}$/.test(String(value)) ? undefined : "#rrggbb in lower case";
  const choices = CHOICES[parameter];
  if (choices !== undefined) return choices.includes(value) ? undefined : `one of ${choices.join(", ")}`;
  const range = RANGES[`${name}.${parameter}`] ?? RANGES[parameter];
  if (range === undefined) return "not to be given";
  const [low, high, whole] = range;
  const isRight = typeof value === "number" && value >= low && value <= high && !(whole && !Number.isInteger(value));
  return isRight ? undefined : `${whole ? "as a whole number " : ""}of ${low} to ${high}`;
}
