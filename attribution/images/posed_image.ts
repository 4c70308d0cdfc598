/**
 * The native image that a pose finds in a stored image. pose.ts defines poses. Pixels are copied where the frame has
 * the native size, and resampled as Pillow does where it has not.
 */
import type { RgbImage } from "./image.ts";
import { pilResize } from "./pil_resize.ts";
import type { Pose } from "./pose.ts";

/** A native image, and which of its pixels the stored image shows. */
export interface PosedImage {
  /** [size, size, 3]. Unknown pixels repeat the nearest known ones. */
  readonly image: RgbImage;
  /** [size, size], row by row: 1 where the stored image shows the pixel, 0 where it is unknown. */
  readonly known: Uint8Array;
}

/** Pixels beside a frame that a bilinear filter reads, in units of the scale. */
const reach = 2;

/**
 * The native image of size x size pixels under a pose. Throws a RangeError if the frame lies beside the image: nothing
 * is known then. The image must not be changed afterwards: frames of it are kept as long as it is.
 */
export function posedImage(stored: RgbImage, pose: Pose, size: number): PosedImage {
  const { left, top, width, height } = pose;
  if (left >= stored.width || top >= stored.height || left + width <= 0 || top + height <= 0) {
    throw new RangeError(
      `posedImage: expected a frame that overlaps ${stored.width}x${stored.height} pixels, ` +
        `got ${width}x${height} at ${left},${top}`,
    );
  }
  const upright = uprightFrame(stored, pose, size);
  const columns = knownPixels(left, width, stored.width, size);
  const rows = knownPixels(top, height, stored.height, size);
  const data = new Uint8Array(size * size * 3), known = new Uint8Array(size * size);
  const place = placeOf(pose, size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [fx, fy] = place(x, y);
      const to = y * size + x, from = fy * size + fx;
      known[to] = columns[fx] & rows[fy];
      for (let c = 0; c < 3; c++) data[to * 3 + c] = upright.data[from * 3 + c];
    }
  }
  return { image: { width: size, height: size, data }, known };
}

/** Frames that were resampled, by image, place and size: up to eight poses show the same one. */
const resampled = new WeakMap<RgbImage, Map<string, RgbImage>>();

/** The frame in size x size pixels, still mirrored and turned. */
function uprightFrame(stored: RgbImage, pose: Pose, size: number): RgbImage {
  const { left, top, width, height } = pose;
  const isCopied = width === size && height === size && Number.isInteger(left) && Number.isInteger(top);
  if (isCopied) return window(stored, left, top, size, size);
  const known = resampled.get(stored) ?? new Map<string, RgbImage>(), key = [left, top, width, height, size].join();
  resampled.set(stored, known);
  const frame = known.get(key) ?? resampleFrame(stored, pose, size);
  known.set(key, frame);
  return frame;
}

function resampleFrame(stored: RgbImage, { left, top, width, height }: Pose, size: number): RgbImage {
  const across = spanOf(left, width, stored.width, size), down = spanOf(top, height, stored.height, size);
  const part = window(stored, across.from, down.from, across.to - across.from, down.to - down.from);
  const box = { left: left - across.from, top: top - down.from, width, height };
  return pilResize(part, size, size, "bilinear", box);
}

/** The whole pixels that resampling a frame reads: within the stored image, and under the frame beside it. */
function spanOf(start: number, length: number, side: number, size: number): { from: number; to: number } {
  const margin = Math.ceil(reach * Math.max(1, length / size));
  const from = Math.min(Math.floor(start), Math.max(0, Math.floor(start) - margin));
  const to = Math.max(Math.ceil(start + length), Math.min(side, Math.ceil(start + length) + margin));
  return { from, to };
}

/** A rectangle of an image. Pixels outside of the image repeat the nearest one. */
function window({ width, height, data }: RgbImage, left: number, top: number, w: number, h: number): RgbImage {
  const out = new Uint8Array(w * h * 3);
  const inside = left >= 0 && left + w <= width;
  for (let y = 0; y < h; y++) {
    const row = Math.min(height - 1, Math.max(0, top + y)) * width;
    if (inside) {
      out.set(data.subarray((row + left) * 3, (row + left + w) * 3), y * w * 3);
      continue;
    }
    for (let x = 0; x < w; x++) {
      const from = (row + Math.min(width - 1, Math.max(0, left + x))) * 3, to = (y * w + x) * 3;
      for (let c = 0; c < 3; c++) out[to + c] = data[from + c];
    }
  }
  return { width: w, height: h, data: out };
}

/** 1 for every output pixel whose centre lies within the stored image, along one axis. */
function knownPixels(start: number, length: number, side: number, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => {
    const centre = start + (i + 0.5) * length / size;
    return centre >= 0 && centre < side ? 1 : 0;
  });
}

/** Where the frame shows pixel (x, y) of the native image, which was mirrored first and then turned clockwise. */
function placeOf({ turn, mirror }: Pose, size: number): (x: number, y: number) => readonly [number, number] {
  const last = size - 1;
  const flip = (x: number) => mirror ? last - x : x;
  switch (turn) {
    case 0:
      return (x, y) => [flip(x), y];
    case 90:
      return (x, y) => [last - y, flip(x)];
    case 180:
      return (x, y) => [last - flip(x), last - y];
    case 270:
      return (x, y) => [y, last - flip(x)];
  }
}
