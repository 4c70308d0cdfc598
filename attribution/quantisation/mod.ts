/**
 * Optimised quantisation for tokenizers of several scales: finds tokens whose fHat is closer to f than that of the
 * greedy ones (Algorithm 3 of arXiv 2606.28386). One class offers all methods.
 */
import { affine, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { ImageTokenizer } from "../../models/family.ts";
import { type MmseSettings, MmseTables } from "./mmse.ts";
import { ScaleMaps } from "./scale_maps.ts";
import {
  disposeSearchTables,
  type SearchSettings,
  searchTableBytes,
  type SearchTables,
  searchTables,
} from "./search_tables.ts";
import { gradientQuantize, referenceSchedule, type SoftAssignSchedule } from "./soft_assign.ts";
import { errorOf, sweep, SweepTables } from "./sweeps.ts";
import { treeSearch } from "./tree_search.ts";

export { defaultMmse, type MmseSettings, MmseTables } from "./mmse.ts";
export { ScaleMaps } from "./scale_maps.ts";
export { defaultSearch, searchLimit, type SearchSettings, type SearchTables, searchTables } from "./search_tables.ts";
export {
  fixScales,
  gradientQuantize,
  referenceSchedule,
  refineSoftAssign,
  type SoftAssignCall,
  type SoftAssigned,
  type SoftAssignOptions,
  type SoftAssignSchedule,
} from "./soft_assign.ts";
export { errorOf, sweep, SweepTables } from "./sweeps.ts";
export { treeSearch } from "./tree_search.ts";

/** A schedule of sweeps. Temperatures are multiples of the image's mean squared error with greedy tokens. */
export interface SweepSchedule {
  /** Number of annealed sweeps, 0 or more. */
  readonly annealed: number;
  /** Temperature of the first annealed sweep. It falls geometrically. */
  readonly hottest: number;
  /** Temperature of the last annealed sweep, above 0. */
  readonly coldest: number;
  /** Number of exact sweeps that follow, at least 1. */
  readonly exact: number;
}

/** The schedule from greedy tokens. It is hot enough for tokens of fine scales to change (docs/quantisation.md). */
export const sweepsFromGreedy: SweepSchedule = { annealed: 8, hottest: 4, coldest: 1, exact: 2 };
/** The schedule from estimated tokens. It is cooler, so that right tokens stay (docs/quantisation.md). */
export const sweepsFromEstimate: SweepSchedule = { annealed: 4, hottest: 1, coldest: 0.25, exact: 2 };

/**
 * The method and its settings.
 *
 * - `search`: a tree search for the most probable tokens, for small tokenizers (`searchLimit`)
 * - `estimate`: estimates all codes together; then sweeps, unless the family has LatentStatistics
 * - `sweeps`: sweeps from the greedy tokens, whose tables are made quickly
 * - `gradient`: the reference's gradient descent
 */
export type QuantisationSettings =
  | { readonly method: "search"; readonly search?: SearchSettings }
  | { readonly method: "estimate"; readonly estimate?: MmseSettings; readonly schedule?: SweepSchedule }
  | { readonly method: "sweeps"; readonly schedule?: SweepSchedule }
  | { readonly method: "gradient"; readonly schedule?: SoftAssignSchedule };

/** The tables of the methods; those of other methods are null. */
interface Tables {
  readonly sweeps: SweepTables | null;
  readonly estimate: MmseTables | null;
  readonly search: SearchTables | null;
}

/** Quantises latents of a tokenizer with several scales. It uses the tokenizer's tensors, so dispose it before that. */
export class OptimisedQuantizer {
  /** The method. */
  readonly settings: QuantisationSettings;
  readonly #tokenizer: ImageTokenizer;
  readonly #maps: ScaleMaps;
  readonly #tables: Tables;

  private constructor(
    settings: QuantisationSettings,
    tokenizer: ImageTokenizer,
    maps: ScaleMaps,
    tables: Tables,
  ) {
    this.settings = settings;
    this.#tokenizer = tokenizer;
    this.#maps = maps;
    this.#tables = tables;
  }

  /**
   * Makes the tables of the method. At full size, sweeps take 40 MB; the estimate takes 64 MB more and simulates for
   * some seconds; the gradient method has none. Throws on settings out of range, on a tokenizer with a single scale,
   * and for `search` if the tokenizer is too large.
   */
  static async open(
    tokenizer: ImageTokenizer,
    settings: QuantisationSettings = { method: "estimate" },
  ): Promise<OptimisedQuantizer> {
    check(settings);
    const maps = new ScaleMaps(tokenizer);
    try {
      const { method } = settings;
      const search = method === "search" ? await searchTables(maps, tokenizer, settings.search) : null;
      const estimate = method === "estimate" ? await MmseTables.build(maps, tokenizer, settings.estimate) : null;
      // An estimate that knows the noise needs no sweeps: they would fit the noise.
      const sweeps = method === "sweeps" || (estimate !== null && tokenizer.latents === null)
        ? new SweepTables(maps)
        : null;
      return new OptimisedQuantizer(settings, tokenizer, maps, { sweeps, estimate, search });
    } catch (error) {
      maps.dispose();
      throw error;
    }
  }

  /**
   * f[batch, side, side, c] -> tokens[batch, tokenCount] (i32) and fHat. An image's result does not depend on its
   * batch.
   */
  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    const { settings } = this, { sweeps, estimate, search } = this.#tables;
    return scope(() => {
      if (settings.method === "search") {
        const tokens = treeSearch(search!, f);
        return { tokens, fHat: this.#tokenizer.dequantize(tokens) };
      }
      const greedy = this.#tokenizer.quantize(f);
      if (settings.method === "gradient") {
        return gradientQuantize(this.#maps, f, greedy.tokens, settings.schedule ?? referenceSchedule);
      }
      const start = estimate ? estimate.quantize(f) : greedy.tokens;
      if (sweeps === null) return { tokens: start, fHat: this.#tokenizer.dequantize(start) };
      const { annealed, hottest, coldest, exact } = sweepsOf(settings);
      const error = errorOf(f, greedy.fHat);
      const temperatures = Array.from({ length: annealed }, (_, i) => {
        const progress = annealed === 1 ? 1 : i / (annealed - 1);
        // The floor avoids a division by zero if greedy codes reproduce a latent exactly.
        return affine(error, hottest * (coldest / hottest) ** progress, 1e-12);
      });
      return sweep(sweeps, f, start, [...temperatures, ...new Array<null>(exact).fill(null)]);
    });
  }

  /** Bytes of the tables. */
  get bytes(): number {
    const { sweeps, estimate, search } = this.#tables;
    return (sweeps?.bytes ?? 0) + (estimate?.bytes ?? 0) + (search ? searchTableBytes(search) : 0);
  }

  /** Frees the tables. */
  dispose(): void {
    const { sweeps, estimate, search } = this.#tables;
    sweeps?.dispose();
    estimate?.dispose();
    if (search) disposeSearchTables(search);
    this.#maps.dispose();
  }
}

function sweepsOf(settings: Exclude<QuantisationSettings, { method: "gradient" | "search" }>): SweepSchedule {
  return settings.schedule ?? (settings.method === "estimate" ? sweepsFromEstimate : sweepsFromGreedy);
}

function check(settings: QuantisationSettings): void {
  if (settings.method === "gradient" || settings.method === "search") return;
  const { annealed, hottest, coldest, exact } = sweepsOf(settings);
  const whole = (x: number, least: number) => Number.isInteger(x) && x >= least;
  if (!whole(annealed, 0) || !whole(exact, 1)) {
    throw new RangeError(
      `optimised quantisation: expects annealed >= 0 and exact >= 1, both integers, got ${annealed} and ${exact}`,
    );
  }
  if (!(coldest > 0 && hottest >= coldest && hottest < Infinity)) {
    throw new RangeError(`optimised quantisation: expects hottest >= coldest > 0, got ${hottest} and ${coldest}`);
  }
}
