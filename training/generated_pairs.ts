/**
 * Pairs for training that are drawn from a family's transformers when they are asked for, instead of read from files. What
 * is drawn stays in memory as long as there is room; what does not fit is drawn again and comes out the same.
 */
import type { Device } from "../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer, Variant } from "../models/family.ts";
import type { ModelSet } from "../models/model_set.ts";
import type { Pair, PairSource } from "./pairs.ts";
import { Generator, planBatch } from "../generation/generator.ts";
import { checkClass, chooseSampler, type ClassChoice, type Series } from "../generation/settings.ts";
import { canonicalJson } from "../util/json.ts";
import { sha256Hex } from "../util/hash.ts";

export interface SampledPairsOptions {
  readonly family: FamilyName;
  /** Pairs in all; they go round the variants. */
  readonly count: number;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** All of the family's when not given. */
  readonly variants?: readonly string[];
  readonly class?: ClassChoice;
  /** Device memory for networks and activations; 4 GiB when not given. */
  readonly memoryBytes?: number;
  readonly weightType?: "f32" | "f16";
  /** Host memory for pixels and tokens; 512 MiB when not given. */
  readonly cacheBytes?: number;
  readonly onPrepare?: (text: string) => void;
}

/** Images that are drawn together, or fewer where memory is short: part of the fingerprint, as rounding depends on it. */
const blockImages = 32;

/** What is kept of a pair. */
interface Kept {
  readonly bytes: Uint8Array;
  readonly tokens: Int32Array;
}

/** Pair i is image floor(i / variants) of variant i mod variants. Dispose it when done: it holds the networks. */
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

  /** Loads the tokenizer and all transformers that are drawn from. Throws when they do not fit, or there are none. */
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
        // The networks that are there already leave less for the batch.
        const taken = loaded.reduce((sum, each) => sum + each.weightBytes, 0);
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

  async batch(indices: readonly number[]): Promise<Pair[]> {
    const found = new Map<number, Kept>();
    for (const i of indices) {
      if (!(Number.isInteger(i) && i >= 0 && i < this.count)) {
        throw new Error(`pairs: expected numbers from 0 to ${this.count - 1}, got ${i}`);
      }
      if (found.has(i)) continue;
      const kept = this.#kept.get(i);
      if (kept) found.set(i, kept);
      else for (const [index, pair] of await this.#drawBlock(i)) found.set(index, pair);
    }
    return indices.map((i) => {
      const { bytes, tokens } = found.get(i)!;
      return { pixels: Float32Array.from(bytes, (byte) => byte / 255), tokens };
    });
  }

  /** Draws the block that pair i belongs to. */
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

  /** Makes room by forgetting what has been there longest. */
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

  dispose(): void {
    this.generators[0].tokenizer.dispose();
    for (const { variant } of this.generators) variant.dispose();
    this.#kept.clear();
    this.#keptBytes = 0;
  }
}
