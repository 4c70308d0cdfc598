/**
 * Optimised quantisation for VAR: tokens whose fHat is nearer to f than the greedy ones (Algorithm 3 of arXiv 2606.28386).
 * It joins the methods behind one class; what is done with the tokens is decided elsewhere.
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

/** Settings of the sweeps; temperatures are multiples of an image's own greedy error. */
export interface SweepSchedule {
  /** Number of annealed sweeps, 0 for none. */
  readonly annealed: number;
  /** Temperature of the first and of the last annealed sweep, falling geometrically between them. */
  readonly hottest: number;
  readonly coldest: number;
  /** Number of exact sweeps that follow, at least 1. */
  readonly exact: number;
}

/** From greedy tokens: hot enough for the fine scales to let go of them. Measured in docs/quantisation.md. */
export const sweepsFromGreedy: SweepSchedule = { annealed: 8, hottest: 4, coldest: 1, exact: 2 };
/** From estimated tokens: cooler, so that what is right stays. Measured in docs/quantisation.md. */
export const sweepsFromEstimate: SweepSchedule = { annealed: 4, hottest: 1, coldest: 0.25, exact: 2 };

/**
 * `search`: the most probable tokens by a tree search; default for small tokenizers (`searchLimit`). `estimate`: all codes
 * estimated at once, then sweeps, unless the family has LatentStatistics. `sweeps`: sweeps from the greedy tokens, with tables
 * that are quickly made. `gradient`: the reference's method.
 */
export type QuantisationSettings =
  | { readonly method: "search"; readonly search?: SearchSettings }
  | { readonly method: "estimate"; readonly estimate?: MmseSettings; readonly schedule?: SweepSchedule }
  | { readonly method: "sweeps"; readonly schedule?: SweepSchedule }
  | { readonly method: "gradient"; readonly schedule?: SoftAssignSchedule };

/** Quantises a VAR tokenizer's latents. It reads the family's tensors, so dispose it before the family. */
export class OptimisedQuantizer {
  readonly settings: QuantisationSettings;
  readonly #tokenizer: ImageTokenizer;
  readonly #maps: ScaleMaps;
  readonly #sweeps: SweepTables | null;
  readonly #estimate: MmseTables | null;
  readonly #search: SearchTables | null;

  private constructor(
    settings: QuantisationSettings,
    tokenizer: ImageTokenizer,
    maps: ScaleMaps,
    sweeps: SweepTables | null,
    estimate: MmseTables | null,
    search: SearchTables | null,
  ) {
    this.settings = settings;
    this.#tokenizer = tokenizer;
    this.#maps = maps;
    this.#sweeps = sweeps;
    this.#estimate = estimate;
    this.#search = search;
  }

  /**
   * Builds the tables of the method. At full size: 40 MB for the sweeps, and 64 MB more, and some seconds of simulation,
   * for the estimate; none for the gradient method. Throws on settings that make no sense, and on a search that is too large.
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
      // Where an estimate knows the noise, sweeps would only follow it.
      const sweeps = method === "sweeps" || (estimate !== null && tokenizer.latents === null)
        ? new SweepTables(maps)
        : null;
      return new OptimisedQuantizer(settings, tokenizer, maps, sweeps, estimate, search);
    } catch (error) {
      maps.dispose();
      throw error;
    }
  }

  /** f[batch, side, side, c] -> tokens[batch, tokenCount] (i32) and fHat. An image's result does not depend on its batch. */
  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    const { settings } = this;
    return scope(() => {
      if (settings.method === "search") {
        const tokens = treeSearch(this.#search!, f);
        return { tokens, fHat: this.#tokenizer.dequantize(tokens) };
      }
      const greedy = this.#tokenizer.quantize(f);
      if (settings.method === "gradient") {
        return gradientQuantize(this.#maps, f, greedy.tokens, settings.schedule ?? referenceSchedule);
      }
      const start = this.#estimate ? this.#estimate.quantize(f) : greedy.tokens;
      if (this.#sweeps === null) return { tokens: start, fHat: this.#tokenizer.dequantize(start) };
      const { annealed, hottest, coldest, exact } = sweepsOf(settings);
      const error = errorOf(f, greedy.fHat);
      const temperatures = Array.from({ length: annealed }, (_, i) => {
        const along = annealed === 1 ? 1 : i / (annealed - 1);
        // A latent that greedy codes meet exactly leaves nothing to anneal; the floor only avoids dividing by zero.
        return affine(error, hottest * (coldest / hottest) ** along, 1e-12);
      });
      return sweep(this.#sweeps, f, start, [...temperatures, ...new Array<null>(exact).fill(null)]);
    });
  }

  /** Bytes of the tables. */
  get bytes(): number {
    return (this.#sweeps?.bytes ?? 0) + (this.#estimate?.bytes ?? 0) +
      (this.#search ? searchTableBytes(this.#search) : 0);
  }

  dispose(): void {
    this.#sweeps?.dispose();
    this.#estimate?.dispose();
    if (this.#search) disposeSearchTables(this.#search);
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
    throw new Error(
      `optimised quantisation: annealed expects an integer >= 0 and exact one >= 1, got ${annealed} and ${exact}`,
    );
  }
  if (!(coldest > 0 && hottest >= coldest && hottest < Infinity)) {
    throw new Error(`optimised quantisation: expects hottest >= coldest > 0, got ${hottest} and ${coldest}`);
  }
}
