/**
 * Training pairs that are drawn from a family's transformers on demand, without files. A cache keeps drawn pairs; a
 * pair that is evicted is drawn again, with the same result.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";
import type { Pair, PairSource } from "./pairs.ts";
import { type BatchSizes, Generator } from "../generation/generator.ts";
import { fittingBatch, planBatch } from "../generation/memory.ts";
import { checkClass, chooseSampler, type ClassChoice, type Series } from "../generation/settings.ts";
import { canonicalJson } from "../util/json.ts";
import { sha256Hex } from "../util/hash.ts";

/** What to draw, and within which memory. */
export interface SampledPairsOptions {
  readonly family: FamilyName;
  /** Number of pairs. Variants take turns. */
  readonly count: number;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** Default: all variants of the family. */
  readonly variants?: readonly string[];
  /** Default `random`. */
  readonly class?: ClassChoice;
  /** Device memory for networks and activations. Default 4 GiB. Variants that do not all fit take turns. */
  readonly memoryBytes?: number;
  /** Default: that of the files. */
  readonly weightType?: "f32" | "f16";
  /** Host memory for pixels and tokens. Default 512 MiB. */
  readonly cacheBytes?: number;
  /** Called before each loading of a network. */
  readonly onPrepare?: (text: string) => void;
}

/** Images per batch, fewer if memory is short. Rounding depends on it, so it is part of the fingerprint. */
const blockImages = 32;

/** A cached pair. */
interface Kept {
  readonly bytes: Uint8Array;
  readonly tokens: Int32Array;
}

/** Pairs on demand. Pair i is image floor(i / variants) of variant i mod variants. Dispose it to free the networks. */
export class SampledPairs implements PairSource {
  readonly partial = false;
  readonly #kept = new Map<number, Kept>();
  #keptBytes = 0;

  private constructor(
    readonly count: number,
    readonly fingerprint: string,
    readonly series: readonly Series[],
    readonly networks: DrawingNetworks,
    readonly cacheBytes: number,
  ) {}

  /** Loads the networks. Throws when one does not fit by itself, and on variants of other families. */
  static async open(set: ModelSet, device: Device, options: SampledPairsOptions): Promise<SampledPairs> {
    const { family: name, count, seed, weightType } = options;
    if (!(Number.isInteger(count) && count >= 1)) throw new Error(`pairs: expected a count of 1 or more, got ${count}`);
    const variants = options.variants ?? set.variants(name);
    const wrong = variants.find((variant) => set.familyOf(variant) !== name);
    if (wrong !== undefined || variants.length === 0) {
      throw new Error(`pairs: expected variants of the family ${name}, got ${wrong ?? "none"}`);
    }
    const choice = options.class === undefined ? "random" : options.class;
    const series = variants.map((variant): Series => {
      checkClass(set, variant, choice);
      return { variant, seed, class: choice, sampler: chooseSampler(set, variant), argmax: false };
    });
    const networks = await DrawingNetworks.open(set, device, variants, options);
    const blocks = networks.sizes.map(({ generate }) => generate);
    const description = { modelSet: set.hash, series, count, blocks, device: device.info.kind, weightType };
    const fingerprint = await sha256Hex(new TextEncoder().encode(canonicalJson(description)));
    return new SampledPairs(count, fingerprint, series, networks, options.cacheBytes ?? 512 * 2 ** 20);
  }

  /** The pairs with these indices. Draws whole blocks of those that are not cached. */
  async batch(indices: readonly number[]): Promise<Pair[]> {
    const pairs = new Map<number, Kept>();
    for (const i of indices) {
      if (!(Number.isInteger(i) && i >= 0 && i < this.count)) {
        throw new Error(`pairs: expected numbers from 0 to ${this.count - 1}, got ${i}`);
      }
      if (pairs.has(i)) continue;
      const kept = this.#kept.get(i);
      if (kept) pairs.set(i, kept);
      else for (const [index, pair] of await this.#drawBlock(i)) pairs.set(index, pair);
    }
    return indices.map((i) => {
      const { bytes, tokens } = pairs.get(i)!;
      return { pixels: Float32Array.from(bytes, (byte) => byte / 255), tokens };
    });
  }

  /** Draws and caches the block of pair i. */
  async #drawBlock(i: number): Promise<Map<number, Kept>> {
    const variants = this.series.length;
    const which = i % variants;
    const size = this.networks.sizes[which].generate;
    const start = Math.floor(Math.floor(i / variants) / size) * size;
    const ofVariant = Math.ceil((this.count - which) / variants);
    const images = Array.from({ length: Math.min(size, ofVariant - start) }, (_, k) => start + k);
    const block = new Map<number, Kept>();
    const generator = await this.networks.generator(which);
    for (const { index, image, tokens } of await generator.batch(this.series[which], images)) {
      block.set(index * variants + which, { bytes: image.data, tokens });
    }
    for (const [index, pair] of block) this.#keep(index, pair);
    return block;
  }

  /** Caches a pair. Evicts the oldest ones if there is no room. */
  #keep(index: number, pair: Kept): void {
    const size = ({ bytes, tokens }: Kept) => bytes.byteLength + tokens.byteLength;
    const before = this.#kept.get(index);
    if (before) this.#keptBytes -= size(before);
    this.#kept.set(index, pair);
    this.#keptBytes += size(pair);
    for (const [oldest, old] of this.#kept) {
      if (this.#keptBytes <= this.cacheBytes) break;
      this.#kept.delete(oldest);
      this.#keptBytes -= size(old);
    }
  }

  /** Frees networks and cache. */
  dispose(): void {
    this.networks.dispose();
    this.#kept.clear();
    this.#keptBytes = 0;
  }
}

/**
 * The tokenizer of a family and the transformers that draw. They stay loaded if they all fit; else one at a time is,
 * which costs little, since a block takes much longer to draw than a transformer to load.
 */
class DrawingNetworks {
  readonly #generators = new Map<number, Generator>();

  private constructor(
    readonly set: ModelSet,
    readonly device: Device,
    readonly variants: readonly string[],
    /** Images per pass of each variant. */
    readonly sizes: readonly BatchSizes[],
    readonly tokenizer: ImageTokenizer,
    readonly options: SampledPairsOptions & { readonly takeTurns: boolean },
  ) {}

  /** Loads the tokenizer and, if they all fit, the transformers. */
  static async open(
    set: ModelSet,
    device: Device,
    variants: readonly string[],
    options: SampledPairsOptions,
  ): Promise<DrawingNetworks> {
    const { family, weightType, memoryBytes = 4 * 2 ** 30, onPrepare } = options;
    const together = sizesTogether(set, device, variants, { weightType, memoryBytes });
    const sizes = (together ?? variants.map((name) => planBatch(set, device, name, memoryBytes, weightType)))
      .map(({ generate, decode }) => ({
        generate: Math.min(blockImages, generate),
        decode: Math.min(blockImages, decode),
      }));
    onPrepare?.(`loading the ${family} tokenizer`);
    const tokenizer = await set.loadTokenizer(device, family, { weightType });
    const takeTurns = together === undefined;
    const networks = new DrawingNetworks(set, device, variants, sizes, tokenizer, { ...options, takeTurns });
    try {
      if (!takeTurns) { for (const i of variants.keys()) await networks.generator(i); }
      return networks;
    } catch (error) {
      networks.dispose();
      throw error;
    }
  }

  /** The generator of a variant, loaded if need be. The one before is not valid any more where variants take turns. */
  async generator(which: number): Promise<Generator> {
    const loaded = this.#generators.get(which);
    if (loaded !== undefined) return loaded;
    const { takeTurns, weightType, onPrepare } = this.options;
    if (takeTurns) this.#free();
    onPrepare?.(`loading ${this.variants[which]}`);
    const variant = await this.set.loadVariant(this.device, this.variants[which], { weightType });
    const generator = new Generator(this.tokenizer, variant, this.sizes[which]);
    this.#generators.set(which, generator);
    return generator;
  }

  #free(): void {
    for (const { variant } of this.#generators.values()) variant.dispose();
    this.#generators.clear();
    this.device.trim();
  }

  dispose(): void {
    this.#free();
    this.tokenizer.dispose();
  }
}

/** Batch sizes where all variants stay loaded, each in what those before leave; undefined where they do not all fit. */
function sizesTogether(
  set: ModelSet,
  device: Device,
  variants: readonly string[],
  { weightType, memoryBytes }: { readonly weightType?: "f32" | "f16"; readonly memoryBytes: number },
): readonly BatchSizes[] | undefined {
  const sizes: BatchSizes[] = [];
  let taken = 0;
  for (const variant of variants) {
    const fitting = fittingBatch(set, device, variant, memoryBytes - taken, weightType);
    if (fitting === undefined) return undefined;
    sizes.push(fitting);
    taken += set.footprint(device, { family: set.familyOf(variant), variant }, weightType).weights;
  }
  return sizes;
}
