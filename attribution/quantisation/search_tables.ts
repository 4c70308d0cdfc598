/**
 * The tables of tree_search.ts.
 *
 * A maps the code vectors of all tokens to f, N is the covariance of the noise, and m and L are mean and inverse
 * covariance of the codes, by scale. If code vectors z were Gaussian, the logarithm of their posterior would be -|R z -
 * y|^2 / 2 up to a constant. Here R is lower triangular in the order of the search, R'R = A'N^-1 A + L, R'y = b, and b
 * = A'N^-1 (f - offset) + L m.
 *
 * Row k of R involves the tokens up to the k-th only. Maximising over the later tokens makes the later rows zero. So
 * the first k rows are the posterior with the later tokens integrated out.
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

/** How tokens are searched. */
export interface SearchSettings {
  /** Prefixes of token sequences that are kept per image and order. */
  readonly beams: number;
  /** Number of orders that are tried, 1 to `orderCount`. The best result wins. */
  readonly orders: number;
  /** As in MmseSettings. The search does best with a smaller factor than the estimate (docs/quantisation.md). */
  readonly noiseOfMeasured: number;
  /** As in MmseSettings. */
  readonly noiseOfGreedyError: number;
}

/** The settings that docs/quantisation.md measures. */
export const defaultSearch: SearchSettings = {
  beams: 32,
  orders: 4,
  noiseOfMeasured: 4,
  noiseOfGreedyError: defaultMmse.noiseOfGreedyError,
};

/**
 * The largest tokenizer that is searched, in values of all code vectors (tokens times channels). Tables grow with the
 * square of that number and the time to make them with its cube. With ten scales, the search also loses the true
 * prefixes (docs/quantisation.md).
 */
export const searchLimit = 4096;

/** Throws if a tokenizer is too large to be searched. */
export function requireSearchable(tokenCount: number, channels: number): void {
  if (tokenCount * channels <= searchLimit) return;
  throw new RangeError(
    `search: ${tokenCount} tokens of ${channels} channels are more than ${searchLimit} values; use "estimate"`,
  );
}

/** Share of a scale's mean variance that is added to the covariance of its codes, because that may be singular. */
const ridge = 1e-3;

/** Most rows of R that are made together, a panel. */
const panelRows = 128;

/** Tokens of a panel. */
export const panelTokens = (channels: number): number => Math.max(1, Math.floor(panelRows / channels));

/** The tables of a search. "Own columns" of a token are the columns of R that belong to it. */
export interface SearchTables {
  /** The maps of the tokenizer. */
  readonly maps: ScaleMaps;
  /** How they were made. */
  readonly settings: SearchSettings;
  /** By order, the indices of the tokens. */
  readonly orders: readonly Int32Array<ArrayBuffer>[];
  /** By step k, R's rows of the token left of its own columns, [orders, c, k c]; null for the first step. */
  readonly rows: readonly (Tensor | null)[];
  /** By step, R's rows of the token in its own columns, [orders, c, c]. */
  readonly diagonals: readonly Tensor[];
  /** By step, the inverses of `diagonals`. */
  readonly inverses: readonly Tensor[];
  /** By step, the part of a code's log-probability that does not depend on the image, [orders, 1, codes]. */
  readonly biases: readonly Tensor[];
  /** By scale, L m, [1, 1, c]. */
  readonly pulls: readonly Tensor[];
  /** The codebook, packed for `linear`. */
  readonly codes: Tensor;
  /** The cosine transform of one axis, [side, side]. */
  readonly basis: Tensor;
  /** Inverse covariance of the noise by frequency, [side * side, c, c]. */
  readonly inverseNoise: Tensor;
}

/**
 * Makes the tables, in half a second for a thousand values. Throws on settings out of range, and above `searchLimit`.
 */
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
  const precisions = moments.map((ofScale) => codePrecision(ofScale, c));
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
    await factorRows(maps, { basis, inverseNoise }, order, precisionOf, (k, rows, block) => {
      if (rows) before[k].push(rows);
      const s = scaleOf(order[k]), { diagonal, inverse, bias } = hosted[k];
      diagonal.set(block, way * c * c);
      inverse.set(lowerInverse(block, c), way * c * c);
      bias.set(
        codeBias(codebook, block, moments[s], precisions[s], prior.subarray(s * codes, (s + 1) * codes)),
        way * codes,
      );
    });
  }
  const kept = (values: Float32Array<ArrayBuffer>, ...shape: number[]) => keep(fromArray(device, values, shape));
  return {
    maps,
    settings,
    orders,
    rows: before.map((byOrder, k) => k === 0 ? null : stacked(byOrder)),
    diagonals: hosted.map(({ diagonal }) => kept(diagonal, orders.length, c, c)),
    inverses: hosted.map(({ inverse }) => kept(inverse, orders.length, c, c)),
    biases: hosted.map(({ bias }) => kept(bias, orders.length, 1, codes)),
    pulls: moments.map(({ mean }, s) => kept(Float32Array.from(applied(precisions[s], mean, c)), 1, 1, c)),
    codes: keep(scope(() => packWeight(maps.codebook, "linear"))),
    basis,
    inverseNoise,
  };
}

/** Stacks tensors of one shape as [n, ...shape], and frees them. */
function stacked(tensors: readonly Tensor[]): Tensor {
  const all = keep(scope(() => {
    const rows = tensors.map((tensor) => tensor.reshape(1, ...tensor.shape));
    return rows.length === 1 ? rows[0].alias() : concat(rows, 0);
  }));
  for (const tensor of tensors) tensor.dispose();
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

/** Frees the tables, not the maps. */
export function disposeSearchTables(tables: SearchTables): void {
  for (const tensor of tensorsOf(tables)) tensor.dispose();
}

/** The model of the noise, as in SearchTables. */
type Noise = Pick<SearchTables, "basis" | "inverseNoise">;

/**
 * Computes R for one order, by panels of tokens from the last to the first. S is A'N^-1 A + L minus what the rows below
 * explain. In a panel's own columns S is factored as V V', V upper triangular. The panel's rows of R are V^-1 S, which
 * is V' in its own columns. Calls `onStep` for every step with R's rows left of the token's own columns, [c, k c],
 * which the caller owns, and with its block [c, c] in its own columns.
 */
async function factorRows(
  maps: ScaleMaps,
  noise: Noise,
  order: Int32Array,
  precisionOf: (step: number) => Matrix,
  onStep: (step: number, rows: Tensor | null, block: Matrix) => void,
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
    const ownColumns = scope(() => slice(rest, 1, first, end * c));
    const block = Float64Array.from(await ownColumns.data());
    for (let step = start; step < end; step++) addBlock(block, width, (step - start) * c, precisionOf(step), c);
    const lower = transposed(upperFactor(block, width), width);
    const panel = keep(scope(() => {
      const columns = fromArray(device, Float32Array.from(lower), [width, width]);
      if (start === 0) return columns;
      const inverse = fromArray(device, Float32Array.from(lowerInverse(lower, width)), [width, width]);
      return concat([matmul(inverse, slice(rest, 1, 0, first), { transA: true }), columns], 1);
    }));
    disposeAll([ownColumns, rest]);
    panels.push(panel);
    for (let step = start; step < end; step++) {
      const row = (step - start) * c;
      const rows = step === 0 ? null : keep(scope(() => slice(slice(panel, 0, row, row + c), 1, 0, step * c)));
      onStep(step, rows, diagonalBlock(lower, width, row, c));
    }
    end = start;
  }
  disposeAll(panels);
}

/** A'N^-1 A: rows for the tokens of steps start..end - 1, columns for those of the steps before `end`. */
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
      const ofScale = [...order.subarray(start, end).keys()].map((i) => start + i)
        .filter((step) => order[step] >= starts[s] && order[step] < starts[s + 1]);
      if (ofScale.length === 0) return [];
      const values = pn * pn * c, units = new Float32Array(ofScale.length * c * values);
      ofScale.forEach((step, i) => {
        for (let j = 0; j < c; j++) units[(i * c + j) * values + (order[step] - starts[s]) * c + j] = 1;
      });
      steps.push(...ofScale);
      return [scope(() => {
        const f = maps.forward(fromArray(device, units, [ofScale.length * c, pn, pn, c]), s);
        const weighted = applySpectral(basis, inverseNoise, f);
        return concat(patchNums.map((_, t) => maps.adjoint(weighted, t).reshape(ofScale.length * c, -1, c)), 1);
      })];
    });
    // Rows are by scale and columns by token. Both are brought into the order of the search.
    const index = new Int32Array((end - start) * c * end);
    for (let step = start, at = 0; step < end; step++) {
      const from = steps.indexOf(step) * c;
      for (let j = 0; j < c; j++) for (let k = 0; k < end; k++) index[at++] = (from + j) * tokenCount + order[k];
    }
    const table = concat(products, 0).reshape(-1, c);
    return embedding(table, fromArray(device, index, [index.length])).reshape((end - start) * c, end * c);
  });
}

/** The inverse covariance [c, c] of a scale's codes. */
function codePrecision({ covariance, variance }: Moments, c: number): Matrix {
  const regular = Float64Array.from(covariance, (value, i) => value + (i % (c + 1) === 0 ? ridge * variance : 0));
  return applyTo(eigen(regular, c), (value) => 1 / Math.max(value, ridge * variance));
}

/** Adds block[c, c] to matrix[n, n], from row and column `at` on. */
function addBlock(matrix: Float64Array, n: number, at: number, block: Matrix, c: number): void {
  for (let i = 0; i < c; i++) for (let j = 0; j < c; j++) matrix[(at + i) * n + at + j] += block[i * c + j];
}

/** The product of a[c, c] and x[c]. */
function applied(a: Matrix, x: ArrayLike<number>, c: number): Float64Array {
  const out = new Float64Array(c);
  for (let i = 0; i < c; i++) for (let j = 0; j < c; j++) out[i] += a[i * c + j] * x[j];
  return out;
}

/**
 * For every code e, -|R_kk e|^2 / 2 + log p(e) minus the logarithm of the Gaussian that stood for the code: [codes].
 */
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
  if (!(Number.isInteger(beams) && beams >= 1)) {
    throw new RangeError(`search: beams expects an integer >= 1, got ${beams}`);
  }
  if (!(Number.isInteger(orders) && orders >= 1 && orders <= orderCount)) {
    throw new RangeError(`search: orders expects an integer from 1 to ${orderCount}, got ${orders}`);
  }
  for (const [name, value] of Object.entries({ noiseOfMeasured, noiseOfGreedyError })) {
    if (!(value > 0 && value < Infinity)) {
      throw new RangeError(`search: ${name} expects a number above 0, got ${value}`);
    }
  }
  requireSearchable(maps.tokenCount, maps.channels);
}
