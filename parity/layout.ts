/**
 * Conversions between the reference's layouts (channels first, uint8 images) and ours, crops, distances to codes, and
 * reading tensors.
 */
import {
  add,
  affine,
  type Device,
  fromArray,
  matmul,
  neg,
  scope,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  topK,
} from "../core/tensor/mod.ts";
import type { CaseTensor } from "./case.ts";

/** [b, c, h, w] values -> [b, h, w, c] tensor. */
export function fromNchw(device: Device, values: ArrayLike<number>, shape: readonly number[]): Tensor {
  const [b, c, h, w] = shape;
  const out = new Float32Array(b * c * h * w);
  for (let i = 0, n = 0; n < b; n++) {
    for (let ch = 0; ch < c; ch++) {
      for (let p = 0; p < h * w; p++, i++) out[(n * h * w + p) * c + ch] = values[i];
    }
  }
  return fromArray(device, out, [b, h, w, c]);
}

/** A [b, h, w, c] tensor's values as [b, c, h, w]. */
export async function toNchw(x: Tensor): Promise<Float32Array> {
  const [b, h, w, c] = x.shape;
  const values = await x.data();
  const out = new Float32Array(values.length);
  for (let i = 0, n = 0; n < b; n++) {
    for (let ch = 0; ch < c; ch++) {
      for (let p = 0; p < h * w; p++, i++) out[i] = values[(n * h * w + p) * c + ch];
    }
  }
  return out;
}

/** uint8 [b, 3, h, w] -> float32 in a range of values, with the roundings of the reference. */
export function scalePixels(
  pixels: ArrayLike<number>,
  [low, high]: readonly [number, number],
): Float32Array<ArrayBuffer> {
  return Float32Array.from(pixels, (value) => value / 255).map((value) => value * (high - low) + low);
}

/** The test image k of the golden data's README as uint8 [3, h, w]. */
export function testImage(k: number, h: number, w: number): Int32Array<ArrayBuffer> {
  const out = new Int32Array(3 * h * w);
  for (let c = 0; c < 3; c++) {
    const a = 1 + (k + c) % 3, b = 1 + (2 * k + c) % 4, d = 3 + (3 * k + 2 * c) % 5, e = 2 + (k + 2 * c) % 5;
    const p = 0.7 * k + 2.1 * c, sign = (c + k) % 2 === 1 ? 1 : -1;
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        const X = (x + 0.5) / w, Y = (y + 0.5) / h;
        const v = 0.5 + 0.22 * Math.sin(2 * Math.PI * (a * X + b * Y) + p) +
          0.14 * Math.sin(2 * Math.PI * (d * X - e * Y) + 1.3 * p) + 0.1 * sign * (X + Y - 1);
        out[(c * h + y) * w + x] = Math.floor(Math.min(Math.max(v, 0), 1) * 255 + 0.5);
      }
    }
  }
  return out;
}

/** Cuts [1, c, h, w] values as the tensor's meaning says: `rows/cols 96..159` or `rows 0..47, cols 208..255`. */
export function cropByMeaning(values: Float32Array, [c, h, w]: readonly number[], info: CaseTensor): Float32Array {
  const both = info.meaning.match(/rows\/cols (\d+)\.\.(\d+)/);
  const separate = info.meaning.match(/rows (\d+)\.\.(\d+), *cols (\d+)\.\.(\d+)/);
  const side = h - 1;
  const [top, bottom, left, right] =
    (both ? [both[1], both[2], both[1], both[2]] : separate ? separate.slice(1) : [0, side, 0, side])
      .map(Number);
  const out: number[] = [];
  for (let ch = 0; ch < c; ch++) {
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) out.push(values[(ch * h + y) * w + x]);
    }
  }
  return Float32Array.from(out);
}

/** Means of k x k blocks of [1, c, h, w] values. */
export function blockMeans(values: Float32Array, [c, h, w]: readonly number[], k: number): Float32Array {
  const out = new Float32Array(c * (h / k) * (w / k));
  let at = 0;
  for (let ch = 0; ch < c; ch++) {
    for (let by = 0; by < h; by += k) {
      for (let bx = 0; bx < w; bx += k) {
        let sum = 0;
        for (let y = by; y < by + k; y++) for (let x = bx; x < bx + k; x++) sum += values[(ch * h + y) * w + x];
        out[at++] = sum / (k * k);
      }
    }
  }
  return out;
}

/** |z|^2 + |e|^2 - 2 z.e of rows z[n, c] and codes e[v, c]: [n, v]. */
export function squaredDistances(z: Tensor, codebook: Tensor): Tensor {
  return scope(() => {
    const norms = add(sum(square(z), 1, true), sum(square(codebook), 1).reshape(1, codebook.shape[0]));
    return add(norms, affine(matmul(z, codebook, { transB: true }), -2));
  });
}

/** Second-best minus best squared distance of every row z[n, c] to the codes: [n]. */
export function margins(z: Tensor, codebook: Tensor): Tensor {
  return scope(() => {
    const { values } = topK(neg(squaredDistances(z, codebook)), 2);
    return sub(slice(values, 1, 0, 1), slice(values, 1, 1, 2)).reshape(z.shape[0]);
  });
}

/** Frees a tensor after reading it. */
export async function take(tensor: Tensor): Promise<Float32Array | Int32Array> {
  const values = tensor.dtype === "f32" ? await tensor.data() : await tensor.ints();
  tensor.dispose();
  return values;
}

/** `toNchw`, and frees the tensor. */
export async function takeNchw(tensor: Tensor): Promise<Float32Array> {
  const values = await toNchw(tensor);
  tensor.dispose();
  return values;
}
