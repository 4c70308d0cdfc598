/** Cases 22 and 28: LlamaGen's transformer at small sizes, its rotary table, what it draws, and its likelihoods. */
import { icas, meanDifference, meanIcas } from "../../attribution/likelihood/membership/icas.ts";
import { tokenStatistics, unpackStatistics } from "../../attribution/likelihood/membership/statistics.ts";
import {
  affine,
  clamp,
  concat,
  type Device,
  div,
  fromArray,
  keep,
  logSoftmaxGather,
  mean,
  scope,
  slice,
  square,
  sub,
  sum,
  type Tensor,
} from "../../core/tensor/mod.ts";
import { syntheticInput } from "../../models/checkpoint/mod.ts";
import type { LlamagenSampler } from "../../models/llamagen/config.ts";
import type { LlamagenVariant } from "../../models/llamagen/family.ts";
import { generateLlamagen, leastTemperature } from "../../models/llamagen/generate.ts";
import { Rotary, rotaryTable } from "../../models/llamagen/rotary.ts";
import type { LlamagenCondition, LlamagenState } from "../../models/llamagen/transformer.ts";
import { TokenDraw } from "../../models/sampling.ts";
import type { ParityCase } from "../case.ts";
import { inputs, type Result } from "../compute.ts";
import { fromNchw, scalePixels, take, takeNchw, testImage } from "../layout.ts";
import { gptConfig, syntheticGpt, syntheticVq, vqConfig } from "./configs.ts";

/** A table as the reference has it: [rows, headDim / 2, 2], cosine and sine of every pair. */
function tableValues(side: number, headDim: number): number[] {
  const { cos, sin } = rotaryTable(side, headDim), values: number[] = [];
  for (let i = 0; i < cos.length; i += 2) values.push(cos[i], sin[i]);
  return values;
}

/** Rotary tables alone, and what they do to given values. */
export async function* rope(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { tables, apply } = parityCase.manifest.config;
  for (const { grid, head_dim: headDim } of tables) {
    yield { tensor: `freqs_${grid}x${grid}_hd${headDim}`, values: tableValues(grid, headDim) };
  }
  const { shape } = parityCase.info("rope_input");
  const values = syntheticInput(parityCase.salt, "rope", shape);
  yield { tensor: "rope_input", values };
  const rotary = new Rotary(device, apply.grid, apply.head_dim), input = fromArray(device, values, shape);
  yield { tensor: "rope_output", values: await take(rotary.apply(input)) };
  input.dispose();
  rotary.dispose();
}

/** The tokens of test images under the case's tokenizer, [batch, N]; without one, synthetic ones. */
async function caseTokens(parityCase: ParityCase, device: Device): Promise<Int32Array> {
  const { vq, image_indices: indices } = parityCase.manifest.config;
  if (vq === undefined) {
    const { vocab_size: codes } = parityCase.manifest.config.gpt;
    const uniform = syntheticInput(parityCase.salt, "tokens_b", parityCase.info("tokens").shape);
    return Int32Array.from(uniform, (u) => Math.floor((u + 1) / 2 * codes));
  }
  const tokenizer = await syntheticVq(device, parityCase.salt, vqConfig(vq)), { imageSize: size } = tokenizer;
  const bytes = (indices as number[]).flatMap((k) => Array.from(testImage(k, size, size)));
  const tokens = scope(() => {
    const images = fromNchw(device, scalePixels(bytes, tokenizer.valueRange), [indices.length, 3, size, size]);
    return tokenizer.quantize(tokenizer.encode(images)).tokens;
  });
  tokenizer.dispose();
  return await take(tokens) as Int32Array;
}

/** Case 22. */
export async function* gpt(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { config: { gpt: sizes, labels, generation, vq }, kv_cache_length: cacheRows } = parityCase.manifest;
  const config = gptConfig(sizes), { transformer } = await syntheticGpt(device, parityCase.salt, config);
  const given = await caseTokens(parityCase, device), batch: number = labels.length;
  yield { tensor: "tokens", values: given };
  yield* inputs(parityCase, ["labels"]);
  yield { tensor: "uncond_labels", values: labels.map(() => transformer.conditionId(null)) };
  yield { tensor: "freqs_cis", values: tableValues(Math.sqrt(config.tokenCount), config.width / config.heads) };
  const tokens = fromArray(device, await parityCase.ints("tokens"), [batch, config.tokenCount]);
  for (
    const [name, condition] of Object.entries({
      cond: transformer.condition(labels),
      uncond: transformer.condition([null]),
    })
  ) {
    const logits = transformer.logits(tokens, condition);
    yield { tensor: `logprob_${name}`, values: await take(logSoftmaxGather(logits, tokens)) };
    const state = transformer.start(batch);
    const steps = stepLogits(transformer, state, condition, tokens, config.tokenCount);
    if (name === "cond") yield { tensor: "cache_k_layer0", values: await cachedKeys(state, cacheRows) };
    // The reference's last row, which predicts nothing, comes from one more step.
    const last = scope(() => {
      const row = transformer.step(state, slice(tokens, 1, config.tokenCount - 1).reshape(batch), condition);
      return concat([logits, row.reshape(batch, 1, config.codes)], 1);
    });
    yield { tensor: `kv_logits_${name}`, values: await take(steps) };
    yield { tensor: `logits_${name}`, values: await take(last) };
    for (const item of [logits, state, condition]) item.dispose();
  }
  for (const [name, settings] of Object.entries(generation as Record<string, Record<string, number>>)) {
    yield* generated(parityCase, device, { transformer }, { name, labels, settings, vq });
  }
  tokens.dispose();
  transformer.dispose();
}

/** Logits step by step with given tokens: [batch, count, codes]. */
export function stepLogits(
  transformer: LlamagenVariant["transformer"],
  state: LlamagenState,
  condition: LlamagenCondition,
  tokens: Tensor,
  count: number,
): Tensor {
  const [batch] = tokens.shape, { codes } = transformer.config;
  return scope(() =>
    concat(
      Array.from({ length: count }, (_, t) => {
        const previous = t === 0 ? null : slice(tokens, 1, t - 1, t).reshape(batch);
        return transformer.step(state, previous, condition).reshape(batch, 1, codes);
      }),
      1,
    )
  );
}

/** The keys of the first layer as the reference caches them: [batch, heads, rows, headDim], zeros at the end. */
async function cachedKeys({ caches: [{ k, length }] }: LlamagenState, rows: number): Promise<Float32Array> {
  const [batch, capacity, heads, headDim] = k.shape, values = await k.data();
  const out = new Float32Array(batch * heads * rows * headDim);
  for (let b = 0; b < batch; b++) {
    for (let row = 0; row < length; row++) {
      for (let head = 0; head < heads; head++) {
        const from = ((b * capacity + row) * heads + head) * headDim;
        out.set(values.subarray(from, from + headDim), ((b * heads + head) * rows + row) * headDim);
      }
    }
  }
  return out;
}

/** The library's sampler with the most likely token at every step, and the distributions that it took them from. */
async function* generated(
  parityCase: ParityCase,
  device: Device,
  { transformer }: Pick<LlamagenVariant, "transformer">,
  { name, labels, settings, vq }: {
    readonly name: string;
    readonly labels: readonly number[];
    readonly settings: Readonly<Record<string, number>>;
    readonly vq?: Record<string, number & number[]>;
  },
): AsyncGenerator<Result> {
  const sampler = samplerOf(settings), { codes } = transformer.config;
  const steps: Tensor[] = [];
  const tokens = await generateLlamagen(transformer, sampler, {
    ...{ labels, images: labels.map((_, b) => b), seed: 0, argmax: true },
    onStep: (logits) => steps.push(keep(distribution(device, logits.reshape(-1, codes), sampler))),
  });
  yield { tensor: `gen_${name}_tokens`, values: await tokens.ints() };
  const all = scope(() => concat(steps.map((step) => step.reshape(labels.length, 1, codes)), 1));
  yield { tensor: `gen_${name}_probs`, values: await take(all) };
  for (const step of steps) step.dispose();
  if (vq !== undefined) {
    const tokenizer = await syntheticVq(device, parityCase.salt, vqConfig(vq));
    const image = scope(() => clamp(tokenizer.decode(tokenizer.dequantize(tokens)), -1, 1));
    yield { tensor: `gen_${name}_image`, values: await takeNchw(image) };
    tokenizer.dispose();
  }
  tokens.dispose();
}

/** Settings of the official `generate` as ours. */
export function samplerOf(settings: Readonly<Record<string, number>>): LlamagenSampler {
  const { cfg_scale: guidance = 1, cfg_interval: interval = -1, temperature, top_k: topK, top_p: topP } = settings;
  return { guidance, interval, temperature, topK, topP };
}

/** The distribution that codes are drawn from, for guided logits[rows, codes]. */
export function distribution(device: Device, logits: Tensor, { temperature, topK, topP }: LlamagenSampler): Tensor {
  const codes = logits.shape[1];
  const draw = new TokenDraw(device, codes, { topK: Math.min(topK, codes), topP });
  const probabilities = scope(() => {
    const weights = draw.weights(affine(logits, 1 / Math.max(temperature, leastTemperature)));
    return div(weights, sum(weights, 1, true));
  });
  draw.dispose();
  return probabilities;
}

/** Case 28. */
export async function* likelihood(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { config } = parityCase.manifest;
  const tokenizer = await syntheticVq(device, parityCase.salt, vqConfig(config.vq));
  const { transformer } = await syntheticGpt(device, parityCase.salt, gptConfig(config.gpt));
  yield* inputs(parityCase, ["image_u8", "labels"]);
  const labels = Array.from(await parityCase.ints("labels")), batch = labels.length, { codes } = transformer.config;
  const pixels = scalePixels(await parityCase.ints("image_u8"), tokenizer.valueRange);
  const { tokens, error } = scope(() => {
    const f = tokenizer.encode(fromNchw(device, pixels, parityCase.info("image_u8").shape));
    const { tokens, fHat } = tokenizer.quantize(f);
    return { tokens, error: mean(square(sub(fHat, f)), 3) };
  });
  yield { tensor: "tokens", values: await tokens.ints() };
  yield { tensor: "quant_err", values: await take(error) };
  const logitsOf = (given: readonly (number | null)[]) =>
    scope(() => {
      const condition = transformer.condition(given), logits = transformer.logits(tokens, condition);
      condition.dispose();
      return logits.reshape(-1, codes);
    });
  const conditional = logitsOf(labels), unconditional = logitsOf([null]), difference = sub(conditional, unconditional);
  const flat = tokens.reshape(tokens.size), logProbs: Record<string, Float32Array[]> = {};
  for (const [name, logits] of Object.entries({ cond: conditional, uncond: unconditional, cfg: difference })) {
    const packed = await take(tokenStatistics(logits, flat)) as Float32Array;
    const images = Array.from({ length: batch }, (_, i) => unpackStatistics(packed, transformer.config.tokenCount, i));
    logProbs[name] = images.map((image) => Float32Array.from(image.logProbs));
    yield { tensor: `logprob_${name}`, values: images.flatMap((image) => Array.from(image.logProbs)) };
    yield { tensor: `mu_${name}`, values: images.flatMap(({ means }) => Array.from(means)) };
    yield { tensor: `sigma_${name}`, values: images.flatMap(({ variances }) => Array.from(variances)) };
    yield {
      tensor: `loss_${name}`,
      values: logProbs[name].map((values) => -values.reduce((sum, value) => sum + value, 0) / values.length),
    };
  }
  const pairs = logProbs.cond.map((c, i) => [c, logProbs.uncond[i]] as const);
  yield { tensor: "diff", values: pairs.flatMap(([c, u]) => Array.from(c, (value, t) => value - u[t])) };
  yield { tensor: "diff_mean", values: pairs.map(([c, u]) => meanDifference(c, u)) };
  yield { tensor: "icas", values: pairs.flatMap(([c, u]) => Array.from(icas(c, u))) };
  yield { tensor: "icas_mean", values: pairs.map(([c, u]) => meanIcas(c, u)) };
  for (const item of [conditional, unconditional, difference, flat, tokens, transformer, tokenizer]) item.dispose();
}
