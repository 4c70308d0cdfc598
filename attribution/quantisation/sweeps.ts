/**
 * Optimised quantisation by sweeps over the tokens. In an exact sweep every token gets the code that is best given all
 * others. In an annealed sweep it gets the mean of all codes, weighted by how good they are at a temperature
 * (mean-field annealing).
 *
 * With r = f - fHat, and A the map from a token's code vector to fHat: replacing its code m by e changes the squared
 * error by -2 e'h + e'Ge plus a constant, where h = A'r + Gm and G = A'A. G and e'Ge do not depend on the image, so
 * they are tables. Tokens that share no pixel are chosen at the same time.
 */
import {
  add,
  affine,
  argmax,
  concat,
  embedding,
  fromArray,
  keep,
  linear,
  matmul,
  mean,
  mul,
  packWeight,
  permute,
  reciprocal,
  scope,
  slice,
  softmax,
  square,
  sub,
  sum,
  type Tensor,
  transpose,
} from "../../core/tensor/mod.ts";
import { interactionPeriod, type PositionClass, positionClasses } from "./classes.ts";
import type { ScaleMaps } from "./scale_maps.ts";

/** Scales with at most this many values in their code vectors have a table of all products between their tokens. */
export const defaultProductLimit = 2048;

/** The tables of one class of a scale. */
interface ClassTables {
  /** Number of tokens. */
  readonly count: number;
  /** G of every token, [count, c, c]. */
  readonly gram: Tensor;
  /** e'Ge / 2 of every token and code, [1, count, codes]. */
  readonly half: Tensor;
  /** A_s'A between all tokens of the scale and those of the class, packed [n c, count c]; null for large scales. */
  readonly products: Tensor | null;
  /** Interpolation of the class's rows and columns, [side, rows] and [side, columns]; null if there are products. */
  readonly up: readonly [Tensor, Tensor] | null;
}

/** The tables of one scale. */
interface ScaleTables {
  readonly classes: readonly (PositionClass & ClassTables)[];
  /** Positions in the order of the classes, [n] (i32). */
  readonly order: Tensor;
  /** The inverse of `order`, [n] (i32). */
  readonly place: Tensor;
}

/** The tables of sweeps, which depend only on the tokenizer: about 45 MB at full size. */
export class SweepTables {
  /** The maps of the tokenizer. */
  readonly maps: ScaleMaps;
  /**
   * Tables by scale.
   *
   * @internal
   */
  readonly scales: readonly ScaleTables[];
  /** The codebook packed for products with codes, [codes, c]. */
  readonly #codes: Tensor;
  /** The codebook packed for weighted sums of codes, [c, codes]. */
  readonly #codesTransposed: Tensor;

  /** Makes the tables. `maps` must exist as long as they do; `productLimit` is for tests. */
  constructor(maps: ScaleMaps, productLimit = defaultProductLimit) {
    this.maps = maps;
    this.#codes = keep(packWeight(maps.codebook, "linear"));
    this.#codesTransposed = keep(scope(() => packWeight(transpose(maps.codebook), "linear")));
    this.scales = maps.patchNums.map((_, s) => keep(scaleTables(maps, s, productLimit)));
  }

  /** h[batch, count, c] -> products with all codes, [batch, count, codes]. */
  products(h: Tensor): Tensor {
    return linear(h, this.#codes);
  }

  /** weights[batch, count, codes] -> weighted sums of the codes, [batch, count, c]. */
  weighted(weights: Tensor): Tensor {
    return linear(weights, this.#codesTransposed);
  }

  /** Bytes of the tables. */
  get bytes(): number {
    let bytes = 0;
    for (const { classes } of this.scales) {
      for (const { gram, half, products } of classes) bytes += gram.bytes + half.bytes + (products?.bytes ?? 0);
    }
    return bytes;
  }

  /** Frees the tables. */
  dispose(): void {
    this.#codes.dispose();
    this.#codesTransposed.dispose();
    for (const { classes, order, place } of this.scales) {
      order.dispose();
      place.dispose();
      for (const { gram, half, products, up } of classes) {
        for (const tensor of [gram, half, products, ...(up ?? [])]) tensor?.dispose();
      }
    }
  }
}

function scaleTables(maps: ScaleMaps, scale: number, productLimit: number): ScaleTables {
  const { device, channels: c, side } = maps;
  const pn = maps.patchNums[scale], n = pn * pn;
  const enlargement = maps.enlargements[scale];
  const classes = positionClasses(pn, interactionPeriod(enlargement, side, pn));
  const order = classes.flatMap(({ positions }) => positions);
  const place = new Int32Array(n);
  order.forEach((position, i) => place[position] = i);
  return scope(() => {
    const orderTensor = fromArray(device, Int32Array.from(order), [n]);
    const keeps = n * c <= productLimit;
    return {
      order: orderTensor,
      place: fromArray(device, place, [n]),
      classes: classes.map((positions) => {
        const count = positions.positions.length;
        const tables = keeps
          ? withProducts(maps, scale, positions, orderTensor)
          : { gram: gramOf(maps, scale, positions), products: null, up: columnsOf(maps, scale, positions) };
        return { ...positions, count, ...tables, half: halfNorms(maps, tables.gram) };
      }),
    };
  });
}

/** e'Ge / 2 of every code, [1, count, codes], for gram[count, c, c]. */
function halfNorms(maps: ScaleMaps, gram: Tensor): Tensor {
  return scope(() => {
    const count = gram.shape[0];
    const rows = Array.from({ length: count }, (_, i) =>
      scope(() => {
        const tokenGram = slice(gram, 0, i, i + 1).reshape(maps.channels, maps.channels);
        return affine(sum(mul(matmul(maps.codebook, tokenGram), maps.codebook), 1), 0.5).reshape(1, 1, maps.codes);
      }));
    return concat(rows, 1);
  });
}

/** Unit code vectors [c, pn, pn, c]: an image per channel, with a one in that channel at every given position. */
function units(maps: ScaleMaps, scale: number, positions: readonly number[]): Tensor {
  const { channels: c } = maps;
  const pn = maps.patchNums[scale];
  const values = new Float32Array(c * pn * pn * c);
  for (let i = 0; i < c; i++) for (const position of positions) values[(i * pn * pn + position) * c + i] = 1;
  return fromArray(maps.device, values, [c, pn, pn, c]);
}

/** The blocks [count, c, c] of x[c, n, c] (input channel, position, output channel) at `positions`. */
function blocks(x: Tensor, positions: readonly number[]): Tensor {
  const [c, n] = x.shape;
  const index = fromArray(x.device, Int32Array.from(positions), [positions.length]);
  return embedding(permute(x, 1, 0, 2).reshape(n, c * c), index).reshape(positions.length, c, c);
}

/** G of the tokens of a class. They do not overlap, so that one image of unit vectors serves all of them. */
function gramOf(maps: ScaleMaps, scale: number, { positions }: PositionClass): Tensor {
  return scope(() => {
    const response = maps.adjoint(maps.forward(units(maps, scale, positions), scale), scale);
    return blocks(response.reshape(maps.channels, -1, maps.channels), positions);
  });
}

/** G of the tokens of a class, and their products with all tokens of the scale, in the order of the classes. */
function withProducts(
  maps: ScaleMaps,
  scale: number,
  { positions }: PositionClass,
  order: Tensor,
): Pick<ClassTables, "gram" | "products" | "up"> {
  const { channels: c } = maps;
  const n = maps.patchNums[scale] ** 2;
  return scope(() => {
    const grams: Tensor[] = [], columns: Tensor[] = [];
    for (const position of positions) {
      const [gram, column] = scope(() => {
        const response = maps.adjoint(maps.forward(units(maps, scale, [position]), scale), scale).reshape(c, n, c);
        const ordered = embedding(permute(response, 1, 0, 2).reshape(n, c * c), order).reshape(n, c, c);
        return [blocks(response, [position]), permute(ordered, 0, 2, 1).reshape(n * c, 1, c)];
      });
      grams.push(gram);
      columns.push(column);
    }
    const products = concat(columns, 1).reshape(n * c, positions.length * c);
    return { gram: concat(grams, 0), products: packWeight(products, "linear"), up: null };
  });
}

/** The interpolation of the rows and of the columns of a class. */
function columnsOf(maps: ScaleMaps, scale: number, { rows, columns }: PositionClass): readonly [Tensor, Tensor] {
  const pn = maps.patchNums[scale];
  const matrix = maps.enlargements[scale];
  const take = (of: readonly number[]) => {
    const values = new Float32Array(maps.side * of.length);
    for (let y = 0; y < maps.side; y++) of.forEach((i, k) => values[y * of.length + k] = matrix[y * pn + i]);
    return fromArray(maps.device, values, [maps.side, of.length]);
  };
  return [take(rows), take(columns)];
}

/** The current tokens. */
interface State {
  /** f - fHat of the code vectors, [batch, side, side, c]. */
  readonly rest: Tensor;
  /** Code vectors by scale and class, [batch, count, c]. */
  readonly vectors: readonly (readonly Tensor[])[];
  /** Best codes by scale and class, [batch, count] (i32). */
  readonly chosen: readonly (readonly Tensor[])[];
}

/**
 * Sweeps from coarse to fine scales, once per entry of `temperatures`, from tokens[batch, tokenCount] (i32) of f[batch,
 * side, side, c] to new tokens and their fHat. A temperature is a mean squared error per image, [batch, 1, 1]: a code
 * has the weight exp(-|f - fHat|^2 / (2 temperature)). Null is an exact sweep, which never increases an image's error.
 * Throws unless the last entry is null.
 */
export function sweep(
  tables: SweepTables,
  f: Tensor,
  tokens: Tensor,
  temperatures: readonly (Tensor | null)[],
): { tokens: Tensor; fHat: Tensor } {
  const { maps } = tables;
  if (temperatures.at(-1) !== null) throw new RangeError("sweep: the last sweep must be exact (temperature null)");
  return scope(() => {
    let state = start(tables, f, tokens);
    for (const temperature of temperatures) {
      const before = state;
      state = scope(() => {
        const sharpness = temperature && reciprocal(temperature);
        let next = before;
        maps.patchNums.forEach((_, s) => next = sweepScale(tables, next, s, sharpness));
        return next;
      });
    }
    const parts = tables.scales.map(({ place }, s) =>
      permute(embedding(permute(concat(state.chosen[s], 1), 1, 0), place), 1, 0)
    );
    const result = concat(parts, 1);
    return { tokens: result, fHat: maps.dequantize(result) };
  });
}

/** The state of tokens[batch, tokenCount]. */
function start({ maps, scales }: SweepTables, f: Tensor, tokens: Tensor): State {
  const byScale = scales.map(({ order, classes }, s) => {
    const columns = permute(slice(tokens, 1, maps.starts[s], maps.starts[s + 1]), 1, 0);
    const ordered = permute(embedding(columns, order), 1, 0);
    let at = 0;
    return classes.map(({ count }) => slice(ordered, 1, at, at += count));
  });
  return {
    rest: maps.residual(f, tokens),
    chosen: byScale,
    vectors: byScale.map((classes) => classes.map((chosen) => embedding(maps.codebook, chosen))),
  };
}

/** Chooses all tokens of one scale. `sharpness` is 1 / temperature, null in an exact sweep. */
function sweepScale(tables: SweepTables, state: State, scale: number, sharpness: Tensor | null): State {
  return scope(() => {
    const keeps = tables.scales[scale].classes[0].products !== null;
    const { rest, vectors, chosen } = (keeps ? sweepByProducts : sweepByMaps)(tables, state, scale, sharpness);
    const replace = (all: readonly (readonly Tensor[])[], replacement: readonly Tensor[]) =>
      all.map((classes, s) => (s === scale ? replacement : classes));
    return { rest, vectors: replace(state.vectors, vectors), chosen: replace(state.chosen, chosen) };
  });
}

/** The part of a state that changes with one scale. */
interface ScaleState {
  readonly rest: Tensor;
  readonly vectors: readonly Tensor[];
  readonly chosen: readonly Tensor[];
}

/** For coarse scales: computes A'r of all tokens once, and updates it by the products between tokens. */
function sweepByProducts(tables: SweepTables, state: State, scale: number, sharpness: Tensor | null): ScaleState {
  const { maps } = tables;
  const { classes, order, place } = tables.scales[scale];
  const { channels: c } = maps;
  const batch = state.rest.shape[0], pn = maps.patchNums[scale], n = pn * pn;
  const before = state.vectors[scale];
  let projected = reorder(maps.adjoint(state.rest, scale).reshape(batch, n, c), order).reshape(batch, n * c);
  const vectors: Tensor[] = [], chosen: Tensor[] = [], changes: Tensor[] = [];
  let at = 0;
  classes.forEach(({ count, gram, half, products }, k) => {
    const step = scope(() => {
      const ofClass = slice(projected, 1, at * c, (at + count) * c).reshape(batch, count, c);
      const best = choose(tables, add(ofClass, times(before[k], gram)), half, sharpness);
      const change = sub(before[k], best.vectors);
      const residual = projected;
      return {
        ...best,
        change,
        projected: linear(change.reshape(batch, count * c), products!, undefined, { residual }),
      };
    });
    at += count;
    projected = step.projected;
    vectors.push(step.vectors);
    chosen.push(step.chosen);
    changes.push(step.change);
  });
  const change = reorder(concat(changes, 1), place).reshape(batch, pn, pn, c);
  return { rest: maps.forward(change, scale, state.rest), vectors, chosen };
}

/** For fine scales: computes A'r of a class from the residual, which is updated after every class. */
function sweepByMaps(tables: SweepTables, state: State, scale: number, sharpness: Tensor | null): ScaleState {
  const { maps } = tables;
  const { side, channels: c } = maps;
  const batch = state.rest.shape[0];
  const phi = maps.phiOf(scale);
  let rest = state.rest;
  const vectors: Tensor[] = [], chosen: Tensor[] = [];
  tables.scales[scale].classes.forEach(({ rows, columns, count, gram, half, up }, k) => {
    const [upRows, upColumns] = up!;
    const step = scope(() => {
      const spread = maps.phiAdjoint(rest, phi).reshape(batch, side, side * c);
      const byRow = matmul(upRows, spread, { transA: true }).reshape(batch * rows.length, side, c);
      const ofClass = matmul(upColumns, byRow, { transA: true }).reshape(batch, count, c);
      const before = state.vectors[scale][k];
      const best = choose(tables, add(ofClass, times(before, gram)), half, sharpness);
      const change = sub(before, best.vectors).reshape(batch, rows.length, columns.length * c);
      const wide = matmul(upRows, change).reshape(batch * side, columns.length, c);
      const full = matmul(upColumns, wide).reshape(batch, side, side, c);
      return { ...best, rest: maps.phiForward(full, phi, rest) };
    });
    rest = step.rest;
    vectors.push(step.vectors);
    chosen.push(step.chosen);
  });
  return { rest, vectors, chosen };
}

/**
 * The best codes for h[batch, count, c] and their vectors; at a temperature, the vectors are weighted means of all
 * codes.
 */
function choose(
  tables: SweepTables,
  h: Tensor,
  half: Tensor,
  sharpness: Tensor | null,
): { vectors: Tensor; chosen: Tensor } {
  return scope(() => {
    const score = sub(tables.products(h), half);
    const chosen = argmax(score);
    const vectors = sharpness
      ? tables.weighted(softmax(mul(score, sharpness)))
      : embedding(tables.maps.codebook, chosen);
    return { vectors, chosen };
  });
}

/** G m of every token, for m[batch, count, c] and symmetric gram[count, c, c]. */
function times(m: Tensor, gram: Tensor): Tensor {
  const [batch, count, c] = m.shape;
  if (count === 1) return matmul(m.reshape(batch, c), gram.reshape(c, c)).reshape(batch, 1, c);
  if (batch === 1) return matmul(m.reshape(count, 1, c), gram).reshape(1, count, c);
  return scope(() => permute(matmul(permute(m, 1, 0, 2), gram), 1, 0, 2));
}

/** x[batch, n, c] with its tokens in the order of index[n] (i32). */
function reorder(x: Tensor, index: Tensor): Tensor {
  const [batch, n, c] = x.shape;
  if (batch === 1) return embedding(x.reshape(n, c), index).reshape(1, n, c);
  return scope(() => {
    const rows = permute(x, 1, 0, 2).reshape(n, batch * c);
    return permute(embedding(rows, index).reshape(n, batch, c), 1, 0, 2);
  });
}

/** Mean squared error of fHat per image, [batch, 1, 1], which can be a temperature. */
export function errorOf(f: Tensor, fHat: Tensor): Tensor {
  return scope(() => mean(square(sub(f, fHat)).reshape(f.shape[0], -1), 1).reshape(-1, 1, 1));
}
