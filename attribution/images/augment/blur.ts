// Gaussian blur with a square kernel and mirrored borders, as torchvision's `gaussian_blur`. Both forms compute in
// float32; the form for bytes rounds at the end, as in torchvision.

import type { RgbImage } from "../image.ts";
import { roundHalfToEven } from "../preprocess.ts";
import { clamp01, type FloatImage } from "./float_image.ts";

const f32 = Math.fround;

/**
 * Blurs with a size x size Gaussian kernel. A kernel of size 1 changes nothing.
 *
 * `size` is odd and at most 2 * min(width, height) - 1, because mirroring does not repeat the border. `sigma` is the
 * standard deviation in pixels, above 0; the reference draws it from U(0.1, 2) for every image. Throws a RangeError
 * otherwise.
 */
export function gaussianBlur(image: FloatImage, size: number, sigma: number): FloatImage {
  return { ...image, data: convolve("gaussianBlur", image, size, sigma).map(clamp01) };
}

/**
 * As gaussianBlur() for bytes: computes in float32 between 0 and 255, then rounds half to even.
 *
 * The order of sums and the fused multiply-adds are those of oneDNN's depthwise convolution. In another order about one
 * byte in 100,000 differs.
 */
export function gaussianBlur8(image: RgbImage, size: number, sigma: number): RgbImage {
  const blurred = convolve("gaussianBlur8", image, size, sigma);
  const data = new Uint8Array(blurred.length);
  for (let i = 0; i < data.length; i++) data[i] = roundHalfToEven(blurred[i]);
  return { ...image, data };
}

/**
 * The one-dimensional kernel [size]: exp(-(x / sigma)^2 / 2) at integers x around 0, divided by their sum, with the
 * float32 rounding of PyTorch 1.13 on x86.
 *
 * Throws RangeError unless size is odd and sigma is above 0.
 */
export function gaussianKernel(size: number, sigma: number): Float32Array {
  if (!Number.isInteger(size) || size < 1 || size % 2 === 0) {
    throw new RangeError(`gaussianKernel: expected an odd size of at least 1, got ${size}`);
  }
  if (!(sigma > 0 && sigma < Infinity)) throw new RangeError(`gaussianKernel: expected sigma above 0, got ${sigma}`);
  const weights = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const x = f32((i - (size - 1) / 2) / f32(sigma));
    weights[i] = expF32(f32(-0.5 * f32(x * x)));
  }
  const total = sumF32(weights);
  return weights.map((weight) => weight / total);
}

/** Convolves [height, width, 3] with the kernel. The result is neither clamped nor rounded to bytes. */
function convolve(
  operation: string,
  { width, height, data }: { width: number; height: number; data: ArrayLike<number> },
  size: number,
  sigma: number,
): Float32Array {
  const kernel = gaussianKernel(size, sigma);
  const reach = (size - 1) / 2;
  if (reach >= Math.min(width, height)) {
    throw new RangeError(
      `${operation}: a ${size}x${size} kernel needs more than ${reach} pixels on each side, got ${width}x${height}`,
    );
  }
  const columns = width + 2 * reach, line = width * 3;
  const padded = new Float32Array(columns * (height + 2 * reach) * 3);
  for (let y = -reach, at = 0; y < height + reach; y++) {
    for (let x = -reach; x < width + reach; x++) {
      const from = (mirror(y, height) * width + mirror(x, width)) * 3;
      for (let c = 0; c < 3; c++) padded[at++] = data[from + c];
    }
  }
  const out = new Float32Array(height * line);
  for (let y = 0; y < height; y++) {
    const row = out.subarray(y * line, (y + 1) * line);
    for (let dy = 0; dy < size; dy++) {
      for (let dx = 0; dx < size; dx++) {
        const weight = f32(kernel[dy] * kernel[dx]);
        const from = ((y + dy) * columns + dx) * 3;
        // A fused multiply-add: float64 holds the product exactly, and storing rounds once.
        for (let i = 0; i < line; i++) row[i] += padded[from + i] * weight;
      }
    }
  }
  return out;
}

/** Index of the mirrored pixel: -1 -> 1, -2 -> 2; n -> n - 2, n + 1 -> n - 3. */
function mirror(i: number, n: number): number {
  return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
}

/**
 * exp(x) for x <= 0, with the float32 rounding of PyTorch's vectorised exp on x86 (SLEEF, `expf` with 1.0 ULP): a tenth
 * of the results are not the nearest float32. Range reduction by ln 2 in two parts, then a polynomial of degree 7.
 */
function expF32(x: number): number {
  if (x < -104) return 0;
  const shift = 1.5 * 2 ** 23; // adding it leaves a whole number, rounded half to even
  const power = f32(f32(f32(x * f32(Math.LOG2E)) + shift) - shift);
  let rest = f32(x - power * f32(0.693145751953125));
  rest = f32(rest - power * f32(1.428606765330187e-6));
  const coefficients = [1.98527617612854e-4, 1.39304355252535e-3, 8.3333607763052e-3, 4.16664853692055e-2];
  let sum = 0;
  for (const c of [...coefficients, 0.16666667163372, 0.5]) sum = f32(sum * rest + f32(c));
  return f32(f32(1 + f32(f32(rest * rest) * sum + rest)) * 2 ** power);
}

/**
 * The sum in the order of PyTorch's `sum` for up to 255 contiguous float32 with AVX2: eight lanes of four partial sums.
 */
function sumF32(values: Float32Array): number {
  const lanes = values.length < 8 ? 1 : 8;
  const steps = Math.trunc(values.length / lanes);
  const strands = new Float32Array(4 * lanes);
  for (let step = 0; step < steps; step++) {
    const strand = step < steps - steps % 4 ? step % 4 : 0;
    for (let lane = 0; lane < lanes; lane++) strands[strand * lanes + lane] += values[step * lanes + lane];
  }
  for (let i = lanes; i < strands.length; i++) strands[i % lanes] += strands[i];
  let total = 0;
  for (let i = steps * lanes; i < values.length; i++) total = f32(total + values[i]);
  for (let lane = 0; lane < lanes; lane++) total = f32(total + strands[lane]);
  return total;
}
