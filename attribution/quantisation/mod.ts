/**
 * Optimised quantisation for VAR: tokens whose fHat is nearer to f than the greedy ones (Algorithm 3 of arXiv 2606.28386).
 * It joins the methods behind one class; what is done with the tokens is decided elsewhere.
 */
import { affine, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { VarFamily } from "../../models/var/family.ts";
import { ScaleMaps } from "./scale_maps.ts";
import { gradientQuantize, referenceSchedule, type SoftAssignSchedule } from "./soft_assign.ts";
import { errorOf, sweep, SweepTables } from "./sweeps.ts";

export { ScaleMaps } from "./scale_maps.ts";
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

/** What docs/quantisation.md measured as the best exchange of time for error and recovered tokens. */
export const defaultSweeps: SweepSchedule = { annealed: 8, hottest: 2, coldest: 0.25, exact: 2 };

export type QuantisationSettings =
  | { readonly method: "sweeps"; readonly schedule?: SweepSchedule }
  | { readonly method: "gradient"; readonly schedule?: SoftAssignSchedule };

/** Quantises a VAR tokenizer's latents. It reads the family's tensors, so dispose it before the family. */
export class OptimisedQuantizer {
  readonly settings: QuantisationSettings;
  readonly #family: VarFamily;
  readonly #maps: ScaleMaps;
  readonly #tables: SweepTables | null;

  /** Builds the tables of the method (about 45 MB at full size for sweeps, none for gradient). */
  constructor(family: VarFamily, settings: QuantisationSettings = { method: "sweeps" }) {
    check(settings);
    this.settings = settings;
    this.#family = family;
    this.#maps = new ScaleMaps(family);
    this.#tables = settings.method === "sweeps" ? new SweepTables(this.#maps) : null;
  }

  /** f[batch, side, side, c] -> tokens[batch, tokenCount] (i32) and fHat. An image's result does not depend on its batch. */
  quantize(f: Tensor): { tokens: Tensor; fHat: Tensor } {
    const { settings } = this;
    return scope(() => {
      const greedy = this.#family.quantize(f);
      if (settings.method === "gradient") {
        return gradientQuantize(this.#maps, f, greedy.tokens, settings.schedule ?? referenceSchedule);
      }
      const { annealed, hottest, coldest, exact } = settings.schedule ?? defaultSweeps;
      const error = errorOf(f, greedy.fHat);
      const temperatures = Array.from({ length: annealed }, (_, i) => {
        const along = annealed === 1 ? 1 : i / (annealed - 1);
        // A latent that greedy codes meet exactly leaves nothing to anneal; the floor only avoids dividing by zero.
        return affine(error, hottest * (coldest / hottest) ** along, 1e-12);
      });
      return sweep(this.#tables!, f, greedy.tokens, [...temperatures, ...new Array<null>(exact).fill(null)]);
    });
  }

  /** Bytes of the tables. */
  get bytes(): number {
    return this.#tables?.bytes ?? 0;
  }

  dispose(): void {
    this.#tables?.dispose();
    this.#maps.dispose();
  }
}

function check(settings: QuantisationSettings): void {
  if (settings.method !== "sweeps") return;
  const { annealed, hottest, coldest, exact } = settings.schedule ?? defaultSweeps;
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
