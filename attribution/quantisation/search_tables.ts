/**
 * The tables of tree_search.ts. With b = A'N^-1 (f - offset) + L m, where A maps code vectors of all tokens to f, N is the
 * covariance of the noise, and m and L are mean and inverse covariance of codes by scale, the logarithm of the posterior of
 * code vectors z that are Gaussian is -|R z - y|^2 / 2 up to a constant, where R is lower triangular in the order of the
 * search, R'R = A'N^-1 A + L, and R'y = b. Row k of R holds the tokens up to the k-th: maximising over the later ones makes
 * their rows zero, so that what is left is the posterior with the later tokens integrated out.
 */
import { fromArray, keep, packWeight, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { VarFamily } from "../../models/var/family.ts";
import { applySpectral } from "./covariance.ts";
import { defaultMmse, type MmseSettings } from "./mmse.ts";
import { assumptions, type Moments } from "./mmse_model.ts";
import type { ScaleMaps } from "./scale_maps.ts";
import { cosines, SpectralBlocks } from "./spectral_blocks.ts";
import { applyTo, eigen, identity, type Matrix, multiply } from "./symmetric.ts";
import { orderCount, tokenOrder } from "./token_order.ts";

export interface SearchSettings {
  /** Beginnings of token sequences that are kept per image and order. */
  readonly beams: number;
  /** Orders that are tried, 1 to `orderCount`; the best result counts. */
  readonly orders: number;
  /** As in MmseSettings. A search errs less than an estimate where noise is taken for larger than it is. */
  readonly noiseOfMeasured: number;
  /** As in MmseSettings. */
  readonly noiseOfGreedyError: number;
}

/** What docs/quantisation.md measured. */
export const defaultSearch: SearchSettings = {
  beams: 32,
  orders: 4,
  noiseOfMeasured: 4,
  noiseOfGreedyError: defaultMmse.noiseOfGreedyError,
};

/** The most values of all code vectors together: tables grow with their square, the making of tables with their cube. */
export const searchLimit = 2048;

/** Whether a tokenizer is small enough to be searched. */
export function isSearchable(tokenCount: number, channels: number): boolean {
  return tokenCount * channels <= searchLimit;
}

/** Part of a scale's mean variance that is added to the covariance of its codes, which may lie in few directions. */
const ridge = 1e-3;

/** Unit vectors whose products are computed at a time. */
export const gramPart = 256;

export interface SearchTables {
  readonly maps: ScaleMaps;
  readonly settings: SearchSettings;
  /** By order the numbers of the tokens. */
  readonly orders: readonly Int32Array<ArrayBuffer>[];
  /** By step k of all orders: R's rows of that token before its own columns, [orders, c, k c]; none for the first. */
  readonly rows: readonly (Tensor | null)[];
  /** By step the token's own columns, [orders, c, c], and their inverse. */
  readonly diagonals: readonly Tensor[];
  readonly inverses: readonly Tensor[];
  /** By step what does not depend on the image in the logarithm of a code's probability, [orders, 1, codes]. */
  readonly biases: readonly Tensor[];
  /** L m by scale, [1, 1, c]. */
  readonly pulls: readonly Tensor[];
  /** The codebook, packed for `linear`. */
  readonly codes: Tensor;
  /** Of the noise, as in mmse.ts: [side, side] and [side * side, c, c]. */
  readonly basis: Tensor;
  readonly inverseNoise: Tensor;
}

/** Makes the tables: seconds for a thousand values. Throws on settings that make no sense and above `searchLimit`. */
export async function searchTables(
  maps: ScaleMaps,
  family: VarFamily,
  settings: SearchSettings = defaultSearch,
): Promise<SearchTables> {
  check(settings, maps);
  const { device, channels: c, codes, tokenCount, patchNums, starts } = maps;
  const codebook = await maps.codebook.data();
  const { moments, prior, noiseCovariances } = await assumptions(
    maps,
    family,
    codebook,
    {
      ...defaultMmse,
      ...settings,
    } satisfies MmseSettings,
  );
  const kernels = await Promise.all(maps.kernels.map((kernel) => kernel.data()));
  const noiseAt = (w: number) => noiseCovariances[noiseCovariances.length > 1 ? w : 0];
  const basis = keep(fromArray(device, cosines(maps.side), [maps.side, maps.side]));
  const inverseNoise = keep(
    fromArray(device, new SpectralBlocks(maps, kernels).inverse(noiseAt), [maps.side ** 2, c, c]),
  );
  const precisions = moments.map((own) => codePrecision(own, c));
  const gram = await gramMatrix(maps, basis, inverseNoise);
  const scaleOf = (token: number) => starts.findLastIndex((start) => start <= token);
  addBlocks(gram, tokenCount, c, (token) => precisions[scaleOf(token)]);

  const orders = Array.from({ length: settings.orders }, (_, way) => tokenOrder(patchNums, way));
  const steps = Array.from({ length: tokenCount }, (_, k) => ({
    rows: new Float32Array(orders.length * c * k * c),
    diagonal: new Float32Array(orders.length * c * c),
    inverse: new Float32Array(orders.length * c * c),
    bias: new Float32Array(orders.length * codes),
  }));
  orders.forEach((order, way) => {
    const n = tokenCount * c, factor = upperFactor(permuted(gram, order, c), n);
    steps.forEach(({ rows, diagonal, inverse, bias }, k) => {
      const own = diagonalBlock(factor, n, k, c), s = scaleOf(order[k]);
      rows.set(rowsBefore(factor, n, k, c), way * c * k * c);
      diagonal.set(own, way * c * c);
      inverse.set(lowerInverse(own, c), way * c * c);
      bias.set(
        codeBias(codebook, own, moments[s], precisions[s], prior.subarray(s * codes, (s + 1) * codes)),
        way * codes,
      );
    });
  });
  const kept = (values: Float32Array<ArrayBuffer>, ...shape: number[]) => keep(fromArray(device, values, shape));
  return {
    maps,
    settings,
    orders,
    rows: steps.map(({ rows }, k) => k === 0 ? null : kept(rows, orders.length, c, k * c)),
    diagonals: steps.map(({ diagonal }) => kept(diagonal, orders.length, c, c)),
    inverses: steps.map(({ inverse }) => kept(inverse, orders.length, c, c)),
    biases: steps.map(({ bias }) => kept(bias, orders.length, 1, codes)),
    pulls: moments.map(({ mean }, s) => kept(Float32Array.from(applied(precisions[s], mean, c)), 1, 1, c)),
    codes: keep(scope(() => packWeight(maps.codebook, "linear"))),
    basis,
    inverseNoise,
  };
}

function* tensorsOf({ rows, diagonals, inverses, biases, pulls, codes, basis, inverseNoise }: SearchTables) {
  for (const tensor of [...rows, ...diagonals, ...inverses, ...biases, ...pulls, codes, basis, inverseNoise]) {
    if (tensor) yield tensor;
  }
}

/** Bytes of the tables. */
export function searchTableBytes(tables: SearchTables): number {
  return [...tensorsOf(tables)].reduce((bytes, tensor) => bytes + tensor.bytes, 0);
}

/** Frees the tables; the maps are the caller's. */
export function disposeSearchTables(tables: SearchTables): void {
  for (const tensor of tensorsOf(tables)) tensor.dispose();
}

/** A'N^-1 A, [tokens c, tokens c] row-major. */
async function gramMatrix(maps: ScaleMaps, basis: Tensor, inverseNoise: Tensor): Promise<Float64Array<ArrayBuffer>> {
  const { channels: c, tokenCount, patchNums, starts, device } = maps;
  const n = tokenCount * c;
  const gram = new Float64Array(n * n);
  for (const [s, pn] of patchNums.entries()) {
    const values = pn * pn * c;
    for (let from = 0; from < values; from += gramPart) {
      const count = Math.min(gramPart, values - from);
      const units = new Float32Array(count * values);
      for (let i = 0; i < count; i++) units[i * values + from + i] = 1;
      const products = scope(() => {
        const weighed = applySpectral(
          basis,
          inverseNoise,
          maps.forward(fromArray(device, units, [count, pn, pn, c]), s),
        );
        return patchNums.map((_, other) => maps.adjoint(weighed, other));
      });
      for (const [other, product] of products.entries()) {
        const data = await product.data(), width = patchNums[other] ** 2 * c;
        for (let i = 0; i < count; i++) {
          gram.set(data.subarray(i * width, (i + 1) * width), (starts[s] * c + from + i) * n + starts[other] * c);
        }
        product.dispose();
      }
    }
  }
  return gram;
}

/** The inverse covariance of a scale's codes. */
function codePrecision({ covariance, variance }: Moments, c: number): Matrix {
  const wider = Float64Array.from(covariance, (value, i) => value + (i % (c + 1) === 0 ? ridge * variance : 0));
  return applyTo(eigen(wider, c), (value) => 1 / Math.max(value, ridge * variance));
}

function addBlocks(matrix: Float64Array, tokens: number, c: number, of: (token: number) => Matrix): void {
  for (let token = 0; token < tokens; token++) {
    const own = of(token);
    for (let i = 0; i < c; i++) {
      for (let j = 0; j < c; j++) matrix[(token * c + i) * tokens * c + token * c + j] += own[i * c + j];
    }
  }
}

/** Rows and columns of tokens in another order. */
function permuted(matrix: Float64Array, order: Int32Array, c: number): Float64Array<ArrayBuffer> {
  const n = order.length * c, out = new Float64Array(n * n);
  const from = Int32Array.from({ length: n }, (_, i) => order[Math.floor(i / c)] * c + i % c);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[i * n + j] = matrix[from[i] * n + from[j]];
  return out;
}

/** Columns that are made at a time, so that rows are read a quarter as often. */
const panel = 4;

/**
 * The upper triangular V with V V' = matrix, positive definite and row-major: Cholesky's decomposition from the last column
 * on, in place. Throws when the matrix is not positive definite.
 */
export function upperFactor(matrix: Float64Array<ArrayBuffer>, n: number): Float64Array<ArrayBuffer> {
  for (let end = n; end > 0;) {
    const start = end % panel === 0 ? end - panel : end - end % panel;
    subtractProducts(matrix, n, start, end);
    for (let i = end - 1; i >= start; i--) {
      for (let k = i + 1; k < end; k++) {
        const factor = matrix[i * n + k];
        for (let j = 0; j <= i; j++) matrix[j * n + i] -= factor * matrix[j * n + k];
      }
      const root = Math.sqrt(matrix[i * n + i]);
      if (!(root > 0)) throw new Error("search: codes and noise make no positive definite matrix");
      matrix[i * n + i] = root;
      for (let j = 0; j < i; j++) {
        matrix[j * n + i] /= root;
        matrix[i * n + j] = 0;
      }
    }
    end = start;
  }
  return matrix;
}

/** Takes from the columns start..end-1 the products of rows over the columns from `end` on. */
function subtractProducts(matrix: Float64Array, n: number, start: number, end: number): void {
  // With fewer than four columns the last one is computed several times, and written once.
  const row = (i: number) => Math.min(start + i, end - 1) * n;
  const [r0, r1, r2, r3] = [row(0), row(1), row(2), row(3)];
  for (let j = 0; j < end; j++) {
    const own = j * n;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let k = end; k < n; k++) {
      const value = matrix[own + k];
      s0 += value * matrix[r0 + k];
      s1 += value * matrix[r1 + k];
      s2 += value * matrix[r2 + k];
      s3 += value * matrix[r3 + k];
    }
    const sums = [s0, s1, s2, s3];
    for (let i = start; i < end; i++) matrix[own + i] -= sums[i - start];
  }
}

/** R's block (k, k), [c, c], of V = R'. */
function diagonalBlock(v: Float64Array, n: number, k: number, c: number): Matrix {
  return Float64Array.from({ length: c * c }, (_, i) => v[(k * c + i % c) * n + k * c + Math.floor(i / c)]);
}

/** Rows of token number k of R before its diagonal block, [c, k c]. */
function rowsBefore(v: Float64Array, n: number, k: number, c: number): Float32Array {
  const out = new Float32Array(c * k * c);
  for (let i = 0; i < c; i++) for (let j = 0; j < k * c; j++) out[i * k * c + j] = v[j * n + k * c + i];
  return out;
}

/** The inverse of a lower triangular matrix. */
function lowerInverse(l: Matrix, n: number): Matrix {
  const out = identity(n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = out[i * n + j];
      for (let k = j; k < i; k++) sum -= l[i * n + k] * out[k * n + j];
      out[i * n + j] = sum / l[i * n + i];
    }
  }
  return out;
}

/** a x for a[c, c]. */
function applied(a: Matrix, x: ArrayLike<number>, c: number): Float64Array {
  const out = new Float64Array(c);
  for (let i = 0; i < c; i++) for (let j = 0; j < c; j++) out[i] += a[i * c + j] * x[j];
  return out;
}

/** -|R_kk e|^2 / 2, plus log p(e) in place of the Gaussian that stood for the code, for every code e: [codes]. */
function codeBias(
  codebook: Float32Array,
  diagonal: Matrix,
  { mean }: Moments,
  precision: Matrix,
  prior: Float64Array,
): Float32Array {
  const c = mean.length;
  const squares = multiply(diagonal.map((_, i) => diagonal[(i % c) * c + Math.floor(i / c)]), diagonal, c);
  return Float32Array.from(prior, (p, v) => {
    let sum = Math.log(p);
    for (let i = 0; i < c; i++) {
      const a = codebook[v * c + i], da = a - mean[i];
      for (let j = 0; j < c; j++) {
        const b = codebook[v * c + j];
        sum += (da * precision[i * c + j] * (b - mean[j]) - a * squares[i * c + j] * b) / 2;
      }
    }
    return sum;
  });
}

function check({ beams, orders, noiseOfMeasured, noiseOfGreedyError }: SearchSettings, maps: ScaleMaps): void {
  if (!(Number.isInteger(beams) && beams >= 1)) throw new Error(`search: beams expects an integer >= 1, got ${beams}`);
  if (!(Number.isInteger(orders) && orders >= 1 && orders <= orderCount)) {
    throw new Error(`search: orders expects an integer from 1 to ${orderCount}, got ${orders}`);
  }
  for (const [name, value] of Object.entries({ noiseOfMeasured, noiseOfGreedyError })) {
    if (!(value > 0 && value < Infinity)) throw new Error(`search: ${name} expects a number above 0, got ${value}`);
  }
  const { tokenCount, channels } = maps;
  if (!isSearchable(tokenCount, channels)) {
    throw new Error(
      `search: ${tokenCount} tokens of ${channels} channels are more than ${searchLimit} values; use "estimate"`,
    );
  }
}
