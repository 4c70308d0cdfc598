/**
 * Training pairs that are drawn from a family's transformers on demand, without files. A cache keeps drawn pairs; a
 * pair that is evicted is drawn again, with the same result.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer, Variant } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";
import type { Pair, PairSource } from "./pairs.ts";
import { Generator, planBatch } from "../generation/generator.ts";
import { checkClass, chooseSampler, type ClassChoice, type Series } from "../generation/settings.ts";
import { canonicalJson } from "../util/json.ts";
import { sha256Hex } from "../util/hash.ts";

/** What to draw, and within which memory. */
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
  /** Device memory for networks and activations. Default 4 GiB. */
  readonly memoryBytes?: number;
  readonly weightType?: "f32" | "f16";
  /** Host memory for pixels and tokens. Default 512 MiB. */
  readonly cacheBytes?: number;
  /** Called before each loading of a network. */
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
    readonly generators: readonly Generator[],
    readonly cacheBytes: number,
  ) {}

  /** Loads the tokenizer and the transformers. Throws when they do not fit, and on variants of other families. */
  static async open(set: ModelSet, device: Device, options: SampledPairsOptions): Promise<SampledPairs> {
    const { family: name, count, seed, weightType = "f32", memoryBytes = 4 * 2 ** 30, onPrepare } = options;
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
    let tokenizer: ImageTokenizer | undefined;
    const loaded: Variant[] = [];
    try {
      onPrepare?.(`loading the ${name} tokenizer`);
      tokenizer = await set.loadTokenizer(device, name, { weightType });
      const generators: Generator[] = [];
      for (const variant of variants) {
        onPrepare?.(`loading ${variant}`);
        // Loaded networks leave less memory for the batch.
        const taken = loaded.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
        const { generate, decode } = planBatch(set, device, variant, memoryBytes - taken, weightType);
        const sizes = { generate: Math.min(blockImages, generate), decode: Math.min(blockImages, decode) };
        const network = await set.loadVariant(device, variant, { weightType });
        loaded.push(network);
        generators.push(new Generator(tokenizer, network, sizes));
      }
      const blocks = generators.map(({ sizes }) => sizes.generate);
      const description = { modelSet: set.hash, series, count, blocks, device: device.info.kind, weightType };
      const fingerprint = await sha256Hex(new TextEncoder().encode(canonicalJson(description)));
      return new SampledPairs(count, fingerprint, series, generators, options.cacheBytes ?? 512 * 2 ** 20);
    } catch (error) {
      tokenizer?.dispose();
      for (const network of loaded) network.dispose();
      throw error;
    }
  }

  /** The pairs with these indices. Draws whole blocks of those that are not cached. */
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
    const generator = this.generators[which];
    const size = generator.sizes.generate;
    const start = Math.floor(Math.floor(i / variants) / size) * size;
    const ofVariant = Math.ceil((this.count - which) / variants);
    const images = Array.from({ length: Math.min(size, ofVariant - start) }, (_, k) => start + k);
    const block = new Map<number, Kept>();
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
  /** Frees networks and cache. */
  dispose(): void {
    this.generators[0].tokenizer.dispose();
    for (const { variant } of this.generators) variant.dispose();
    this.#kept.clear();
    this.#keptBytes = 0;
  }
}
