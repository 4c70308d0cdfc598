/** Cases 01 (MaskGIT-VQ tokenizer) and 02 (RAR transformer) at small sizes. */
import {
  add,
  affine,
  clamp,
  concat,
  type Device,
  fromArray,
  keep,
  logSoftmaxGather,
  mean,
  neg,
  scope,
  slice,
  softmax,
  square,
  sub,
  type Tensor,
} from "../../core/tensor/mod.ts";
import type { RarImageTokenizer, RarVariant } from "../../models/rar/family.ts";
import { generateRar } from "../../models/rar/generate.ts";
import { guidanceScales } from "../../models/rar/sampler.ts";
import type { RarCondition } from "../../models/rar/transformer.ts";
import { type ParityCase, siblingCase } from "../case.ts";
import { inputs, type Result } from "../compute.ts";
import { fromNchw, margins, scalePixels, squaredDistances, take, takeNchw, toNchw } from "../layout.ts";
import { rarConfig, syntheticRarTokenizer, syntheticRarVariant, tokenizerConfig } from "./configs.ts";

/** Case 01. */
export async function* maskgitVq(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const tokenizer = await syntheticRarTokenizer(
    device,
    parityCase.salt,
    tokenizerConfig(parityCase.manifest.config.tokenizer),
  );
  const pixels = await parityCase.ints("image_u8");
  yield { tensor: "image_u8", values: pixels };
  const image = scalePixels(pixels, tokenizer.valueRange);
  yield { tensor: "image", values: image };

  const f = scope(() => tokenizer.encode(fromNchw(device, image, parityCase.info("image_u8").shape)));
  const [batch, h, w, c] = f.shape;
  const { tokens, fHat } = tokenizer.quantize(f);
  yield { tensor: "f", values: await toNchw(f) };
  yield { tensor: "tokens", values: await tokens.ints() };
  yield { tensor: "quantized", values: await toNchw(fHat) };
  const rows = f.reshape(batch * h * w, c);
  yield { tensor: "distances", values: await take(squaredDistances(rows, tokenizer.codebook)) };
  yield {
    tensor: "soft_code",
    values: await take(scope(() => softmax(neg(squaredDistances(rows, tokenizer.codebook))))),
  };
  yield { tensor: "margin", values: await take(margins(rows, tokenizer.codebook)) };
  yield { tensor: "quantized_ste", values: await takeNchw(scope(() => add(f, sub(fHat, f)))) };
  const error = scope(() => square(sub(fHat, f)));
  yield { tensor: "quant_error", values: await take(mean(error, 3)) };
  yield { tensor: "vq_loss", values: await take(scope(() => affine(mean(error), 1.25))) };
  const decoded = tokenizer.decode(fHat);
  yield { tensor: "decoded_raw", values: await toNchw(decoded) };
  yield { tensor: "decoded", values: await takeNchw(clamp(decoded, 0, 1)) };
  yield { tensor: "decoded_noquant", values: await takeNchw(scope(() => clamp(tokenizer.decode(f), 0, 1))) };
  for (const tensor of [f, tokens, fHat, rows, error, decoded]) tensor.dispose();
  tokenizer.dispose();
}

/** Case 02. */
export async function* rar(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = rarConfig(parityCase.manifest.config.rar);
  const variant = await syntheticRarVariant(device, parityCase.salt, config);
  const { transformer } = variant;
  yield* inputs(parityCase, ["condition_labels", "orders"]);
  const labels = Array.from(await parityCase.ints("condition_labels"));
  yield { tensor: "condition_ids", values: labels.map((label) => transformer.conditionId(label)) };
  yield { tensor: "none_ids", values: labels.map(() => transformer.conditionId(null)) };

  const batch = labels.length, n = config.tokenCount;
  const tokens = fromArray(device, await parityCase.ints("tokens"), [batch, n]);
  const conditions = { cond: transformer.condition(labels), uncond: transformer.condition([null]) };
  for (const [name, condition] of Object.entries(conditions)) {
    const logits = transformer.logits(tokens, condition);
    yield { tensor: `logits_${name}`, values: await logits.data() };
    yield {
      tensor: `logprob_${name}`,
      values: await take(scope(() => logSoftmaxGather(slice(logits, 1, 0, n), tokens))),
    };
    logits.dispose();
    yield { tensor: `kv_logits_${name}`, values: await stepLogits(variant, condition, tokens) };
  }
  const flat = await parityCase.ints("orders");
  const orders = labels.map((_, b) => flat.slice(b * n, (b + 1) * n));
  yield { tensor: "logits_perm", values: await take(transformer.logits(tokens, conditions.cond, orders)) };
  yield { tensor: "logits_perm_uncond", values: await take(transformer.logits(tokens, conditions.uncond, orders)) };
  const host = await tokens.ints();
  yield { tensor: "labels_perm", values: orders.flatMap((order, b) => Array.from(order, (o) => host[b * n + o])) };

  const { guidance_scale: guidance, guidance_scale_pow: power } = parityCase.manifest.config.cfg;
  yield { tensor: "cfg_scale", values: guidanceScales({ guidance, power }, n) };
  const generated = await greedySample(variant, labels, { guidance, power });
  yield { tensor: "gen_tokens", values: generated.tokens };
  yield { tensor: "gen_probs", values: generated.probabilities };
  yield* withTokenizer(parityCase, device, await tokens.ints(), generated.tokens);
  for (const item of [tokens, conditions.cond, conditions.uncond, variant]) item.dispose();
}

/** Logits of every step with the given tokens fed one by one: [batch, n, codes]. */
async function stepLogits(variant: RarVariant, condition: RarCondition, tokens: Tensor): Promise<Float32Array> {
  const [batch, n] = tokens.shape;
  const state = variant.transformer.start(batch);
  const codes = variant.codes;
  const out = new Float32Array(batch * n * codes);
  for (let t = 0; t < n; t++) {
    const logits = scope(() => {
      const previous = t === 0 ? null : slice(tokens, 1, t - 1, t).reshape(batch);
      return variant.transformer.step(state, previous, condition);
    });
    const values = await take(logits);
    for (let b = 0; b < batch; b++) {
      out.set(values.subarray(b * codes, (b + 1) * codes) as Float32Array, (b * n + t) * codes);
    }
  }
  state.dispose();
  return out;
}

/**
 * The library's sampler with the most likely token taken at every step, and the distributions that it took them from.
 */
async function greedySample(
  variant: RarVariant,
  labels: readonly number[],
  guide: { guidance: number; power: number },
): Promise<{ tokens: Int32Array; probabilities: Float32Array }> {
  const steps: Tensor[] = [];
  const tokens = await generateRar(variant.transformer, { ...guide, temperature: 1 }, {
    labels,
    images: labels.map((_, b) => b),
    seed: 0,
    argmax: true,
    onStep: (logits) => steps.push(keep(softmax(logits))),
  });
  const probabilities = concat(steps, 1);
  for (const step of steps) step.dispose();
  return { tokens: await take(tokens) as Int32Array, probabilities: await take(probabilities) as Float32Array };
}

/** What needs the tokenizer of the tokenizer case with the same salt: its tokens, its errors, and the decoded image. */
async function* withTokenizer(
  parityCase: ParityCase,
  device: Device,
  givenTokens: Int32Array<ArrayBuffer>,
  generated: Int32Array,
): AsyncGenerator<Result> {
  const sibling = await siblingCase(parityCase, "tokenizer");
  if (!sibling) {
    yield { tensor: "tokens", values: givenTokens };
    return;
  }
  const tokenizer: RarImageTokenizer = await syntheticRarTokenizer(
    device,
    sibling.salt,
    tokenizerConfig(sibling.manifest.config.tokenizer),
  );
  const pixels = scalePixels(await sibling.ints("image_u8"), tokenizer.valueRange);
  const shape = sibling.info("image_u8").shape;
  const encoded = scope(() => {
    const f = tokenizer.encode(fromNchw(device, pixels, shape));
    const { tokens, fHat } = tokenizer.quantize(f);
    return { tokens, error: mean(square(sub(fHat, f)), 3) };
  });
  yield { tensor: "tokens", values: await take(encoded.tokens) };
  yield { tensor: "prada_quant_err", values: await take(encoded.error) };
  const image = scope(() => {
    const tokens = fromArray(device, Int32Array.from(generated), [
      generated.length / tokenizer.tokenCount,
      tokenizer.tokenCount,
    ]);
    return clamp(tokenizer.decode(tokenizer.dequantize(tokens)), 0, 1);
  });
  yield { tensor: "gen_image", values: await takeNchw(image) };
  tokenizer.dispose();
  sibling.close();
}
