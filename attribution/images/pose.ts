/** How a native image of a model lies within a stored image: the hypotheses of the geometry search, as data. */
import * as v from "npm:valibot@1.5.0";

/**
 * A frame in the stored image that shows the native image, mirrored and turned. Parts of the frame outside of the
 * stored image are unknown.
 *
 * @example
 * ```ts
 * import { type Pose } from "@model-tracer/model-tracer";
 *
 * // Three pixels were cropped off each side of an image of 64x64 pixels.
 * const cropped: Pose = { left: -3, top: -3, width: 64, height: 64, turn: 0, mirror: false };
 * console.log(cropped.left);
 * ```
 */
export interface Pose {
  /** Of the frame in the stored image, in its pixels; below 0 where the picture was cropped. */
  readonly left: number;
  /** As `left`. */
  readonly top: number;
  /** Of the frame, in pixels of the stored image, above 0. */
  readonly width: number;
  /** As `width`. */
  readonly height: number;
  /** By how many degrees the native image was turned clockwise. */
  readonly turn: 0 | 90 | 180 | 270;
  /** Whether the native image was mirrored left to right, before it was turned. */
  readonly mirror: boolean;
}

const side = v.pipe(v.number(), v.gtValue(0));

/** Checks a `Pose`. */
export const poseSchema: v.GenericSchema<unknown, Pose> = v.object({
  ...{ left: v.number(), top: v.number(), width: side, height: side },
  turn: v.picklist([0, 90, 180, 270]),
  mirror: v.boolean(),
});
