/**
 * What a VAR transformer is trained to do: predict the tokens of all scales from the class, as a loss on the tape; and
 * the training part of VAR's row. Pure functions of weights, tokens and labels; no optimisers, data or learning rates.
 * Source: FoundationVision/VAR, trainer.py (equal weight for every token, no label smoothing; arXiv 2404.02905).
 */
import { type Device, fromArray, scope, type Tensor } from "../../core/tensor/mod.ts";
import type { FamilyTraining } from "../family_training.ts";
import { constant, mapDeviation, modulationInitRule, normal, transformerInitRule } from "../init_rule.ts";
import { crossEntropy } from "../training.ts";
import type { Weights } from "../weights.ts";
import type { VarConfig } from "./config.ts";
import { readBackFigures } from "./read_back.ts";
import { VarTransformer } from "./transformer.ts";
import { vqvaeLoss } from "./vqvae_training.ts";

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

/** VAR's training. */
export const varTraining: FamilyTraining<VarConfig> = {
  tokenizerLoss: vqvaeLoss,
  tokenizerFigures: readBackFigures,
  initRule(name, shape, { depth, embedDim: width }) {
    if (name.endsWith(".scale_mul_1H11")) return constant(Math.log(4));
    if (name.endsWith(".ada_gss")) return normal(0.02 * mapDeviation(width));
    if (!name.includes("ada_lin")) return transformerInitRule(name, shape, { depth, width });
    return modulationInitRule(name, width, name.startsWith("head_nm.") ? [] : [0, 1]);
  },
  transformerLoss: ({ device, weights, config, transformerInput }, { tokens, labels }) =>
    scope(() => {
      const input = transformerInput(fromArray(device, tokens, [labels.length, tokens.length / labels.length]));
      return varLoss(device, weights, config, { tokens, labels, input });
    }),
};
