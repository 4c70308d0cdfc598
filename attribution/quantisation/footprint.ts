/**
 * Device memory of a quantiser's tables, from the tokenizer's configuration alone, so that memory can be planned before
 * anything is loaded. Tests compare it with quantisers that were opened.
 */
import { resizeMatrix } from "../../core/tensor/mod.ts";
import type { TokenizerFacts } from "../../models/family.ts";
import { interactionPeriod, positionClasses } from "./classes.ts";
import { defaultMmse } from "./mmse.ts";
import { simulatedLatents } from "./mmse_model.ts";
import { defaultSearch, panelTokens, requireSearchable } from "./search_tables.ts";
import { defaultProductLimit } from "./sweeps.ts";

/** Device memory of a quantiser. */
export interface QuantiserFootprint {
  /** Bytes of the tables, which exist as long as the quantiser. */
  readonly tables: number;
  /** Further bytes while the tables are made. */
  readonly opening: number;
}

const f32 = 4;

/**
 * Memory of an `OptimisedQuantizer` by method. Greedy quantisation needs none, nor does a tokenizer with a single map.
 * Throws for `search` if the tokenizer is too large to be searched.
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
  // Enlargements and their products with themselves; adjoint and plain kernels of the four Phi convolutions.
  const maps = f32 * (patchNums.length * 2 * side * side + 8 * 9 * c * c + c);
  if (method === "gradient") return { tables: maps, opening: maps };
  if (method === "search") {
    requireSearchable(n, c);
    const { orders } = defaultSearch, panel = Math.min(panelTokens(c), n) * c, values = n * c;
    const rows = c * c * n * (n - 1) / 2;
    const search = orders * (rows + n * (2 * c * c + codes)) + codes * c + patchNums.length * c +
      side * side * (c * c + 1);
    // While tables are made: the panels of an order beside its rows, or the orders before they are joined. For a panel
    // also its products with all tokens, their weighted versions, and what later panels explain of them.
    const making = values * (values + panel) / 2 + panel * (12 * side * side * c + 8 * values);
    return { tables: maps + f32 * search, opening: f32 * making };
  }
  const sweeps = f32 * (2 * codes * c + n * (c * c + codes + 2)) + patchNums.reduce((sum, pn) => {
    const tokens = pn * pn;
    if (tokens * c <= defaultProductLimit) return sum + f32 * tokens * c * tokens * c;
    const classes = positionClasses(pn, interactionPeriod(resizeMatrix("bicubic", pn, side), side, pn));
    return sum + f32 * classes.reduce((all, { rows, columns }) => all + side * (rows.length + columns.length), 0);
  }, 0);
  // While tables are made: the products of a scale before they are packed, or the responses to unit vectors.
  const products = Math.max(...patchNums.map((pn) => Math.min((pn * pn * c) ** 2, defaultProductLimit ** 2)));
  const opening = f32 * (2 * products + 4 * side * side * c * c);
  if (method === "sweeps") return { tables: maps + sweeps, opening };
  const steps = defaultMmse.passes * patchNums.length;
  const step = 2 * codes * c + codes + side * side * c * c + c * c;
  // Noise by frequency exists if the encoder comes with statistics, its inverse always.
  const estimate = f32 *
    (steps * step + codes * c + side * side + (patchNums.length + 1) * c * c + 2 * side * side * c * c);
  // Logits and probabilities of the simulated latents, and the probes of a solver step: two per channel, each in some
  // fifty tensors of latents. The sweeps' tables are made afterwards.
  const simulated = f32 * (3 * simulatedLatents(defaultMmse, n) * side * side * codes + 50 * 2 * c * side * side * c);
  return { tables: maps + sweeps + estimate, opening: Math.max(opening, simulated - sweeps) };
}
