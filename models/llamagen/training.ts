/**
 * What LlamaGen's networks are trained to do, and the training part of their rows: losses on the tape, initial values.
 * Source: FoundationVision/LlamaGen, autoregressive/models/gpt.py (`forward`, `_init_weights`) and
 * tokenizer/tokenizer_image/vq_model.py (`VectorQuantizer.forward`).
 */
import {
  add,
  affine,
  type Device,
  embedding,
  fromArray,
  keep,
  mean,
  nearestCode,
  scope,
  square,
  sub,
  type Tensor,
  withoutTape,
} from "../../core/tensor/mod.ts";
import type { FamilyTraining, TokenBatch, TokenizerLossOptions } from "../family_training.ts";
import { constant, mapDeviation, normal } from "../init_rule.ts";
import { commitmentWeight, pixelLoss, straightThrough, type TokenizerLoss } from "../tokenizer_training.ts";
import { crossEntropy } from "../training.ts";
import type { Weights } from "../weights.ts";
import type { LlamagenConfig } from "./config.ts";
import type { LlamagenImageTokenizer } from "./family.ts";
import { unitCodes } from "./tokenizer.ts";
import { LlamagenTransformer } from "./transformer.ts";

/**
 * images[batch, size, size, 3] in [-1, 1] -> the tokenizer's loss: reconstruction, codebook and commitment, over vectors
 * of unit length. No discriminator and no perceptual network. Call it inside `differentiate`, with all weights dense.
 */
export function tokenizerLoss(
  tokenizer: LlamagenImageTokenizer,
  images: Tensor,
  { latentWeight, readBack, observe }: TokenizerLossOptions,
): TokenizerLoss {
  if (readBack !== undefined) throw new RangeError("tokenizerLoss: LlamaGen's tokenizer has no terms `readBack`");
  const codebook = unitCodes(tokenizer.weights);
  const f = tokenizer.encode(images);
  const [batch, h, w, c] = f.shape;
  const fixed = withoutTape(() => f.reshape(batch * h * w, c));
  const tokens = withoutTape(() => nearestCode(fixed, codebook));
  observe?.(withoutTape(() => keep({ vectors: fixed.alias(), tokens: tokens.alias() })));
  const codes = embedding(codebook, tokens);
  const toCodebook = mean(square(sub(codes, fixed)));
  const frozen = withoutTape(() => codes.alias());
  const commitment = mean(square(sub(f.reshape(batch * h * w, c), frozen)));
  const decoded = tokenizer.decode(straightThrough(frozen.reshape(batch, h, w, c), f));
  const { loss, mse } = pixelLoss(decoded, images, 1);
  const latent = add(toCodebook, affine(commitment, commitmentWeight));
  return { loss: add(loss, affine(latent, latentWeight)), mse: affine(mse, 0.25), latent: commitment };
}

/** Mean cross-entropy per token in nats, one element. Every weight must be dense to be trained. */
export function llamagenLoss(device: Device, weights: Weights, config: LlamagenConfig, batch: TokenBatch): Tensor {
  const { tokens, labels } = batch;
  return scope(() => {
    const transformer = new LlamagenTransformer(device, weights, config);
    const condition = transformer.condition(labels);
    const logits = transformer.logits(fromArray(device, tokens, [labels.length, config.tokenCount]), condition);
    condition.dispose();
    transformer.release();
    return crossEntropy(logits, tokens);
  });
}

/** LlamaGen's training. */
export const llamagenTraining: FamilyTraining<LlamagenConfig> = {
  tokenizerLoss,
  initRule(name, shape, { layers, width }) {
    const std = mapDeviation(width);
    if (shape.length === 1) return constant(1);
    // What writes into the residual stream is smaller, so that depth does not change its size.
    if (/(wo|w2)\.weight$/.test(name)) return normal(std / Math.sqrt(2 * layers));
    return normal(name === "output.weight" ? 0.1 * std : std);
  },
  transformerLoss: ({ device, weights, config }, batch) => llamagenLoss(device, weights, config, batch),
};
