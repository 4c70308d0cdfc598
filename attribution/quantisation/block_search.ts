/**
 * Better tokens from estimated ones, by trying other codes for single coarse tokens: the finer scales, which had made up
 * for the old code, are estimated anew each time, and the result is kept where it fits the latent better. Sweeps over single
 * tokens cannot do that, because a coarse token is only as good as what follows it.
 */
import {
  add,
  affine,
  cast,
  concat,
  less,
  mul,
  oneHot,
  scope,
  slice,
  sub,
  sum,
  type Tensor,
  topK,
} from "../../core/tensor/mod.ts";
import { applySpectral } from "./covariance.ts";
import type { MmseTables } from "./mmse.ts";

export interface BlockSearchSettings {
  /** Rounds over all coarse tokens. */
  readonly rounds: number;
  /** Codes that are tried for each, the likeliest ones. */
  readonly candidates: number;
}

/** What docs/quantisation.md measured. */
export const defaultSearch: BlockSearchSettings = { rounds: 1, candidates: 3 };

/** Added to the logit of a code that is taken for granted. */
const certain = 1e4;

/** -2 log-likelihood of tokens up to a constant, [batch]: the squared Mahalanobis distance of f from their sum. */
export function misfit(tables: MmseTables, f: Tensor, tokens: Tensor): Tensor {
  const { maps, basis, inverseNoise } = tables;
  return scope(() => {
    const rest = sub(f, maps.dequantize(tokens));
    return sum(mul(rest, applySpectral(basis, inverseNoise, rest)).reshape(f.shape[0], -1), 1);
  });
}

/** f[batch, side, side, c] -> tokens[batch, tokenCount] (i32) that fit at least as well as the estimate. */
export function blockSearch(tables: MmseTables, f: Tensor, { rounds, candidates }: BlockSearchSettings): Tensor {
  const { maps } = tables;
  const { starts, codes, patchNums } = maps;
  const tries = Math.min(candidates, codes);
  return scope(() => {
    const first = scope(() => {
      const { tokens, logits } = tables.estimate(f);
      return { tokens, logits, error: misfit(tables, f, tokens) };
    });
    let { tokens, error } = first;
    const { logits } = first;
    for (let round = 0; round < rounds; round++) {
      for (let s = 0; s < patchNums.length - 1; s++) {
        for (let i = 0; i < patchNums[s] ** 2; i++) {
          const before = { tokens, error };
          const better = scope(() => {
            let best = before;
            const likeliest = topK(slice(logits[s], 1, i, i + 1), tries).indices;
            for (let k = 0; k < tries; k++) {
              const given = patchNums.map((pn, scale) => {
                if (scale > s) return undefined;
                const own = slice(best.tokens, 1, starts[scale], starts[scale + 1]);
                const tried = scale < s ? own : concat([
                  ...i > 0 ? [slice(own, 1, 0, i)] : [],
                  slice(likeliest, 2, k, k + 1).reshape(f.shape[0], 1),
                  ...i + 1 < pn * pn ? [slice(own, 1, i + 1, pn * pn)] : [],
                ], 1);
                return affine(oneHot(tried, codes), certain);
              });
              const found = tables.estimate(f, given).tokens;
              const wrong = misfit(tables, f, found);
              best = choose(less(wrong, best.error), { tokens: found, error: wrong }, best);
            }
            return best;
          });
          ({ tokens, error } = better);
        }
      }
    }
    return tokens;
  });
}

interface Found {
  readonly tokens: Tensor;
  readonly error: Tensor;
}

/** `a` where `mask`[batch] is 1, `b` where it is 0. */
function choose(mask: Tensor, a: Found, b: Found): Found {
  const mix = (x: Tensor, y: Tensor, m: Tensor) => add(mul(x, m), mul(y, affine(m, -1, 1)));
  const column = mask.reshape(mask.size, 1);
  return {
    tokens: cast(mix(cast(a.tokens, "f32"), cast(b.tokens, "f32"), column), "i32"),
    error: mix(a.error, b.error, mask),
  };
}
