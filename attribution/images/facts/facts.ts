/**
 * What can be seen of an image's history in its file and pixels: how it was stored, and traces of what happened to it
 * before. Facts do not say who made an image; the decision uses them to compare an image with its like.
 */
import * as v from "npm:valibot@1.5.0";

/** How a file stores an image. */
export interface FileFacts {
  /** By content, not by name. */
  readonly format: "png" | "jpeg" | "webp";
  /**
   * Of a JPEG: quality by libjpeg's rule from the quantisation tables, 1 to 100, null for tables of other programs; the
   * quality whose luma table is nearest; chroma subsampling such as `4:2:0`, `1` for a single channel.
   */
  readonly jpeg?: {
    readonly quality: number | null;
    readonly nearestQuality?: number;
    readonly subsampling: string;
    readonly progressive: boolean;
  };
  /** Of a WebP: whether it is stored without loss. */
  readonly lossless?: boolean;
  /** Bits per channel. */
  readonly depth: number;
  /** Whether there is an alpha channel, or a transparent colour. */
  readonly transparency: boolean;
  /** Number of pictures in the file; more than 1 for animations. */
  readonly pictures: number;
  /** EXIF orientation, 1 to 8. Absent without one. */
  readonly orientation?: number;
  /** The program that wrote the file, as its metadata say. Absent without one. */
  readonly software?: string;
}

/** How bytes were changed: v' = gain v + offset. */
export interface Levels {
  /** Above 0; above 1 for more contrast or a brighter image. */
  readonly gain: number;
  /** In byte levels. */
  readonly offset: number;
  /** Whether values were rounded to the nearest byte; else their fractions were cut off, as Pillow does. */
  readonly rounded: boolean;
}

/** Why nothing can be measured of an image. */
export type Unsuitable = "too-small" | "no-texture" | "too-elongated";

/**
 * Facts about an image. All are computed from bytes and pixels alone.
 *
 * @example
 * ```ts
 * import { type ImageFacts } from "@model-tracer/model-tracer";
 *
 * const facts: ImageFacts = { colours: 64, noise: 0.4, contrast: 31 };
 * console.log(facts.colours < 257 ? "few colours" : "many colours");
 * ```
 */
export interface ImageFacts {
  /** Version of the rules by which the facts were found. */
  readonly version?: number;
  /** Absent for images that were given as pixels. */
  readonly file?: FileFacts;
  /**
   * An earlier JPEG compression of what is now stored without loss, or again as JPEG: its quality, null where it cannot
   * be told, how strong its traces are, 0 to 1, and where the grid of its blocks begins, 0 to 7 pixels from the left
   * and from the top (other than 0 after a crop). Absent without traces.
   */
  readonly earlierJpeg?: {
    readonly quality: number | null;
    readonly strength: number;
    readonly grid?: { readonly left: number; readonly top: number };
  };
  /** An earlier WebP compression with loss of what is now stored without loss: how strong its traces are, 0 to 1. */
  readonly earlierWebp?: { readonly strength: number };
  /**
   * Traces of resampling: by which factor the image was enlarged, null where it cannot be told; how strong they are, 0
   * to 1; and what they are, a rhythm in which pixels follow from their neighbours, or that there is no fine detail
   * (which blurring removes as well). Absent without traces.
   */
  readonly resampling?: {
    readonly factor: number | null;
    readonly strength: number;
    readonly kind?: "rhythm" | "no-detail";
  };
  /**
   * A change of brightness or contrast in bytes, v' = gain v + offset, rounded or cut off. Absent without one. It is
   * undone before the image is measured.
   */
  readonly levels?: Levels;
  /**
   * The spatial frequency, in cycles per pixel up to 0.5, below which 95 % of the detail lies. Absent for images
   * without detail, and for those of fewer than 64 pixels on both sides.
   */
  readonly bandwidth?: number;
  /** The picture within an added canvas of one colour, in pixels of the stored image. Absent without a canvas. */
  readonly picture?: { readonly left: number; readonly top: number; readonly width: number; readonly height: number };
  /**
   * Where the networks take images of several sizes: the size at which the image is judged, by which rule it was chosen
   * (native_size.ts), and the sizes at which it is not judged. Absent where all take one size.
   */
  readonly native?: {
    readonly size: number;
    readonly by: "exact" | "picture" | "enlargement" | "multiple" | "nearest";
    readonly others: readonly number[];
  };
  /** Number of different colours, counted up to 65536. */
  readonly colours: number;
  /** Standard deviation of luma's noise, in byte levels, estimated from the smoothest parts. */
  readonly noise: number;
  /** Standard deviation of grey levels, 0 to 127.5. */
  readonly contrast: number;
  /** Why nothing can be measured of the image. Absent where it can. */
  readonly unsuitable?: Unsuitable;
}

const positive = v.pipe(v.number(), v.gtValue(0));
const nonNegative = v.pipe(v.number(), v.minValue(0));
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const quality = v.nullable(v.pipe(v.number(), v.minValue(1), v.maxValue(100)));

const fileSchema: v.GenericSchema<unknown, FileFacts> = v.object({
  format: v.picklist(["png", "jpeg", "webp"]),
  jpeg: v.optional(v.object({
    quality,
    nearestQuality: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(100))),
    subsampling: v.string(),
    progressive: v.boolean(),
  })),
  lossless: v.optional(v.boolean()),
  depth: count,
  transparency: v.boolean(),
  pictures: count,
  orientation: v.optional(count),
  software: v.optional(v.string()),
});

/** Checks `ImageFacts`. */
export const imageFactsSchema: v.GenericSchema<unknown, ImageFacts> = v.object({
  version: v.optional(count),
  file: v.optional(fileSchema),
  earlierJpeg: v.optional(v.object({
    quality,
    strength: nonNegative,
    grid: v.optional(v.object({ left: count, top: count })),
  })),
  earlierWebp: v.optional(v.object({ strength: nonNegative })),
  resampling: v.optional(v.object({
    factor: v.nullable(positive),
    strength: nonNegative,
    kind: v.optional(v.picklist(["rhythm", "no-detail"])),
  })),
  levels: v.optional(v.object({ gain: positive, offset: v.number(), rounded: v.boolean() })),
  bandwidth: v.optional(nonNegative),
  picture: v.optional(v.object({ left: count, top: count, width: count, height: count })),
  native: v.optional(v.object({
    size: count,
    by: v.picklist(["exact", "picture", "enlargement", "multiple", "nearest"]),
    others: v.array(count),
  })),
  colours: count,
  noise: nonNegative,
  contrast: nonNegative,
  unsuitable: v.optional(v.picklist(["too-small", "no-texture", "too-elongated"])),
});
