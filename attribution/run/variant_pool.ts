/**
 * The networks of a set on a device: tokenizers and resident variants stay loaded, the others come and go.
 * Which are resident is decided in plan.ts; what is computed with them in pipeline.ts.
 */
import type { Device } from "../../core/tensor/mod.ts";
import { type Prefetch, prefetch } from "../../models/checkpoint/prefetch.ts";
import type { Condition, Family, FamilyName, Variant } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { samplerOf } from "../../generation/settings.ts";
import { familyNames } from "../labels.ts";
import type { Sampler } from "../likelihood/mod.ts";
import type { Plan } from "./memory_plan.ts";

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
  /** Loads a tokenizer. Default: as the set says. */
  readonly loadFamily?: (name: FamilyName) => Promise<Family>;
  /** Starts reading a variant's files, which is loaded next. Default: in the background. */
  readonly prefetch?: (name: string) => Prefetch;
}

export class Models {
  readonly families: Readonly<Record<FamilyName, Family>>;
  readonly #load: (name: string) => Promise<LoadedVariant>;
  readonly #resident: ReadonlyMap<string, LoadedVariant>;
  /** Those that come and go, in the order in which they do. */
  readonly #swapped: readonly string[];
  readonly #prefetch: (name: string) => Prefetch;
  /** Those that have been here. */
  readonly #seen = new Set<string>();
  #reading: Prefetch | undefined;

  private constructor(
    families: Record<FamilyName, Family>,
    resident: Map<string, LoadedVariant>,
    load: (name: string) => Promise<LoadedVariant>,
    swapped: readonly string[],
    prefetch: (name: string) => Prefetch,
  ) {
    this.families = families;
    this.#resident = resident;
    this.#load = load;
    this.#swapped = swapped;
    this.#prefetch = prefetch;
    if (swapped.length > 0) this.#reading = prefetch(swapped[0]); // while the tokenizers run
  }

  /** Loads the tokenizers and the plan's resident variants. Nothing stays allocated when one of them fails. */
  static async open(set: ModelSet, device: Device, plan: Plan, options: OpenModelsOptions = {}): Promise<Models> {
    const { weightType = "f32", onLoad } = options;
    const { loadFamily = (name) => set.loadFamily(device, name, { weightType }) } = options;
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
        families[name] = await loadFamily(name);
      }
      for (const name of plan.resident) resident.set(name, await load(name));
    } catch (error) {
      for (const family of Object.values(families)) family.dispose();
      for (const each of resident.values()) disposeVariant(each);
      throw error;
    }
    device.trim();
    const read = options.prefetch ??
      ((name) => prefetch(set.filesOf({ family: set.familyOf(name), variant: name })));
    return new Models(families as Record<FamilyName, Family>, resident, load, plan.swapped, read);
  }

  /**
   * Runs `body` with a variant, which is loaded for it and freed after it unless it is resident. While it runs, the file
   * of the one whose turn is next is read.
   */
  async withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T> {
    const resident = this.#resident.get(name);
    if (resident !== undefined) return await body(resident);
    const loaded = await this.#load(name);
    this.#readNext(name);
    try {
      return await body(loaded);
    } finally {
      disposeVariant(loaded);
    }
  }

  #readNext(name: string): void {
    this.#reading?.stop();
    const index = this.#swapped.indexOf(name);
    // After the last one comes the first one again where there are more images than one round works on.
    const next = this.#swapped[index + 1] ?? (this.#seen.has(name) ? this.#swapped[0] : undefined);
    this.#seen.add(name);
    this.#reading = next === undefined || next === name ? undefined : this.#prefetch(next);
  }

  dispose(): void {
    this.#reading?.stop();
    for (const family of Object.values(this.families)) family.dispose();
    for (const each of this.#resident.values()) disposeVariant(each);
  }
}

function disposeVariant({ variant, condition }: LoadedVariant): void {
  condition.dispose();
  variant.dispose();
}
