/**
 * From tokens to their likelihood under a variant: the log-probability of every token, teacher-forced, and summaries.
 * Which condition to use, and what a likelihood means for the verdict, is decided elsewhere.
 */
import { logSoftmaxGather, scope, type Tensor } from "../core/tensor/mod.ts";
import type { Condition, Variant } from "../models/family.ts";

/**
 * log p(token t | tokens before it, condition) in nats, [batch, tokenCount]. `input` is what the variant's family makes of
 * `tokens` [batch, tokenCount] (`Family.transformerInput`).
 */
export function tokenLogProbs(variant: Variant, input: Tensor, tokens: Tensor, condition: Condition): Tensor {
  return scope(() => logSoftmaxGather(variant.logits(input, condition), tokens));
}

/** Likelihood of one image's tokens under one variant. */
export interface Likelihood {
  /** Mean log-probability per token in nats, at most 0. */
  readonly meanLogProb: number;
  /** exp(-meanLogProb), at least 1: the number of codes among which the variant hesitates, on average. */
  readonly perplexity: number;
}

/** Summarises the log-probabilities of one image's tokens. Throws when there are none. */
export function summarize(logProbs: Float32Array): Likelihood {
  if (logProbs.length === 0) throw new Error("summarize: expected at least one log-probability, got none");
  let sum = 0;
  for (const value of logProbs) sum += value;
  const meanLogProb = Math.min(0, sum / logProbs.length); // rounding may put a certain token above 0
  return { meanLogProb, perplexity: Math.exp(-meanLogProb) };
}
