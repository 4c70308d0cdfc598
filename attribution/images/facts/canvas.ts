// Whether an image is a picture within a canvas of one colour.

import type { RgbImage } from "../image.ts";
import type { Rectangle } from "./luma.ts";

/** Canvas differs from its colour by at most this, in levels, on the mean of a line. JPEG leaves ringing beside a picture. */
const mostMean = 6;
/** As `mostMean`, of the line at the image's edge, which lies away from the picture. */
const mostAtEdge = 3;
/** A pixel that differs by more levels than this is no canvas. */
const clear = 24;
/** Canvas lines have at most this share of such pixels. */
const mostClear = 0.03;
/**
 * At a picture's border at least this share of the pixels differ from the canvas. A picture is cut off straight, while
 * an object before a plain background touches the lines around it in few points.
 */
const leastClear = 0.5;
/** The border of a picture may be blended with the canvas by interpolation: so many lines are looked at. */
const borderLines = 2;
/** Fewer lines of canvas are no canvas. */
const leastMargin = 3;
/** So many pixels of a line are looked at, evenly. */
const mostSamples = 512;

/**
 * The picture within a canvas that was added on one or more sides; undefined without a canvas. The picture's place is
 * exact, after JPEG or a resize within 2 pixels. A picture whose border has the canvas's colour is not found.
 */
export function pictureOf(image: RgbImage): Rectangle | undefined {
  for (const colour of cornerColours(image)) {
    const picture = pictureBefore(image, colour);
    if (picture !== undefined) return picture;
  }
  return undefined;
}

/** Colours of corners that are alike with another corner. */
function cornerColours({ width, height, data }: RgbImage): readonly Uint8Array[] {
  const corners = [0, width - 1, (height - 1) * width, height * width - 1].map((at) =>
    data.subarray(3 * at, 3 * at + 3)
  );
  const isLike = (a: Uint8Array, b: Uint8Array) => a.every((value, i) => Math.abs(value - b[i]) <= mostMean);
  const found: Uint8Array[] = [];
  corners.forEach((colour, i) => {
    if (corners.some((other, j) => j !== i && isLike(colour, other)) && !found.some((known) => isLike(known, colour))) {
      found.push(colour);
    }
  });
  return found;
}

function pictureBefore(image: RgbImage, colour: Uint8Array): Rectangle | undefined {
  const { width, height } = image;
  const whole = { left: 0, top: 0, width, height };
  const top = margin(image, colour, whole, "top");
  if (top === height) return undefined;
  const bottom = margin(image, colour, whole, "bottom");
  const rows = { left: 0, top, width, height: height - top - bottom };
  const left = margin(image, colour, rows, "left"), right = margin(image, colour, rows, "right");
  const picture = { left, top, width: width - left - right, height: rows.height };
  const margins = { top, bottom, left, right };
  let found = false;
  for (const [side, lines] of Object.entries(margins) as [Side, number][]) {
    if (lines === 0) continue;
    if (lines < leastMargin || !isCutOff(image, colour, picture, side)) return undefined;
    found = true;
  }
  return found ? picture : undefined;
}

type Side = "top" | "bottom" | "left" | "right";

/** Number of lines of canvas at a side of a rectangle. */
function margin(image: RgbImage, colour: Uint8Array, within: Rectangle, side: Side): number {
  const lines = side === "top" || side === "bottom" ? within.height : within.width;
  for (let i = 0; i < lines; i++) {
    const { mean, far } = deviation(image, colour, within, side, i);
    if (mean > (i === 0 ? mostAtEdge : mostMean) || far > mostClear) return i;
  }
  return lines;
}

function isCutOff(image: RgbImage, colour: Uint8Array, picture: Rectangle, side: Side): boolean {
  const lines = Math.min(borderLines, side === "top" || side === "bottom" ? picture.height : picture.width);
  for (let i = 0; i < lines; i++) if (deviation(image, colour, picture, side, i).far >= leastClear) return true;
  return false;
}

/** Mean deviation from a colour of the i-th line from a side of a rectangle, and the share of clearly other pixels. */
function deviation(
  { width: stride, data }: RgbImage,
  colour: Uint8Array,
  { left, top, width, height }: Rectangle,
  side: Side,
  i: number,
): { mean: number; far: number } {
  const isRow = side === "top" || side === "bottom", length = isRow ? width : height;
  const y = side === "bottom" ? top + height - 1 - i : side === "top" ? top + i : top;
  const x = side === "right" ? left + width - 1 - i : side === "left" ? left + i : left;
  const skip = Math.max(1, Math.floor(length / mostSamples)), step = 3 * skip * (isRow ? 1 : stride);
  let sum = 0, far = 0, count = 0;
  for (let j = 0, at = 3 * (y * stride + x); j < length; j += skip, at += step) {
    const most = Math.max(
      Math.abs(data[at] - colour[0]),
      Math.abs(data[at + 1] - colour[1]),
      Math.abs(data[at + 2] - colour[2]),
    );
    sum += most;
    if (most > clear) far++;
    count++;
  }
  return { mean: sum / count, far: far / count };
}
