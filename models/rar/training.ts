/**
 * What a RAR transformer is trained to do: predict the tokens of an image in any order, as a loss on the tape; and the
 * training part of RAR's row. Pure functions of weights, tokens, labels and orders; no optimisers, data or learning
 * rates. Source: arXiv 2411.00776, section 3; bytedance/1d-tokenizer, modeling/rar.py (`sample_orders`,
 * `preprocess_condition`).
 */
import {
  type Device,
  disposeAll,
  embedding,
  fromArray,
  keep,
  scope,
  slice,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { FamilyTraining, SeededStep, TokenBatch } from "../family_training.ts";
import { modulationInitRule, transformerInitRule } from "../init_rule.ts";
import { crossEntropy, distinctLabels, draws } from "../training.ts";
import type { Weights } from "../weights.ts";
import type { RarConfig } from "./config.ts";
import { tokenizerLoss } from "./tokenizer_training.ts";
import { type AdaLnTable, type RarCondition, RarTransformer } from "./transformer.ts";

const orderStream = 0x7065726d, choiceStream = 0x72617374; // "perm", "rast"

/**
 * Probability that a sample has a random order, `at` being the share of all steps that is done: 1 up to `start`, then
 * falling linearly to 0 at `end`. The defaults are the paper's epochs 200 and 300 of 400.
 */
export function randomOrderShare(at: number, start = 0.5, end = 0.75): number {
  if (at < start) return 1;
  return at >= end ? 0 : 1 - (at - start) / (end - start);
}

/** One order per sample: a random permutation with probability `share`, else raster. */
export function sampleOrders(
  batch: number,
  tokenCount: number,
  share: number,
  { seed, step }: SeededStep,
): Int32Array<ArrayBuffer>[] {
  const choices = draws(seed, choiceStream, step, batch);
  const exchanges = draws(seed, orderStream, step, batch * tokenCount);
  return Array.from({ length: batch }, (_, b) => {
    const order = Int32Array.from({ length: tokenCount }, (_, i) => i);
    if (choices[b] >= share) return order;
    for (let i = tokenCount - 1; i > 0; i--) {
      const j = Math.floor(exchanges[b * tokenCount + i] * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  });
}

/**
 * Mean cross-entropy per token in nats, one element. Tokens come in raster order, and are predicted in the batch's
 * orders. Every weight must be dense to be trained.
 */
export function rarLoss(device: Device, weights: Weights, config: RarConfig, batch: TokenBatch): Tensor {
  const { tokens, labels, orders } = batch;
  const { tokenCount } = config;
  return scope(() => {
    const transformer = new RarTransformer(device, weights, config);
    const condition = sharedCondition(device, transformer, labels);
    const input = fromArray(device, tokens, [labels.length, tokenCount]);
    const logits = slice(transformer.logits(input, condition, orders), 1, 0, tokenCount);
    condition.dispose();
    transformer.release();
    return crossEntropy(logits, inOrder(tokens, tokenCount, orders));
  });
}

/** Tokens of every image in the order of that image. */
function inOrder(tokens: Int32Array<ArrayBuffer>, n: number, orders?: readonly Int32Array[]): Int32Array<ArrayBuffer> {
  if (!orders) return tokens;
  return tokens.map((_, i) => tokens[i - i % n + orders[Math.floor(i / n)][i % n]]);
}

/**
 * The condition of a batch, computed once for every label that occurs in it and then copied to the images: the maps to
 * the adaLN tables are as wide as the rest of a block, and a batch has few labels. The tables are cut into their
 * chunks, since the gradient of a chunk would otherwise be as large as the whole table.
 */
function sharedCondition(
  device: Device,
  transformer: RarTransformer,
  labels: readonly (number | null)[],
): RarCondition {
  const { distinct, places } = distinctLabels(labels);
  const { rows } = transformer;
  const tables = scope(() => {
    const condition = transformer.condition(distinct);
    const index = fromArray(device, places, [places.length]);
    const copied = (x: Tensor) => embedding(x.reshape(distinct.length, -1), index);
    const chunks = (table: AdaLnTable): AdaLnTable => {
      const whole = table as Tensor;
      const [, , count, n] = whole.shape;
      return Array.from({ length: count }, (_, chunk) => {
        const part = slice(whole, 2, chunk, chunk + 1);
        return copied(part).reshape(labels.length, rows, 1, n);
      });
    };
    const result = {
      embedded: copied(condition.embedded).reshape(labels.length, 1, -1),
      blocks: condition.blocks.map(chunks),
      head: chunks(condition.head),
    };
    condition.dispose();
    return keep(result);
  });
  return { ...tables, batch: labels.length, bytes: 0, dispose: () => disposeAll(tables) };
}

/** RAR's training. */
export const rarTraining: FamilyTraining<RarConfig> = {
  tokenizerLoss,
  initRule(name, shape, { layers: depth, hiddenSize: width }) {
    if (!name.includes("adaLN_modulation")) return transformerInitRule(name, shape, { depth, width });
    return modulationInitRule(name, width, name.startsWith("blocks.") ? [2, 5] : []);
  },
  orders: ({ batch, tokenCount, steps, ...at }) =>
    sampleOrders(batch, tokenCount, randomOrderShare(at.step / steps), at),
  transformerLoss: ({ device, weights, config }, batch) => rarLoss(device, weights, config, batch),
};
