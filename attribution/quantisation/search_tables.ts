/**
 * The tables of tree_search.ts. With b = A'N^-1 (f - offset) + L m, where A maps code vectors of all tokens to f, N is the
 * covariance of the noise, and m and L are mean and inverse covariance of codes by scale, the logarithm of the posterior of
 * code vectors z that are Gaussian is -|R z - y|^2 / 2 up to a constant, where R is lower triangular in the order of the
 * search, R'R = A'N^-1 A + L, and R'y = b. Row k of R holds the tokens up to the k-th: maximising over the later ones makes
 * their rows zero, so that what is left is the posterior with the later tokens integrated out.
 */
import {
  concat,
  disposeAll,
  embedding,
  fromArray,
  keep,
  matmul,
  packWeight,
  scope,
  slice,
  sub,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import { applySpectral } from "./covariance.ts";
import { defaultMmse, type MmseSettings } from "./mmse.ts";
import { assumptions, type Moments } from "./mmse_model.ts";
import type { ScaleMaps } from "./scale_maps.ts";
import { cosines, SpectralBlocks } from "./spectral_blocks.ts";
import { applyTo, eigen, type Matrix, multiply } from "./symmetric.ts";
import { orderCount, tokenOrder } from "./token_order.ts";
import { diagonalBlock, lowerInverse, transposed, upperFactor } from "./triangular.ts";

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

/**
 * The most values of all code vectors together (tokens times channels): tables grow with their square, the making of tables
 * with their cube, and with ten scales the true beginnings are lost among others (docs/quantisation.md).
 */
export const searchLimit = 4096;

/** Throws when a tokenizer is too large to be searched. */
export function requireSearchable(tokenCount: number, channels: number): void {
  if (tokenCount * channels <= searchLimit) return;
  throw new Error(
    `search: ${tokenCount} tokens of ${channels} channels are more than ${searchLimit} values; use "estimate"`,
  );
}

/** Part of a scale's mean variance that is added to the covariance of its codes, which may lie in few directions. */
const ridge = 1e-3;

/** Most rows of R that are made at a time. */
const panelRows = 128;

/** Tokens whose rows are made at a time. */
export const panelTokens = (channels: number): number => Math.max(1, Math.floor(panelRows / channels));

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

/** Makes the tables, in half a second for a thousand values. Throws on settings that make no sense and above `searchLimit`. */
export async function searchTables(
  maps: ScaleMaps,
  tokenizer: ImageTokenizer,
  settings: SearchSettings = defaultSearch,
): Promise<SearchTables> {
  check(settings, maps);
  const { device, channels: c, codes, tokenCount, patchNums, starts } = maps;
  const codebook = await maps.codebook.data();
  const assumed: MmseSettings = { ...defaultMmse, ...settings };
  const { moments, prior, noiseCovariances } = await assumptions(maps, tokenizer, codebook, assumed);
  const kernels = await Promise.all(maps.kernels.map((kernel) => kernel.data()));
  const noiseAt = (w: number) => noiseCovariances[noiseCovariances.length > 1 ? w : 0];
  const basis = keep(fromArray(device, cosines(maps.side), [maps.side, maps.side]));
  const inverseNoise = keep(
    fromArray(device, new SpectralBlocks(maps, kernels).inverse(noiseAt), [maps.side ** 2, c, c]),
  );
  const precisions = moments.map((own) => codePrecision(own, c));
  const scaleOf = (token: number) => starts.findLastIndex((start) => start <= token);

  const orders = Array.from({ length: settings.orders }, (_, way) => tokenOrder(patchNums, way));
  const hosted = Array.from({ length: tokenCount }, () => ({
    diagonal: new Float32Array(orders.length * c * c),
    inverse: new Float32Array(orders.length * c * c),
    bias: new Float32Array(orders.length * codes),
  }));
  const before = Array.from({ length: tokenCount }, (): Tensor[] => []);
  for (const [way, order] of orders.entries()) {
    const precisionOf = (step: number) => precisions[scaleOf(order[step])];
    await factorRows(maps, { basis, inverseNoise }, order, precisionOf, (k, rows, own) => {
      if (rows) before[k].push(rows);
      const s = scaleOf(order[k]), { diagonal, inverse, bias } = hosted[k];
      diagonal.set(own, way * c * c);
      inverse.set(lowerInverse(own, c), way * c * c);
      bias.set(
        codeBias(codebook, own, moments[s], precisions[s], prior.subarray(s * codes, (s + 1) * codes)),
        way * codes,
      );
    });
  }
  const kept = (values: Float32Array<ArrayBuffer>, ...shape: number[]) => keep(fromArray(device, values, shape));
  return {
    maps,
    settings,
    orders,
    rows: before.map((each, k) => k === 0 ? null : stacked(each)),
    diagonals: hosted.map(({ diagonal }) => kept(diagonal, orders.length, c, c)),
    inverses: hosted.map(({ inverse }) => kept(inverse, orders.length, c, c)),
    biases: hosted.map(({ bias }) => kept(bias, orders.length, 1, codes)),
    pulls: moments.map(({ mean }, s) => kept(Float32Array.from(applied(precisions[s], mean, c)), 1, 1, c)),
    codes: keep(scope(() => packWeight(maps.codebook, "linear"))),
    basis,
    inverseNoise,
  };
}

/** One tensor [n, ...shape] of n of that shape, which are freed. */
function stacked(each: readonly Tensor[]): Tensor {
  const all = keep(scope(() => {
    const one = each.map((tensor) => tensor.reshape(1, ...tensor.shape));
    return one.length === 1 ? one[0].alias() : concat(one, 0);
  }));
  for (const tensor of each) tensor.dispose();
  return all;
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

/** Noise, as in SearchTables. */
type Noise = Pick<SearchTables, "basis" | "inverseNoise">;

/**
 * R for one order, by panels of tokens from the last to the first. With S = A'N^-1 A + L minus what the rows below explain,
 * S_II = V V' for a panel's own columns (V upper triangular), and its rows are V^-1 S, V' in its own columns. Calls `each`
 * for every step with R's rows before the token's own columns, [c, k c], which become the caller's, and those columns.
 */
async function factorRows(
  maps: ScaleMaps,
  noise: Noise,
  order: Int32Array,
  precisionOf: (step: number) => Matrix,
  each: (step: number, rows: Tensor | null, own: Matrix) => void,
): Promise<void> {
  const { device, channels: c, tokenCount } = maps, size = panelTokens(c);
  const panels: Tensor[] = [];
  for (let end = tokenCount; end > 0;) {
    const start = Math.floor((end - 1) / size) * size, first = start * c, width = (end - start) * c;
    let rest = gramRows(maps, noise, order, start, end);
    for (const later of panels) {
      using last = rest;
      rest = scope(() => {
        const columns = slice(later, 1, 0, end * c);
        return sub(last, matmul(slice(columns, 1, first, end * c), columns, { transA: true }));
      });
    }
    const own = scope(() => slice(rest, 1, first, end * c));
    const block = Float64Array.from(await own.data());
    for (let step = start; step < end; step++) addBlock(block, width, (step - start) * c, precisionOf(step), c);
    const lower = transposed(upperFactor(block, width), width);
    const panel = keep(scope(() => {
      const columns = fromArray(device, Float32Array.from(lower), [width, width]);
      if (start === 0) return columns;
      const inverse = fromArray(device, Float32Array.from(lowerInverse(lower, width)), [width, width]);
      return concat([matmul(inverse, slice(rest, 1, 0, first), { transA: true }), columns], 1);
    }));
    disposeAll([own, rest]);
    panels.push(panel);
    for (let step = start; step < end; step++) {
      const row = (step - start) * c;
      const rows = step === 0 ? null : keep(scope(() => slice(slice(panel, 0, row, row + c), 1, 0, step * c)));
      each(step, rows, diagonalBlock(lower, width, row, c));
    }
    end = start;
  }
  disposeAll(panels);
}

/** Rows of A'N^-1 A for the tokens of steps start..end-1, columns for those of the steps before `end`. */
function gramRows(
  maps: ScaleMaps,
  { basis, inverseNoise }: Noise,
  order: Int32Array,
  start: number,
  end: number,
): Tensor {
  const { device, channels: c, patchNums, starts, tokenCount } = maps;
  return scope(() => {
    const steps: number[] = [];
    const products = patchNums.flatMap((pn, s) => {
      const own = [...order.subarray(start, end).keys()].map((i) => start + i)
        .filter((step) => order[step] >= starts[s] && order[step] < starts[s + 1]);
      if (own.length === 0) return [];
      const values = pn * pn * c, units = new Float32Array(own.length * c * values);
      own.forEach((step, i) => {
        for (let j = 0; j < c; j++) units[(i * c + j) * values + (order[step] - starts[s]) * c + j] = 1;
      });
      steps.push(...own);
      return [scope(() => {
        const f = maps.forward(fromArray(device, units, [own.length * c, pn, pn, c]), s);
        const weighed = applySpectral(basis, inverseNoise, f);
        return concat(patchNums.map((_, other) => maps.adjoint(weighed, other).reshape(own.length * c, -1, c)), 1);
      })];
    });
    // Rows came by scale and columns by token; both are to be in the order of the search.
    const index = new Int32Array((end - start) * c * end);
    for (let step = start, at = 0; step < end; step++) {
      const from = steps.indexOf(step) * c;
      for (let j = 0; j < c; j++) for (let k = 0; k < end; k++) index[at++] = (from + j) * tokenCount + order[k];
    }
    const table = concat(products, 0).reshape(-1, c);
    return embedding(table, fromArray(device, index, [index.length])).reshape((end - start) * c, end * c);
  });
}

/** The inverse covariance of a scale's codes. */
function codePrecision({ covariance, variance }: Moments, c: number): Matrix {
  const wider = Float64Array.from(covariance, (value, i) => value + (i % (c + 1) === 0 ? ridge * variance : 0));
  return applyTo(eigen(wider, c), (value) => 1 / Math.max(value, ridge * variance));
}

/** Adds block[c, c] to the rows and columns from `at` on of matrix[n, n]. */
function addBlock(matrix: Float64Array, n: number, at: number, block: Matrix, c: number): void {
  for (let i = 0; i < c; i++) for (let j = 0; j < c; j++) matrix[(at + i) * n + at + j] += block[i * c + j];
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
  const squares = multiply(transposed(diagonal, c), diagonal, c);
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
  requireSearchable(maps.tokenCount, maps.channels);
}
