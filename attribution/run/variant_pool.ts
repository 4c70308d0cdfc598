/**
 * Loads and frees the networks of a set by a memory plan. Tokenizers and resident variants stay loaded; the other
 * variants are loaded for each use. pipeline.ts and score_variants.ts run them.
 */
import type { Device } from "../../core/tensor/mod.ts";
import { type Prefetch, prefetch } from "../../models/checkpoint/prefetch.ts";
import type { Sampler } from "../../models/draw_rule.ts";
import type { ByFamily, Condition, FamilyName, ImageTokenizer, Variant } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { sharedTokenizer } from "../../models/network_rows.ts";
import type { Plan } from "./memory_plan.ts";

/** A transformer that is ready to run. */
export interface LoadedVariant {
  readonly variant: Variant;
  /** The unconditional condition, shared by every image. */
  readonly condition: Condition;
  /** The samplers that its images may have been drawn with, the manifest's first. */
  readonly samplers: readonly Sampler[];
}

/** Options of `VariantPool.open`. */
export interface OpenPoolOptions {
  readonly weightType?: "f32" | "f16";
  /** Load resident variants when the pool is opened, not when they are first used. Default true. */
  readonly preload?: boolean;
  /** Called with the name of a network before it is loaded. */
  readonly onLoad?: (name: string) => void;
  /** Loads a tokenizer, or takes the weights of a `shared` one. Default: `ModelSet.loadTokenizer`. */
  readonly loadTokenizer?: (family: FamilyName, shared?: ImageTokenizer) => Promise<ImageTokenizer>;
  /** Starts to read the files of the variant that is loaded next. Default: reads them in the background. */
  readonly prefetch?: (name: string) => Prefetch;
}

/**
 * The loaded networks. Calls of `withVariant` must not overlap: the plan has room for one variant beside the resident
 * ones. The plan fixes which variants are resident: an LRU cache would never hit, because each image runs all variants
 * of its family in order.
 */
export class VariantPool {
  /** The tokenizers by family. */
  readonly tokenizers: ByFamily<ImageTokenizer>;
  readonly #set: ModelSet;
  readonly #device: Device;
  readonly #plan: Plan;
  readonly #options: OpenPoolOptions;
  /** Resident variants that are loaded. */
  readonly #kept = new Map<string, LoadedVariant>();
  /** Swapped variants that were loaded at least once. */
  readonly #seen = new Set<string>();
  #reading: Prefetch | undefined;

  private constructor(
    tokenizers: ByFamily<ImageTokenizer>,
    set: ModelSet,
    device: Device,
    plan: Plan,
    options: OpenPoolOptions,
  ) {
    this.tokenizers = tokenizers;
    this.#set = set;
    this.#device = device;
    this.#plan = plan;
    this.#options = options;
  }

  /**
   * Loads the tokenizers and, unless `preload` is false, the resident variants. When one fails, frees all and throws.
   */
  static async open(set: ModelSet, device: Device, plan: Plan, options: OpenPoolOptions = {}): Promise<VariantPool> {
    const { weightType, preload = true, onLoad } = options;
    const { loadTokenizer = (family, shared) => set.loadTokenizer(device, family, { weightType, shared }) } = options;
    const tokenizers: Record<FamilyName, ImageTokenizer> = {};
    const pool = new VariantPool(tokenizers, set, device, plan, options);
    try {
      for (const family of set.families) {
        onLoad?.(family);
        const other = sharedTokenizer(set.manifest, family);
        tokenizers[family] = await loadTokenizer(family, other === undefined ? undefined : tokenizers[other]);
      }
      if (preload) { for (const name of plan.resident) pool.#kept.set(name, await pool.#load(name)); }
    } catch (error) {
      pool.dispose();
      throw error;
    }
    device.trim();
    if (preload) pool.#prefetch(plan.swapped[0]); // while the tokenizers run
    return pool;
  }

  /** Names of the resident variants that are loaded. */
  get loaded(): readonly string[] {
    return [...this.#kept.keys()];
  }

  /**
   * Runs `body` with a variant. A variant that is not resident is loaded before and freed after; meanwhile the files of
   * the next one are read.
   */
  async withVariant<T>(name: string, body: (loaded: LoadedVariant) => Promise<T>): Promise<T> {
    const kept = this.#kept.get(name);
    if (kept !== undefined) return await body(kept);
    this.#device.trim(); // pooled activations of earlier passes must not wait while weights are loaded
    const loaded = await this.#load(name);
    if (this.#plan.resident.has(name)) {
      this.#kept.set(name, loaded);
      return await body(loaded);
    }
    this.#readNext(name);
    try {
      return await body(loaded);
    } finally {
      disposeVariant(loaded);
    }
  }

  async #load(name: string): Promise<LoadedVariant> {
    const { weightType, onLoad } = this.#options;
    onLoad?.(name);
    const variant = await this.#set.loadVariant(this.#device, name, { weightType });
    try {
      return { variant, samplers: this.#set.samplersOf(name), condition: variant.condition([null]) };
    } catch (error) {
      variant.dispose();
      throw error;
    }
  }

  #readNext(name: string): void {
    const { swapped } = this.#plan;
    // With more images than one chunk holds, the first variant follows the last one.
    const next = swapped[swapped.indexOf(name) + 1] ?? (this.#seen.has(name) ? swapped[0] : undefined);
    this.#seen.add(name);
    this.#prefetch(next === name ? undefined : next);
  }

  #prefetch(name: string | undefined): void {
    this.#reading?.stop();
    const read = this.#options.prefetch ??
      ((variant) => prefetch(this.#set.filesOf({ family: this.#set.familyOf(variant), variant })));
    this.#reading = name === undefined ? undefined : read(name);
  }

  /** Frees all networks. */
  dispose(): void {
    this.#reading?.stop();
    for (const tokenizer of Object.values(this.tokenizers)) tokenizer.dispose();
    for (const loaded of this.#kept.values()) disposeVariant(loaded);
    this.#kept.clear();
  }
}

function disposeVariant({ variant, condition }: LoadedVariant): void {
  condition.dispose();
  variant.dispose();
}
