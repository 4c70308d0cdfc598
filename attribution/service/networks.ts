/**
 * The networks of a server: tokenizers at once, transformers when an image first wants them. Which of them then stay within
 * the memory limit was decided in ../plan.ts, and what runs in ../pipeline.ts.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { Family, FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { samplerOf } from "../../generation/settings.ts";
import { familyNames } from "../labels.ts";
import type { LoadedVariant } from "../run/variant_pool.ts";
import type { Networks } from "../run/pipeline.ts";
import type { Plan } from "../run/memory_plan.ts";

export interface LazyOptions {
  readonly weightType: "f32" | "f16";
  /** Called before a network is loaded. */
  readonly onLoad?: (name: string) => void;
}

/**
 * The plan's resident transformers stay once they are loaded, the others come for their turn. Keeping those that were used
 * last instead would keep none in time: every image of a family wants all of its transformers, one after the other.
 */
export class LazyNetworks implements Networks {
  readonly #kept = new Map<string, LoadedVariant>();

  private constructor(
    readonly families: Readonly<Record<FamilyName, Family>>,
    readonly set: ModelSet,
    readonly device: Device,
    readonly plan: Plan,
    readonly options: LazyOptions,
  ) {}

  /** Loads the tokenizers. Nothing stays allocated when one of them fails. */
  static async open(set: ModelSet, device: Device, plan: Plan, options: LazyOptions): Promise<LazyNetworks> {
    const families: Partial<Record<FamilyName, Family>> = {};
    try {
      for (const name of familyNames) {
        options.onLoad?.(name);
        families[name] = await set.loadFamily(device, name, { weightType: options.weightType });
      }
    } catch (error) {
      for (const family of Object.values(families)) family.dispose();
      throw error;
    }
    return new LazyNetworks(families as Record<FamilyName, Family>, set, device, plan, options);
  }

  /** Names of the transformers that stay loaded. */
  get loaded(): readonly string[] {
    return [...this.#kept.keys()];
  }

  /** Runs `body` with a variant. Calls must not overlap: there is room for one that takes its turn. */
  async withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T> {
    const found = this.#kept.get(name);
    if (found !== undefined) return await body(found);
    this.device.trim(); // activations of passes before must not wait in pools while weights are loaded
    const loaded = await this.#load(name);
    if (this.plan.resident.has(name)) {
      this.#kept.set(name, loaded);
      return await body(loaded);
    }
    try {
      return await body(loaded);
    } finally {
      disposeVariant(loaded);
    }
  }

  async #load(name: string): Promise<LoadedVariant> {
    const { set, device, options } = this;
    options.onLoad?.(name);
    const variant = await set.loadVariant(device, name, { weightType: options.weightType });
    try {
      return { variant, sampler: samplerOf(set, name), condition: variant.condition([null]) };
    } catch (error) {
      variant.dispose();
      throw error;
    }
  }

  dispose(): void {
    for (const family of Object.values(this.families)) family.dispose();
    for (const loaded of this.#kept.values()) disposeVariant(loaded);
    this.#kept.clear();
  }
}

function disposeVariant({ variant, condition }: LoadedVariant): void {
  condition.dispose();
  variant.dispose();
}
