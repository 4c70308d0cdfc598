/** Schemas of numbers that configurations are made of. */
import * as v from "npm:valibot@1.5.0";

/** A whole number of at least 1. */
export const count = v.pipe(v.number(), v.integer("a whole number"), v.minValue(1, "at least 1"));

/** A whole number from 1 to `max`: a size that memory or a loop depends on. */
export function countTo(max: number) {
  return v.pipe(count, v.maxValue(max, `at most ${max}`));
}

/** 1 to `maxLength` whole numbers from 1 to `max`. */
export function countsTo(max: number, maxLength: number) {
  return v.pipe(
    v.array(countTo(max)),
    v.minLength(1, "at least one number"),
    v.maxLength(maxLength, `at most ${maxLength} numbers`),
  );
}

/**
 * The largest sizes that a manifest may ask for. They are far above those of published networks, and small enough that
 * a set with them is refused or read in seconds.
 */
export const maxima = {
  /** Blocks of a transformer. */
  depth: 1024,
  /** Residual blocks per resolution of a tokenizer. */
  blocks: 64,
  /** Resolutions of a tokenizer. */
  resolutions: 12,
  /** Factor by which a resolution has more channels than the first one. */
  multiplier: 64,
  /** Channels, width, and groups or heads that divide them. */
  width: 2 ** 16,
  /** Codes of a codebook. */
  codes: 2 ** 20,
  classes: 2 ** 20,
  /** Side of an image in pixels. */
  resolution: 8192,
  /** Scales of an image, and shared convolutions. */
  scales: 64,
  /** Side of a square of tokens. */
  side: 256,
} as const;

/** A number above 0. */
export const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));
