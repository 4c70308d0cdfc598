/**
 * Sampling from a RAR transformer: token by token in raster order, with classifier-free guidance that grows along the
 * image. The tokenizer decodes the tokens.
 * Source: bytedance/1d-tokenizer, modeling/rar.py, `generate`.
 */
import { affine, argmax, concat, keep, scope, slice, type Tensor } from "../../core/tensor/mod.ts";
import { guideByFactor } from "../guidance.ts";
import { checkOptions, type GenerateOptions, Pace, TokenDraw, TokenNoise } from "../sampling.ts";
import type { RarSampler } from "./config.ts";
import { guidanceScales } from "./sampler.ts";
import type { RarTransformer } from "./transformer.ts";

/**
 * tokens[batch, N] (i32, raster order); dispose it when done. Conditional and unconditional rows go through the network
 * as one batch. Images without a class, and a guidance of 0 or 1, need no unconditional ones.
 */
export async function generateRar(
  transformer: RarTransformer,
  sampler: RarSampler,
  options: GenerateOptions,
): Promise<Tensor> {
  checkOptions("generateRar", options);
  if (options.moreSmooth) {
    throw new Error("generateRar: more_smooth is a setting of VAR; RAR decodes the codes it draws");
  }
  const { labels, images, seed, onStep, onProgress } = options;
  const { tokenCount, codes } = transformer.config;
  const batch = labels.length;
  const factors = guidanceScales(sampler, tokenCount);
  const isGuided = labels.some((label) => label !== null) && factors.some((factor) => factor !== 1);

  using cleanup = new DisposableStack();
  const condition = transformer.condition(isGuided ? [...labels, ...labels.map(() => null)] : labels);
  cleanup.defer(() => condition.dispose());
  const state = transformer.start(condition.batch);
  cleanup.defer(() => state.dispose());
  const { device } = condition.embedded;
  const noise = options.argmax ? null : cleanup.adopt(new TokenNoise(device, seed, images, tokenCount), dispose);
  const draw = options.argmax ? null : cleanup.adopt(new TokenDraw(device, codes), dispose);
  const tokens: Tensor[] = [];
  cleanup.defer(() => tokens.forEach(dispose));

  const pace = new Pace(options.signal);
  for (let t = 0; t < tokenCount; t++) {
    const token = scope(() => {
      const before = t === 0 ? null : tokens[t - 1];
      const rows = transformer.step(state, isGuided && before ? concat([before, before], 0) : before, condition);
      const logits = isGuided ? guideByFactor(slice(rows, 0, 0, batch), slice(rows, 0, batch), factors[t]) : rows;
      onStep?.(logits.reshape(batch, 1, codes));
      if (!noise || !draw) return keep(argmax(logits));
      const scaled = sampler.temperature === 1 ? logits : affine(logits, 1 / sampler.temperature);
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
