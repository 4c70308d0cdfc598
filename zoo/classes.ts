/**
 * The classes of the zoo: clusters of crops by colour and texture, found once by k-means and stored with each recipe.
 * They stand in for the thousand object classes of the official models, and deliberately say nothing about objects.
 */
import { uniforms } from "../core/tensor/random.ts";

/** A clustering: features are standardised by `mean` and `scale`, a crop belongs to the nearest of the centres. */
export interface Clustering {
  /** [featureCount] */
  readonly mean: readonly number[];
  /** [featureCount]; features are divided by it. */
  readonly scale: readonly number[];
  /** [classes, featureCount], of standardised features, the most frequent class first. */
  readonly centres: readonly (readonly number[])[];
}

const bands = 4, perBand = 6;
/** Four horizontal bands from top to bottom, each with luma, blue and red difference, contrast and two gradients. */
export const featureCount = bands * perBand;

/**
 * Features of one crop, [featureCount]: per band the means of Y, Cb and Cr (0..255, differences about 0), the standard
 * deviation of Y, and the square roots of the mean absolute horizontal and vertical differences of Y. Mirroring a crop,
 * as training does, leaves them as they are.
 */
export function featuresOf(pixels: Uint8Array, side: number): Float64Array {
  if (pixels.length !== side * side * 3 || side % bands !== 0) {
    throw new RangeError(`featuresOf: side ${side} expects ${side * side * 3} bytes, got ${pixels.length}`);
  }
  const grey = new Float64Array(side * side);
  const out = new Float64Array(featureCount);
  const height = side / bands;
  for (let band = 0; band < bands; band++) {
    let y = 0, squares = 0, cb = 0, cr = 0, across = 0, down = 0;
    for (let row = band * height; row < (band + 1) * height; row++) {
      for (let x = 0; x < side; x++) {
        const i = row * side + x, r = pixels[3 * i], g = pixels[3 * i + 1], b = pixels[3 * i + 2];
        const luma = grey[i] = 0.299 * r + 0.587 * g + 0.114 * b;
        y += luma;
        squares += luma * luma;
        cb += 0.564 * (b - luma);
        cr += 0.713 * (r - luma);
        if (x > 0) across += Math.abs(luma - grey[i - 1]);
        if (row > band * height) down += Math.abs(luma - grey[i - side]);
      }
    }
    const n = side * height;
    out.set([
      y / n,
      cb / n,
      cr / n,
      Math.sqrt(Math.max(0, squares / n - (y / n) ** 2)),
      Math.sqrt(across / (height * (side - 1))),
      Math.sqrt(down / ((height - 1) * side)),
    ], band * perBand);
  }
  return out;
}

/** The class of each crop: the nearest centre, [count]. `pixels` is [count, side, side, 3]. */
export function classify(pixels: Uint8Array, side: number, by: Clustering): Uint8Array {
  const size = side * side * 3;
  const classes = new Uint8Array(pixels.length / size);
  for (let i = 0; i < classes.length; i++) {
    const features = featuresOf(pixels.subarray(i * size, (i + 1) * size), side);
    classes[i] = nearest(features.map((value, k) => (value - by.mean[k]) / by.scale[k]), by.centres).index;
  }
  return classes;
}

/** How many clusters are wanted, and the seed of the search for them. */
export type ClusterOptions = Pick<KMeansOptions, "count" | "seed">;

/** Clusters crops, [n, side, side, 3], by their standardised features. */
export function fitClasses(pixels: Uint8Array, side: number, options: ClusterOptions): Clustering {
  const size = side * side * 3, n = pixels.length / size;
  const raw = Array.from({ length: n }, (_, i) => featuresOf(pixels.subarray(i * size, (i + 1) * size), side));
  const mean = Array.from({ length: featureCount }, (_, k) => raw.reduce((sum, f) => sum + f[k], 0) / n);
  const scale = mean.map((m, k) => Math.sqrt(raw.reduce((sum, f) => sum + (f[k] - m) ** 2, 0) / n) || 1);
  const points = raw.map((f) => f.map((value, k) => (value - mean[k]) / scale[k]));
  const { centres } = kMeans(points, options);
  return { mean, scale, centres };
}

/** Options of `kMeans`. */
export interface KMeansOptions {
  readonly count: number;
  readonly seed: number;
  /** Runs from different starts, of which the best is kept. */
  readonly starts?: number;
  /** At most so many rounds per run. */
  readonly rounds?: number;
}

/** What `kMeans` finds. */
export interface KMeans {
  /** The most frequent cluster first. */
  readonly centres: number[][];
  /** Mean squared distance to the nearest centre. */
  readonly error: number;
}

const stream = 0x6b6d6e73;

/** Lloyd's k-means from k-means++ starts (Arthur & Vassilvitskii 2007), the best of several. */
export function kMeans(
  points: readonly Float64Array[],
  { count, seed, starts = 8, rounds = 100 }: KMeansOptions,
): KMeans {
  if (points.length < count) throw new RangeError(`kMeans: expected at least ${count} points, got ${points.length}`);
  let best: KMeans | undefined;
  for (let start = 0; start < starts; start++) {
    const run = lloyd(points, spread(points, count, uniforms(seed, stream + start, count)), rounds);
    if (best === undefined || run.error < best.error) best = run;
  }
  return best!;
}

/** k-means++: each further centre is a point drawn with a probability in proportion to its squared distance. */
function spread(points: readonly Float64Array[], count: number, draws: Float32Array): number[][] {
  const centres = [Array.from(points[Math.floor(draws[0] * points.length)])];
  const distances = new Float64Array(points.length).fill(Infinity);
  while (centres.length < count) {
    const last = centres[centres.length - 1];
    let total = 0;
    points.forEach((point, i) => total += distances[i] = Math.min(distances[i], squaredDistance(point, last)));
    let left = draws[centres.length] * total, chosen = 0;
    while (chosen < points.length - 1 && (left -= distances[chosen]) >= 0) chosen++;
    centres.push(Array.from(points[chosen]));
  }
  return centres;
}

function lloyd(points: readonly Float64Array[], start: number[][], rounds: number): KMeans {
  let centres = start, sizes: number[] = [], error = Infinity;
  for (let round = 0; round < rounds; round++) {
    const sums = centres.map((centre) => new Float64Array(centre.length));
    sizes = centres.map(() => 0);
    let total = 0;
    for (const point of points) {
      const { index, distance } = nearest(point, centres);
      total += distance;
      sizes[index]++;
      for (let k = 0; k < point.length; k++) sums[index][k] += point[k];
    }
    // An empty cluster keeps its centre.
    centres = centres.map((centre, c) => sizes[c] === 0 ? centre : Array.from(sums[c], (sum) => sum / sizes[c]));
    const before = error;
    error = total / points.length;
    if (before - error < 1e-9 * error) break;
  }
  const order = centres.map((_, c) => c).sort((a, b) => sizes[b] - sizes[a] || a - b);
  return { centres: order.map((c) => centres[c]), error };
}

function nearest(point: Float64Array, centres: readonly (readonly number[])[]): { index: number; distance: number } {
  let index = 0, distance = Infinity;
  centres.forEach((centre, c) => {
    const d = squaredDistance(point, centre);
    if (d < distance) {
      distance = d;
      index = c;
    }
  });
  return { index, distance };
}

function squaredDistance(point: Float64Array, centre: readonly number[]): number {
  let sum = 0;
  for (let k = 0; k < point.length; k++) sum += (point[k] - centre[k]) ** 2;
  return sum;
}
