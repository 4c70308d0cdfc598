/**
 * Finds the most probable tokens of a latent by a beam search. Tokens are decided one after the other. After each, the
 * likeliest prefixes are kept; later tokens are integrated out, with Gaussians in place of their codes. Scales are
 * searched depth first (token_order.ts), and from several corners, because the evidence for a coarse token may lie in
 * any part of the image.
 *
 * Sources: Anderson & Mohan 1984 (the M-algorithm); Guo & Nilsson 2006 (K-best sphere decoding). The Gaussians are
 * those of decision feedback with minimum mean squared error.
 */
import {
  add,
  affine,
  arange,
  argmax,
  cast,
  concat,
  disposeAll,
  embedding,
  floor,
  fromArray,
  linear,
  matmul,
  scope,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  topK,
  transpose,
} from "../../core/tensor/mod.ts";
import { applySpectral } from "./covariance.ts";
import type { SearchTables } from "./search_tables.ts";

/** The kept prefixes of all orders and images. */
interface Beams {
  /** Log-posterior up to a constant, [orders * batch, beams], the largest first. */
  readonly scores: Tensor;
  /** Tokens in the order of the search, [orders * batch * beams, steps] (i32); null before the first step. */
  readonly tokens: Tensor | null;
  /** Their code vectors, [orders * batch * beams, steps * c]. */
  readonly vectors: Tensor | null;
}

/** f[batch, side, side, c] -> the most probable tokens[batch, tokenCount] (i32). They do not depend on the batch. */
export function treeSearch(tables: SearchTables, f: Tensor): Tensor {
  const { maps, orders, settings } = tables;
  const batch = f.shape[0], { device, codes } = maps;
  return scope(() => {
    const targets = targetsOf(tables, f);
    let beams: Beams = {
      scores: fromArray(device, new Float32Array(orders.length * batch), [orders.length * batch, 1]),
      tokens: null,
      vectors: null,
    };
    for (let step = 0; step < maps.tokenCount; step++) {
      const before = beams;
      beams = scope(() => {
        const width = Math.min(settings.beams, before.scores.shape[1] * codes);
        return extend(tables, before, targets[step], step, width);
      });
      // Frees each step. Keeping all would take about tokenCount / 2 times the memory.
      disposeAll([before, targets[step]]);
    }
    return best(tables, beams, batch);
  });
}

/** Solves R'y = b, from the last row on: y by step, [orders, batch, c]. */
function targetsOf({ maps, orders, pulls, rows, inverses, basis, inverseNoise }: SearchTables, f: Tensor): Tensor[] {
  const { device, channels: c, tokenCount, patchNums } = maps;
  const batch = f.shape[0];
  const evidence = scope(() => {
    const weighted = applySpectral(basis, inverseNoise, sub(f, maps.offset));
    return concat(patchNums.map((_, s) => add(maps.adjoint(weighted, s).reshape(batch, -1, c), pulls[s])), 1);
  });
  const index = new Int32Array(orders.length * batch * tokenCount);
  orders.forEach((order, way) => {
    for (let b = 0; b < batch; b++) {
      order.forEach((token, k) => index[(way * batch + b) * tokenCount + k] = b * tokenCount + token);
    }
  });
  let rest = embedding(evidence.reshape(batch * tokenCount, c), fromArray(device, index, [index.length]))
    .reshape(orders.length, batch, tokenCount * c);
  const targets = new Array<Tensor>(tokenCount);
  for (let k = tokenCount - 1; k >= 0; k--) {
    const last = rest;
    const solved = scope(() => {
      const y = matmul(slice(last, 2, k * c, (k + 1) * c), inverses[k]);
      return { y, rest: k === 0 ? last.alias() : sub(slice(last, 2, 0, k * c), matmul(y, rows[k]!)) };
    });
    last.dispose();
    targets[k] = solved.y;
    rest = solved.rest;
  }
  return targets;
}

/** Extends every prefix by all codes of the next token, and keeps the `width` likeliest. */
function extend(
  { maps, orders, rows, diagonals, biases, codes: packed }: SearchTables,
  { scores, tokens, vectors }: Beams,
  target: Tensor,
  step: number,
  width: number,
): Beams {
  const { device, channels: c, codes, codebook } = maps;
  const [searches, beams] = scores.shape, batch = searches / orders.length;
  const y = target.reshape(searches, 1, c);
  const rest = vectors === null ? y : sub(
    y,
    matmul(vectors.reshape(orders.length, batch * beams, step * c), rows[step]!, { transB: true }).reshape(
      searches,
      beams,
      c,
    ),
  );
  // -|rest - R_kk e|^2 / 2 = -|rest|^2 / 2 + rest'R_kk e - |R_kk e|^2 / 2. The last term is in the biases.
  const squares = affine(sum(square(rest), 2), -0.5);
  const rotated = matmul(rest.reshape(orders.length, batch * beams, c), diagonals[step]);
  const products = add(linear(rotated, packed), biases[step]).reshape(searches, beams, codes);
  const all = add(products, add(scores, squares).reshape(searches, beams, 1));
  const { values, indices } = topK(all.reshape(searches, beams * codes), width);
  const index = cast(indices, "f32");
  const parent = floor(affine(index, 1 / codes, 0.5 / codes));
  const token = cast(sub(index, affine(parent, codes)), "i32").reshape(searches * width);
  const column = token.reshape(searches * width, 1), vector = embedding(codebook, token);
  if (tokens === null || vectors === null) return { scores: values, tokens: column, vectors: vector };
  const first = affine(cast(arange(device, searches), "f32"), beams).reshape(searches, 1);
  const row = cast(add(parent, first), "i32").reshape(searches * width);
  return {
    scores: values,
    tokens: concat([embedding(tokens, row), column], 1),
    vectors: concat([embedding(vectors, row), vector], 1),
  };
}

/** The likeliest tokens over all orders, by token index: [batch, tokenCount] (i32). */
function best({ maps, orders }: SearchTables, { scores, tokens }: Beams, batch: number): Tensor {
  const { device, tokenCount } = maps;
  const beams = scores.shape[1];
  // Beams are sorted, so the first one of an order is its best.
  const leaders = transpose(slice(scores, 1, 0, 1).reshape(orders.length, batch));
  const winner = cast(argmax(leaders), "f32");
  const image = cast(arange(device, batch), "f32");
  const chosen = embedding(tokens!, cast(affine(add(affine(winner, batch), image), beams), "i32"));
  const places = new Int32Array(orders.length * tokenCount);
  orders.forEach((order, way) => order.forEach((token, k) => places[way * tokenCount + token] = k));
  const place = embedding(fromArray(device, places, [orders.length, tokenCount]), cast(winner, "i32"));
  const from = add(cast(place, "f32"), affine(image, tokenCount).reshape(batch, 1));
  return embedding(chosen.reshape(batch * tokenCount, 1), cast(from, "i32")).reshape(batch, tokenCount);
}
