/**
 * The networks of a set on a device: tokenizers and resident variants stay loaded, the others come and go.
 * Which are resident is decided in plan.ts; what is computed with them in pipeline.ts.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { Condition, Family, FamilyName, Variant } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";
import { samplerOf } from "./generation/settings.ts";
import { familyNames } from "./labels.ts";
import type { Sampler } from "./likelihood/mod.ts";
import type { Plan } from "./plan.ts";

export interface LoadedVariant {
  readonly variant: Variant;
  /** The unconditional condition, shared by every image. */
  readonly condition: Condition;
  /** How the variant draws, by the manifest. */
  readonly sampler: Sampler;
}

export interface OpenModelsOptions {
  readonly weightType?: "f32" | "f16";
  /** Called before a network is loaded. */
  readonly onLoad?: (name: string) => void;
}

export class Models {
  readonly families: Readonly<Record<FamilyName, Family>>;
  readonly #load: (name: string) => Promise<LoadedVariant>;
  readonly #resident: ReadonlyMap<string, LoadedVariant>;

  private constructor(
    families: Record<FamilyName, Family>,
    resident: Map<string, LoadedVariant>,
    load: (name: string) => Promise<LoadedVariant>,
  ) {
    this.families = families;
    this.#resident = resident;
    this.#load = load;
  }

  /** Loads the tokenizers and the plan's resident variants. Nothing stays allocated when one of them fails. */
  static async open(set: ModelSet, device: Device, plan: Plan, options: OpenModelsOptions = {}): Promise<Models> {
    const { weightType = "f32", onLoad } = options;
    const families: Partial<Record<FamilyName, Family>> = {};
    const resident = new Map<string, LoadedVariant>();
    const load = async (name: string): Promise<LoadedVariant> => {
      onLoad?.(name);
      const variant = await set.loadVariant(device, name, { weightType });
      try {
        return { variant, sampler: samplerOf(set, name), condition: variant.condition([null]) };
      } catch (error) {
        variant.dispose();
        throw error;
      }
    };
    try {
      for (const name of familyNames) {
        onLoad?.(name);
        families[name] = await set.loadFamily(device, name, { weightType });
      }
      for (const name of plan.resident) resident.set(name, await load(name));
    } catch (error) {
      for (const family of Object.values(families)) family.dispose();
      for (const each of resident.values()) disposeVariant(each);
      throw error;
    }
    device.trim();
    return new Models(families as Record<FamilyName, Family>, resident, load);
  }

  /** Runs `body` with a variant, which is loaded for it and freed after it unless it is resident. */
  async withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T> {
    const resident = this.#resident.get(name);
    if (resident !== undefined) return await body(resident);
    const loaded = await this.#load(name);
    try {
      return await body(loaded);
    } finally {
      disposeVariant(loaded);
    }
  }

  dispose(): void {
    for (const family of Object.values(this.families)) family.dispose();
    for (const each of this.#resident.values()) disposeVariant(each);
  }
}

function disposeVariant({ variant, condition }: LoadedVariant): void {
  condition.dispose();
  variant.dispose();
}
