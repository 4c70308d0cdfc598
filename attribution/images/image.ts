// The image that every decoder returns, and the error that every decoder throws.

/**
 * An 8-bit RGB image: `data` is [height, width, 3], row-major, 0..255, no alpha and no padding between rows.
 *
 * @example
 * ```ts
 * import { type RgbImage } from "@model-tracer/model-tracer";
 *
 * const red: RgbImage = { width: 2, height: 1, data: new Uint8Array([255, 0, 0, 255, 0, 0]) };
 * console.log(red.data.length); // width * height * 3
 * ```
 */
export interface RgbImage {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Row by row, three bytes per pixel. */
  readonly data: Uint8Array;
}

/**
 * Why an image could not be read.
 *
 * - `empty`: zero bytes
 * - `not-an-image`: the content does not start like an image format (for example text renamed to .png)
 * - `unsupported`: a known image format, or a variety of one, that is not decoded here
 * - `truncated`: the file ends before its content does
 * - `corrupt`: the content contradicts itself (checksum, code, size)
 * - `too-large`: more pixels, bytes or scans than allowed, according to the headers; nothing was decoded
 * - `io`: the file could not be opened or read
 *
 * @example
 * ```ts
 * import { type UnreadableReason } from "@model-tracer/model-tracer";
 *
 * const mayRetry = (reason: UnreadableReason) => reason === "io";
 * console.log(mayRetry("truncated"));
 * ```
 */
export type UnreadableReason =
  | "not-an-image"
  | "truncated"
  | "too-large"
  | "unsupported"
  | "corrupt"
  | "empty"
  | "io";

/**
 * One image cannot be read. The run continues without it. `message` says what was expected and what came.
 *
 * @example
 * ```ts
 * import { UnreadableImageError } from "@model-tracer/model-tracer";
 * import { readImageFile } from "@model-tracer/model-tracer/attribution";
 *
 * try {
 *   await readImageFile("examples/gone.png");
 * } catch (error) {
 *   if (error instanceof UnreadableImageError) console.log(error.reason, error.message);
 * }
 * ```
 */
export class UnreadableImageError extends Error {
  /** `UnreadableImageError`. */
  override readonly name = "UnreadableImageError";
  /** What is wrong. */
  readonly reason: UnreadableReason;

  /** An error with a reason, and a message for people. */
  constructor(reason: UnreadableReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** 64 Mi pixels, for example 8192 x 8192. Cameras make smaller images; decoding takes less than 1 GiB. */
export const DEFAULT_MAX_PIXELS = 64 * 1024 * 1024;
