/**
 * The networks' part of a check: draws images of a variant, writes and reads them as PNG, finds their tokens again, and
 * scores the drawn tokens under the variants of the family. One transformer is loaded at a time. check_set.ts chooses
 * variants by the time that is left, judge.ts compares the numbers.
 */
import { type Device, disposeAll, fromArray, scope } from "../../core/tensor/mod.ts";
import { ownDecoder } from "../../attribution/images/decoder/mod.ts";
import { toValueRange } from "../../attribution/images/load.ts";
import { writePng } from "../../attribution/images/png.ts";
import { VariantScorer } from "../../attribution/likelihood/variant_scorer.ts";
import { openQuantizer, type Quantizer, type QuantizerName } from "../../attribution/quantisation/quantizers.ts";
import { measureSignals } from "../../attribution/signals/measure.ts";
import type { FamilyName, ImageTokenizer, Variant } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { Generator } from "../generator.ts";
import { planBatch } from "../memory.ts";

/** An image that a variant drew for a check, and what was measured of it. */
export interface TrialImage {
  readonly variant: string;
  readonly family: FamilyName;
  /** Index in the series of the seed. */
  readonly index: number;
  readonly class: number;
  /** As drawn. */
  readonly tokens: Int32Array;
  /** The file. */
  readonly png: Uint8Array<ArrayBuffer>;
  /** Share of the tokens that were found again, 0 to 1. */
  readonly recovered: number;
  /** Of the own tokenizer. */
  readonly quantLoss: number;
  /** Nats per token: -log p of the drawn tokens under their variant and class. */
  readonly drawnNats: number;
  /** The same of the tokens that were found. */
  readonly foundNats: number;
  /** Nats per drawn token under the distribution that each variant's sampler draws from, by variant. */
  readonly nats: Record<string, number>;
}

/** Options of `Trials`. */
export interface TrialOptions {
  readonly weightType?: "f32" | "f16";
  /** Limit for weights and activations. */
  readonly memoryBytes: number;
  readonly seed: number;
  readonly quantization: QuantizerName;
  readonly signal?: AbortSignal;
  /** Called before a network is loaded or run. */
  readonly onPrepare?: (text: string) => void;
}

/** A tokenizer with its quantiser. */
interface OpenTokenizer {
  readonly tokenizer: ImageTokenizer;
  readonly quantizer: Quantizer;
}

/** Draws and measures. Owns the networks that it loads, so dispose it. */
export class Trials implements Disposable {
  /** All images so far. */
  readonly images: TrialImage[] = [];
  readonly #tokenizers = new Map<FamilyName, OpenTokenizer>();

  constructor(readonly set: ModelSet, readonly device: Device, readonly options: TrialOptions) {}

  /**
   * Draws the next `count` images of a variant, measures them, and scores the images of its family under it. Throws the
   * signal's reason when aborted; the images are added all at once.
   */
  async draw(name: string, count: number): Promise<void> {
    const { onPrepare, signal } = this.options;
    const open = await this.#openTokenizer(this.set.familyOf(name));
    await this.#withVariant(name, async (variant) => {
      onPrepare?.(`${name}: drawing ${count} images`);
      const drawn = await this.#drawn(open.tokenizer, variant, count);
      onPrepare?.(`${name}: finding their tokens`);
      const found: { tokens: Int32Array; quantLoss: number }[] = [];
      for (const { png } of drawn) {
        signal?.throwIfAborted();
        found.push(await this.#find(open, png));
      }
      onPrepare?.(`${name}: scoring tokens`);
      await this.#withScorer(variant, async (scorer) => {
        const own = await this.#score(scorer, drawn);
        const again = await this.#score(scorer, drawn.map((image, i) => ({ ...image, tokens: found[i].tokens })));
        await this.#scoreOthers(scorer, name);
        drawn.forEach((image, i) => {
          const { tokens, quantLoss } = found[i];
          const same = tokens.reduce((sum, token, t) => sum + (token === image.tokens[t] ? 1 : 0), 0);
          this.images.push({
            ...{ ...image, quantLoss, recovered: same / tokens.length },
            ...{ drawnNats: own[i].conditional, foundNats: again[i].conditional, nats: { [name]: own[i].sampled } },
          });
        });
      });
    });
  }

  /** Scores the images of the family that the variant has not scored, its own being scored already. */
  async scoreOthers(name: string): Promise<void> {
    if (this.#unscored(name).length === 0) return;
    await this.#openTokenizer(this.set.familyOf(name));
    await this.#withVariant(name, async (variant) => {
      this.options.onPrepare?.(`${name}: scoring the others' tokens`);
      await this.#withScorer(variant, (scorer) => this.#scoreOthers(scorer, name));
    });
  }

  #unscored(name: string): TrialImage[] {
    const family = this.set.familyOf(name);
    return this.images.filter((image) => image.family === family && !(name in image.nats));
  }

  async #scoreOthers(scorer: VariantScorer, name: string): Promise<void> {
    const waiting = this.#unscored(name);
    const scores = await this.#score(scorer, waiting);
    waiting.forEach((image, i) => image.nats[name] = scores[i].sampled);
  }

  /** Nats per token of images under their classes: by the class alone, and as the sampler draws. */
  async #score(
    scorer: VariantScorer,
    images: readonly Pick<TrialImage, "tokens" | "class">[],
  ): Promise<{ conditional: number; sampled: number }[]> {
    const scores: { conditional: number; sampled: number }[] = [];
    for (const { tokens, class: label } of images) {
      this.options.signal?.throwIfAborted();
      const [summaries] = await scorer.summarise(tokens, [[{ class: label, weight: 1 }]]);
      scores.push({ conditional: -summaries["conditional.mean"], sampled: -summaries["own.guided.mean"] });
    }
    return scores;
  }

  async #openTokenizer(family: FamilyName): Promise<OpenTokenizer> {
    const known = this.#tokenizers.get(family);
    if (known !== undefined) return known;
    const { weightType, quantization, onPrepare } = this.options;
    onPrepare?.(`loading the ${family} tokenizer`);
    const tokenizer = await this.set.loadTokenizer(this.device, family, { weightType });
    try {
      const open = { tokenizer, quantizer: await openQuantizer(quantization, tokenizer) };
      this.#tokenizers.set(family, open);
      return open;
    } catch (error) {
      tokenizer.dispose();
      throw error;
    }
  }

  async #withVariant(name: string, body: (variant: Variant) => Promise<void>): Promise<void> {
    this.options.signal?.throwIfAborted();
    this.options.onPrepare?.(`loading ${name}`);
    const { weightType } = this.options;
    const variant = await this.set.loadVariant(this.device, name, { weightType });
    try {
      await body(variant);
    } finally {
      variant.dispose();
      this.device.trim();
    }
  }

  async #drawn(tokenizer: ImageTokenizer, variant: Variant, count: number) {
    const { set, device, options: { seed, weightType, signal } } = this;
    const { name } = variant;
    const plan = planBatch(set, device, name, this.#memoryFor(tokenizer.family), weightType);
    const generator = new Generator(tokenizer, variant, plan);
    const series = { variant: name, seed, class: "random", sampler: set.samplerOf(name), argmax: false } as const;
    const all: Pick<TrialImage, "variant" | "family" | "index" | "class" | "tokens" | "png">[] = [];
    const begin = this.images.filter((image) => image.variant === name).length, end = begin + count;
    for (let first = begin; first < end; first += plan.generate) {
      const indices = Array.from({ length: Math.min(plan.generate, end - first) }, (_, i) => first + i);
      for (const { index, class: label, tokens, image } of await generator.batch(series, indices, { signal })) {
        all.push({
          ...{ variant: name, family: tokenizer.family, index, class: label!, tokens },
          png: writePng(image) as Uint8Array<ArrayBuffer>,
        });
      }
    }
    return all;
  }

  /** What is left of the memory beside the tokenizers of other families. */
  #memoryFor(family: FamilyName): number {
    const others = [...this.#tokenizers].filter(([name]) => name !== family);
    return this.options.memoryBytes - others.reduce((sum, [, { tokenizer }]) => sum + tokenizer.weightBytes, 0);
  }

  /** Reads an image and finds its tokens, as attribution does. */
  async #find(
    { tokenizer, quantizer }: OpenTokenizer,
    png: Uint8Array<ArrayBuffer>,
  ): Promise<{ tokens: Int32Array; quantLoss: number }> {
    const { imageSize: size, valueRange } = tokenizer;
    // The file was written a moment ago, so it needs no other process.
    const { bySize } = await ownDecoder.pixels({ imageName: "drawn", bytes: png }, png, [size]);
    const values = toValueRange([bySize.get(size)!], valueRange);
    const { tokens, signals } = scope(() =>
      measureSignals(tokenizer, fromArray(this.device, values, [1, size, size, 3]), "core", quantizer.quantize)
    );
    try {
      const [ids, [quantLoss]] = await Promise.all([tokens.ints(), signals.quantLoss!.data()]);
      return { tokens: ids, quantLoss };
    } finally {
      disposeAll([tokens, signals]);
    }
  }

  async #withScorer(variant: Variant, body: (scorer: VariantScorer) => Promise<void>): Promise<void> {
    const { tokenizer } = this.#tokenizers.get(variant.family)!;
    const condition = variant.condition([null]);
    // Images are drawn with the variant's own settings: others need no scores.
    const loaded = { variant, condition, samplers: [this.set.samplerOf(variant.name)] };
    const scorer = new VariantScorer(this.device, tokenizer, loaded, { batch: 1 });
    try {
      await body(scorer);
    } finally {
      scorer.dispose();
      condition.dispose();
    }
  }

  [Symbol.dispose](): void {
    for (const { tokenizer, quantizer } of this.#tokenizers.values()) {
      quantizer.dispose();
      tokenizer.dispose();
    }
    this.#tokenizers.clear();
  }
}
