/**
 * A generator of another kind than the zoo's: a normal distribution of the pixels for every class. Its images have the
 * colours and the spectrum of the crops of a class, and nothing of their shapes.
 */
import type { RgbImage } from "../attribution/images/image.ts";
import { normals, uniforms } from "../core/tensor/mod.ts";
import type { Crops } from "./images.ts";

const classStream = 0x67636c73, drawStream = 0x67617573; // "gcls", "gaus"

/**
 * Image `index` of a series: its class is drawn uniformly, and its pixels from the normal distribution with the mean
 * and covariance of that class's crops: the mean, plus a sum of what crops differ from it, each times a normal number.
 */
export function gaussianImage({ classes, pixels, side }: Crops, seed: number, index: number): RgbImage {
  const classCount = classes.reduce((most, label) => Math.max(most, label), 0) + 1;
  const wanted = Math.floor(uniforms(seed, classStream, index + 1)[index] * classCount);
  const members = Array.from(classes.keys()).filter((crop) => classes[crop] === wanted);
  if (members.length < 2) {
    throw new RangeError(`gaussianImage: class ${wanted} expects two crops, got ${members.length}`);
  }
  const weights = normals(seed, drawStream + index, members.length);
  const size = side * side * 3, n = members.length;
  // mean + sum of w (x - mean) / sqrt(n - 1), gathered as one weight per crop
  const total = weights.reduce((sum, w) => sum + w, 0), root = Math.sqrt(n - 1);
  const values = new Float64Array(size);
  members.forEach((crop, i) => {
    const weight = (1 - total / root) / n + weights[i] / root;
    for (let k = 0; k < size; k++) values[k] += weight * pixels[crop * size + k];
  });
  return { width: side, height: side, data: Uint8Array.from(values, (v) => Math.round(Math.min(Math.max(v, 0), 255))) };
}
