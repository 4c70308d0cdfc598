/**
 * What a VAR transformer is trained to do: predict the tokens of all scales from the class, as a loss on the tape.
 * A pure function of weights, tokens and labels; optimisers, data and learning rates are not here.
 * Source: FoundationVision/VAR, trainer.py (equal weight for every token, no label smoothing; arXiv 2404.02905).
 */
import { type Device, scope, type Tensor } from "../../core/tensor/mod.ts";
import { crossEntropy } from "../training.ts";
import type { Weights } from "../weights.ts";
import type { VarConfig } from "./config.ts";
import { VarTransformer } from "./transformer.ts";

/** One batch: tokens of all scales, what the quantiser makes of them, and a class or null per image. */
export interface VarBatch {
  /** [batch * tokenCount], one image after the other. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** The tokenizer's `transformerInput` of the tokens, [batch, tokenCount - pn_0^2, codeChannels]. */
  readonly input: Tensor;
  readonly labels: readonly (number | null)[];
}

/** Mean cross-entropy per token in nats, one element. Every weight must be dense to be trained. */
export function varLoss(device: Device, weights: Weights, config: VarConfig, batch: VarBatch): Tensor {
  return scope(() => {
    const transformer = new VarTransformer(device, weights, config);
    const condition = transformer.condition(batch.labels);
    const logits = transformer.logits(batch.input, condition);
    condition.dispose();
    transformer.release();
    return crossEntropy(logits, batch.tokens);
  });
}
