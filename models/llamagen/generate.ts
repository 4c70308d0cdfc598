/**
 * Sampling from a LlamaGen transformer: token by token in raster order, with classifier-free guidance by a constant
 * factor. The tokenizer decodes the tokens. Source: FoundationVision/LlamaGen, autoregressive/models/generate.py.
 */
import { affine, argmax, concat, keep, scope, slice, type Tensor } from "../../core/tensor/mod.ts";
import { guideByFactor } from "../guidance.ts";
import { checkOptions, type GenerateOptions, Pace, TokenDraw, TokenNoise } from "../sampling.ts";
import type { LlamagenSampler } from "./config.ts";
import { guidanceFactors } from "./sampler.ts";
import type { LlamagenTransformer } from "./transformer.ts";

/** The official code divides logits by no less than this. */
export const leastTemperature = 1e-5;

/**
 * tokens[batch, N] (i32, raster order); dispose it when done. Conditional and unconditional rows go through the network
 * as one batch. Images without a class, and a guidance of 1 or less, need no unconditional ones.
 */
export async function generateLlamagen(
  transformer: LlamagenTransformer,
  sampler: LlamagenSampler,
  options: GenerateOptions,
): Promise<Tensor> {
  checkOptions("generateLlamagen", options);
  if (options.moreSmooth) {
    throw new Error("generateLlamagen: more_smooth is a setting of VAR; LlamaGen decodes the codes it draws");
  }
  const { labels, images, seed, onStep, onProgress } = options;
  const { tokenCount, codes } = transformer.config;
  const batch = labels.length, factors = guidanceFactors(sampler, tokenCount);
  const isGuided = labels.some((label) => label !== null) && factors.some((factor) => factor !== 1);

  using cleanup = new DisposableStack();
  const condition = transformer.condition(isGuided ? [...labels, ...labels.map(() => null)] : labels);
  cleanup.defer(() => condition.dispose());
  const state = transformer.start(condition.batch);
  cleanup.defer(() => state.dispose());
  const { device } = condition.embedded;
  const { topK, topP, temperature } = sampler, support = { topK: Math.min(topK, codes), topP };
  const noise = options.argmax ? null : cleanup.adopt(new TokenNoise(device, seed, images, tokenCount), dispose);
  const draw = options.argmax ? null : cleanup.adopt(new TokenDraw(device, codes, support), dispose);
  const tokens: Tensor[] = [];
  cleanup.defer(() => tokens.forEach(dispose));

  const pace = new Pace(options.signal);
  for (let t = 0; t < tokenCount; t++) {
    const token = scope(() => {
      const before = t === 0 ? null : tokens[t - 1];
      const rows = transformer.step(state, isGuided && before ? concat([before, before], 0) : before, condition);
      const own = isGuided ? slice(rows, 0, 0, batch) : rows;
      const logits = factors[t] === 1 || !isGuided ? own : guideByFactor(own, slice(rows, 0, batch), factors[t]);
      onStep?.(logits.reshape(batch, 1, codes));
      if (!noise || !draw) return keep(argmax(logits));
      const scaled = temperature === 1 ? logits : affine(logits, 1 / Math.max(temperature, leastTemperature));
      return keep(draw.draw(scaled, ...noise.at(t, t + 1)));
    });
    tokens.push(token);
    onProgress?.((t + 1) / tokenCount);
    await pace.step();
  }
  return keep(scope(() => concat(tokens.map((token) => token.reshape(batch, 1)), 1)));
}

function dispose(item: { dispose(): void }): void {
  item.dispose();
}
