// Pillow's `Image.resize` for 8-bit RGB, bit for bit: a horizontal and a vertical pass with fixed-point weights, and
// 8-bit values between them. Source: Pillow, src/libImaging/Resample.c.

import type { RgbImage } from "./image.ts";

/** Name of a filter in Pillow. */
export type PilFilter = "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";

interface Kernel {
  /** Half-width in input pixels when enlarging. */
  readonly support: number;
  readonly weight: (x: number) => number;
}

/** The filters. `weight` is 0 outside (-support, support). */
const KERNELS: Record<PilFilter, Kernel> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight(x) {
      const a = Math.abs(x);
      if (a === 0) return 1;
      // Pillow's two constants are single-precision numbers.
      return a >= 1 ? 0 : sinc(a) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(a * Math.PI));
    },
  },
  bicubic: { // Keys' cubic with a = -0.5
    support: 2,
    weight(x) {
      const a = -0.5;
      const t = Math.abs(x);
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Fractional bits of the weights: 32, minus 8 for the pixel and 2 for sums outside of 0..255. */
const PRECISION_BITS = 22;

/** Where a row of pixels starts, and how many there are; both may be fractions. */
type Span = readonly [number, number];

/** A rectangle within an image, in pixels; fractions are possible. */
export interface Box {
  /** Of its left edge. */
  readonly left: number;
  /** Of its upper edge. */
  readonly top: number;
  /** Above 0. */
  readonly width: number;
  /** Above 0. */
  readonly height: number;
}

interface Weights {
  /** First input pixel of every output pixel. */
  readonly first: Int32Array;
  /** How many input pixels an output pixel depends on. */
  readonly count: Int32Array;
  /** [outputs, stride] in fixed point. The sum of a row is about 2^22. */
  readonly values: Int32Array;
  /** Length of a row. */
  readonly stride: number;
}

/**
 * Antialiased weights: when the image shrinks, the kernel covers all input pixels of an output pixel. The outputs show
 * the inputs from `start` on, `length` of them.
 */
function weightsOf(inputs: number, outputs: number, { support, weight }: Kernel, [start, length]: Span): Weights {
  const scale = length / outputs;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const stride = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(outputs);
  const count = new Int32Array(outputs);
  const values = new Int32Array(outputs * stride);
  const row = new Float64Array(stride);
  for (let i = 0; i < outputs; i++) {
    const centre = start + (i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(centre - reach + 0.5));
    const to = Math.min(inputs, Math.trunc(centre + reach + 0.5));
    let sum = 0;
    for (let x = from; x < to; x++) sum += row[x - from] = weight((x - centre + 0.5) * (1 / stretch));
    for (let x = 0; x < to - from; x++) {
      const value = (sum === 0 ? row[x] : row[x] / sum) * (1 << PRECISION_BITS);
      values[i * stride + x] = Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
    }
    first[i] = from;
    count[i] = to - from;
  }
  return { first, count, values, stride };
}

/**
 * Resizes to exactly `width` x `height` pixels, as Pillow's `image.resize((width, height), filter, box)`; without a box
 * the whole image. A pass that would not change the size is skipped, so resizing to the same size gives the same
 * pixels.
 *
 * Throws RangeError unless width and height are positive integers and the box lies within the image.
 */
export function pilResize(
  image: RgbImage,
  width: number,
  height: number,
  filter: PilFilter,
  box: Box = { left: 0, top: 0, width: image.width, height: image.height },
): RgbImage {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`pilResize: expected a size of at least 1x1, got ${width}x${height}`);
  }
  const { left, top, width: across, height: down } = box;
  const isInside = left >= 0 && top >= 0 && left + across <= image.width && top + down <= image.height;
  if (!isInside || !(across > 0) || !(down > 0)) {
    throw new RangeError(
      `pilResize: expected a box within ${image.width}x${image.height}, got ${across}x${down} at ${left},${top}`,
    );
  }
  const kernel = KERNELS[filter];
  let { data } = image;
  if (width !== image.width || left !== 0 || across !== image.width) {
    const weights = weightsOf(image.width, width, kernel, [left, across]);
    data = resizeRows(data, image.width, image.height, width, weights);
  }
  if (height !== image.height || top !== 0 || down !== image.height) {
    data = resizeColumns(data, width, height, weightsOf(image.height, height, kernel, [top, down]));
  }
  return { width, height, data: data === image.data ? data.slice() : data };
}

/** [rows, inputs, 3] -> [rows, outputs, 3] */
function resizeRows(data: Uint8Array, inputs: number, rows: number, outputs: number, weights: Weights): Uint8Array {
  const { first, count, values, stride } = weights;
  const out = new Uint8Array(rows * outputs * 3);
  let to = 0;
  for (let y = 0; y < rows; y++) {
    for (let i = 0; i < outputs; i++) {
      let at = (y * inputs + first[i]) * 3;
      const end = i * stride + count[i];
      let r = HALF, g = HALF, b = HALF;
      for (let k = i * stride; k < end; k++, at += 3) {
        const w = values[k];
        r += data[at] * w;
        g += data[at + 1] * w;
        b += data[at + 2] * w;
      }
      out[to++] = toByte(r);
      out[to++] = toByte(g);
      out[to++] = toByte(b);
    }
  }
  return out;
}

/** [inputs, columns, 3] -> [outputs, columns, 3] */
function resizeColumns(data: Uint8Array, columns: number, outputs: number, weights: Weights): Uint8Array {
  const { first, count, values, stride } = weights;
  const line = columns * 3;
  const out = new Uint8Array(outputs * line);
  const sums = new Float64Array(line); // integers below 2^53: exact
  for (let i = 0; i < outputs; i++) {
    sums.fill(HALF);
    for (let k = 0; k < count[i]; k++) {
      const w = values[i * stride + k];
      const from = (first[i] + k) * line;
      for (let x = 0; x < line; x++) sums[x] += data[from + x] * w;
    }
    for (let x = 0; x < line; x++) out[i * line + x] = toByte(sums[x]);
  }
  return out;
}

/** One half in fixed point: the start of every sum. */
const HALF = 1 << (PRECISION_BITS - 1);

/** Rounds half up and clips. The sum already contains the half. */
function toByte(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
