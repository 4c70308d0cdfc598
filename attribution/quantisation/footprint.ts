/**
 * How much device memory a quantiser's tables take, from the tokenizer's configuration alone, so that work can be planned
 * before anything is loaded. The tests hold it against quantisers that were opened.
 */
import { resizeMatrix } from "../../core/tensor/mod.ts";
import type { TokenizerFacts } from "../../models/family.ts";
import { interactionPeriod, positionClasses } from "./classes.ts";
import { defaultMmse } from "./mmse.ts";
import { simulatedLatents } from "./mmse_model.ts";
import { defaultSearch, panelTokens, requireSearchable } from "./search_tables.ts";
import { defaultProductLimit } from "./sweeps.ts";

/** Bytes of device memory. */
export interface QuantiserFootprint {
  /** Kept as long as the quantiser is open. */
  readonly tables: number;
  /** On top of them while they are made. */
  readonly opening: number;
}

const f32 = 4;

/**
 * Tables of `OptimisedQuantizer` by method; greedy quantisation has none, and nor has a tokenizer of one map. Throws on a
 * search that would be refused.
 */
export function quantiserFootprint(
  method: "estimate" | "search" | "sweeps" | "gradient" | "greedy",
  { patchNums, codes, channels: c, tokenCount: n }: Pick<
    TokenizerFacts,
    "patchNums" | "codes" | "channels" | "tokenCount"
  >,
): QuantiserFootprint {
  if (method === "greedy" || patchNums.length === 1) return { tables: 0, opening: 0 };
  const side = patchNums[patchNums.length - 1];
  // Enlargements and their products with themselves, Phi's adjoints and plain kernels: a tokenizer has four.
  const maps = f32 * (patchNums.length * 2 * side * side + 8 * 9 * c * c + c);
  if (method === "gradient") return { tables: maps, opening: maps };
  if (method === "search") {
    requireSearchable(n, c);
    const { orders } = defaultSearch, panel = Math.min(panelTokens(c), n) * c, values = n * c;
    const rows = c * c * n * (n - 1) / 2;
    const search = orders * (rows + n * (2 * c * c + codes)) + codes * c + patchNums.length * c +
      side * side * (c * c + 1);
    // While they are made: an order's panels beside its rows, or orders before they are joined; and for a panel its products
    // with all tokens, what weighs them, and what later panels explain of them.
    const making = values * (values + panel) / 2 + panel * (12 * side * side * c + 8 * values);
    return { tables: maps + f32 * search, opening: f32 * making };
  }
  const sweeps = f32 * (2 * codes * c + n * (c * c + codes + 2)) + patchNums.reduce((sum, pn) => {
    const tokens = pn * pn;
    if (tokens * c <= defaultProductLimit) return sum + f32 * tokens * c * tokens * c;
    const classes = positionClasses(pn, interactionPeriod(resizeMatrix("bicubic", pn, side), side, pn));
    return sum + f32 * classes.reduce((all, { rows, columns }) => all + side * (rows.length + columns.length), 0);
  }, 0);
  // While they are made: the products of a scale before they are packed, or the responses to unit vectors.
  const products = Math.max(...patchNums.map((pn) => Math.min((pn * pn * c) ** 2, defaultProductLimit ** 2)));
  const opening = f32 * (2 * products + 4 * side * side * c * c);
  if (method === "sweeps") return { tables: maps + sweeps, opening };
  const steps = defaultMmse.passes * patchNums.length;
  const step = 2 * codes * c + codes + side * side * c * c + c * c;
  // Noise by frequency is there where an encoder comes with statistics, its inverse always.
  const estimate = f32 *
    (steps * step + codes * c + side * side + (patchNums.length + 1) * c * c + 2 * side * side * c * c);
  // Logits and probabilities of the simulated latents, and probes on their way through a step of the solver: two per
  // channel, each in some fifty tensors of latents. The sweeps' tables come afterwards.
  const simulated = f32 * (3 * simulatedLatents(defaultMmse, n) * side * side * codes + 50 * 2 * c * side * side * c);
  return { tables: maps + sweeps + estimate, opening: Math.max(opening, simulated - sweeps) };
}
