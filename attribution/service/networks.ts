/**
 * The networks of a server: tokenizers at once, transformers when an image first wants them, and then kept as long as they
 * fit into the plan's memory. How large that memory is was decided in ../plan.ts, and what runs in ../pipeline.ts.
 */
import type { Device } from "../../core/tensor/mod.ts";
import type { Family, FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { samplerOf } from "../generation/settings.ts";
import { familyNames } from "../labels.ts";
import type { LoadedVariant } from "../models.ts";
import type { Networks } from "../pipeline.ts";
import type { Plan } from "../plan.ts";

export interface LazyOptions {
  readonly weightType: "f32" | "f16";
  /** Called before a network is loaded. */
  readonly onLoad?: (name: string) => void;
}

interface Kept {
  readonly loaded: LoadedVariant;
  readonly bytes: number;
}

/** Transformers are kept least recently used last, within the bytes of those that the plan has room for at once. */
export class LazyNetworks implements Networks {
  /** In the order of use: the first one is the one to go. */
  readonly #kept = new Map<string, Kept>();
  readonly #budget: number;

  private constructor(
    readonly families: Readonly<Record<FamilyName, Family>>,
    readonly set: ModelSet,
    readonly device: Device,
    plan: Plan,
    readonly options: LazyOptions,
  ) {
    this.#budget = [...plan.resident].reduce((sum, name) => sum + this.#bytes(name), 0);
  }

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

  /** Names of the transformers that are loaded, the one that was used last at the end. */
  get loaded(): readonly string[] {
    return [...this.#kept.keys()];
  }

  /** Runs `body` with a variant. Calls must not overlap: room is made before one is loaded. */
  async withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T> {
    const found = this.#kept.get(name);
    if (found !== undefined) {
      this.#kept.delete(name);
      this.#kept.set(name, found);
      return await body(found.loaded);
    }
    const bytes = this.#bytes(name);
    this.#makeRoom(bytes);
    const loaded = await this.#load(name);
    if (bytes <= this.#budget) {
      this.#kept.set(name, { loaded, bytes });
      return await body(loaded);
    }
    // The plan has room for it beside those that are kept, but only for its turn.
    try {
      return await body(loaded);
    } finally {
      disposeVariant(loaded);
    }
  }

  #makeRoom(bytes: number): void {
    if (bytes > this.#budget) return;
    let used = [...this.#kept.values()].reduce((sum, kept) => sum + kept.bytes, 0);
    for (const [name, kept] of [...this.#kept]) {
      if (used + bytes <= this.#budget) return;
      this.#kept.delete(name);
      disposeVariant(kept.loaded);
      used -= kept.bytes;
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

  #bytes(name: string): number {
    const id = { family: this.set.familyOf(name), variant: name };
    const { weights, condition } = this.set.footprint(this.device, id, this.options.weightType);
    return weights + condition;
  }

  dispose(): void {
    for (const family of Object.values(this.families)) family.dispose();
    for (const { loaded } of this.#kept.values()) disposeVariant(loaded);
    this.#kept.clear();
  }
}

function disposeVariant({ variant, condition }: LoadedVariant): void {
  condition.dispose();
  variant.dispose();
}
