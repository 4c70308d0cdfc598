/** Cases 03 (multi-scale VQVAE) and 04 (VAR transformer) at small sizes. */
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
  scope,
  slice,
  square,
  sub,
  type Tensor,
} from "../../core/tensor/mod.ts";
import { scaleStarts } from "../../models/family.ts";
import type { VarImageTokenizer, VarVariant } from "../../models/var/family.ts";
import type { ScaleTrace } from "../../models/var/quantizer.ts";
import { generateVar } from "../../models/var/generate.ts";
import type { VarCondition } from "../../models/var/transformer.ts";
import { encoderOutput } from "../../models/var/vqvae.ts";
import { type ParityCase } from "../case.ts";
import { inputs, type Result } from "../compute.ts";
import { fromNchw, margins, scalePixels, take, takeNchw, testImage, toNchw } from "../layout.ts";
import { syntheticVarTokenizer, syntheticVarVariant, varConfig, vqvaeConfig } from "./configs.ts";

/** Case 03. */
export async function* vqvae(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = vqvaeConfig(parityCase.manifest.config.vae);
  const tokenizer = await syntheticVarTokenizer(device, parityCase.salt, config);
  const pixels = await parityCase.ints("image_u8");
  yield { tensor: "image_u8", values: pixels };
  const image = scalePixels(pixels, tokenizer.valueRange);
  yield { tensor: "image", values: image };
  const shape = parityCase.info("image_u8").shape;
  const encoded = scope(() => encoderOutput(fromNchw(device, image, shape), tokenizer.weights, config));
  yield { tensor: "encoder_out", values: await takeNchw(encoded) };
  const f = scope(() => tokenizer.encode(fromNchw(device, image, shape)));
  yield { tensor: "f", values: await toNchw(f) };

  const traces: ScaleTrace[] = [];
  const { tokens, fHat } = tokenizer.quantizer.quantize(f, (_, trace) => traces.push(keep(trace)));
  yield { tensor: "tokens", values: await tokens.ints() };
  const batch = f.shape[0];
  const cumulative: Float32Array[] = [], scaleMargins: Float32Array[] = [], errors: Float32Array[] = [];
  for (const [scale, trace] of traces.entries()) {
    yield { tensor: `rest_small_${scale}`, values: await toNchw(trace.residual) };
    yield { tensor: `up_${scale}`, values: await toNchw(trace.up) };
    yield { tensor: `phi_${scale}`, values: await toNchw(trace.phi) };
    cumulative.push(await toNchw(trace.fHat));
    const rows = trace.residual.reshape(-1, config.zChannels);
    scaleMargins.push(await take(margins(rows, tokenizer.codebook)) as Float32Array);
    errors.push(await take(scope(() => mean(square(sub(trace.fHat, f)), 3))) as Float32Array);
    for (const tensor of [rows, trace.residual, trace.up, trace.phi]) tensor.dispose();
    if (trace.fHat !== fHat) trace.fHat.dispose();
  }
  yield { tensor: "fhat", values: cumulative.flatMap((values) => Array.from(values)) };
  yield { tensor: "margin", values: joinRows(scaleMargins, batch) };
  yield { tensor: "prada_quant_err", values: joinRows(errors, batch) };
  yield* reconstructions(tokenizer, f, fHat);
  yield* fromTokens(parityCase, device, tokenizer, tokens);
  for (const tensor of [f, tokens, fHat]) tensor.dispose();
  tokenizer.dispose();
}

async function* reconstructions(tokenizer: VarImageTokenizer, f: Tensor, fHat: Tensor): AsyncGenerator<Result> {
  const raw = tokenizer.decode(fHat);
  yield { tensor: "rec_raw", values: await toNchw(raw) };
  const clamped = await takeNchw(clamp(raw, -1, 1));
  yield { tensor: "rec", values: clamped };
  yield { tensor: "prada_rec", values: clamped };
  raw.dispose();
  yield { tensor: "rec_noquant", values: await takeNchw(scope(() => clamp(tokenizer.decode(f), -1, 1))) };
}

async function* fromTokens(
  parityCase: ParityCase,
  device: Device,
  tokenizer: VarImageTokenizer,
  tokens: Tensor,
): AsyncGenerator<Result> {
  yield { tensor: "var_input", values: await take(tokenizer.transformerInput(tokens)) };
  yield { tensor: "embed_to_fhat", values: await takeNchw(tokenizer.dequantize(tokens)) };
  if (!parityCase.has("rand_tokens")) return;
  yield* inputs(parityCase, ["rand_tokens"]);
  const random = fromArray(device, await parityCase.ints("rand_tokens"), parityCase.info("rand_tokens").shape);
  yield { tensor: "rand_var_input", values: await take(tokenizer.transformerInput(random)) };
  yield {
    tensor: "rand_rec",
    values: await takeNchw(scope(() => clamp(tokenizer.decode(tokenizer.dequantize(random)), -1, 1))),
  };
  random.dispose();
}

/** Joins per-scale values [batch, count_s] along the second axis. */
function joinRows(parts: readonly Float32Array[], batch: number): number[] {
  const out: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (const part of parts) {
      const count = part.length / batch;
      for (let i = 0; i < count; i++) out.push(part[b * count + i]);
    }
  }
  return out;
}

/** Case 04. */
export async function* varTransformer(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const vqvae = vqvaeConfig(parityCase.manifest.config.vae);
  const config = varConfig(parityCase.manifest.config.var, vqvae);
  const tokenizer = await syntheticVarTokenizer(device, parityCase.salt, vqvae);
  const variant = await syntheticVarVariant(device, parityCase.salt, config);
  const { transformer } = variant;
  yield* inputs(parityCase, ["labels"]);
  const labels = Array.from(await parityCase.ints("labels"));
  const batch = labels.length;

  // The case's tokens are those of test images 0, 1, ... under its tokenizer.
  const { resolution } = vqvae;
  const pixels = labels.flatMap((_, k) => Array.from(testImage(k, resolution, resolution)));
  const imageTokens = scope(() => {
    const image = fromNchw(device, scalePixels(pixels, tokenizer.valueRange), [batch, 3, resolution, resolution]);
    return tokenizer.quantize(tokenizer.encode(image)).tokens;
  });
  yield { tensor: "tokens", values: await take(imageTokens) };
  const tokens = fromArray(device, await parityCase.ints("tokens"), parityCase.info("tokens").shape);
  const input = tokenizer.transformerInput(tokens);
  yield { tensor: "var_input", values: await input.data() };

  const conditions = { cond: transformer.condition(labels), uncond: transformer.condition([null]) };
  for (const [name, condition] of Object.entries(conditions)) {
    const logits = transformer.logits(input, condition);
    yield { tensor: `logits_${name}`, values: await logits.data() };
    yield { tensor: `logprob_${name}`, values: await take(logSoftmaxGather(logits, tokens)) };
    logits.dispose();
    yield { tensor: `kv_logits_${name}`, values: await take(stepLogits(variant, condition, input)) };
  }
  const generated = await greedySample(tokenizer, variant, labels, parityCase.manifest.config.cfg);
  yield { tensor: "gen_tokens", values: await take(generated.tokens) };
  yield { tensor: "gen_logits", values: await take(generated.logits) };
  yield { tensor: "gen_image", values: await takeNchw(generated.image) };
  for (const item of [tokens, input, conditions.cond, conditions.uncond, variant, tokenizer]) item.dispose();
}

/** Logits scale by scale, with the given input rows: [batch, rows, codes]. */
function stepLogits(variant: VarVariant, condition: VarCondition, input: Tensor): Tensor {
  const { transformer } = variant;
  const starts = scaleStarts(transformer.config.patchNums);
  const first = starts[1];
  const state = transformer.start(input.shape[0]);
  const logits = scope(() =>
    concat(
      transformer.config.patchNums.map((_, scale) => {
        const rows = scale === 0 ? null : slice(input, 1, starts[scale] - first, starts[scale + 1] - first);
        return transformer.step(state, rows, condition);
      }),
      1,
    )
  );
  state.dispose();
  return logits;
}

/** The library's sampler with the most likely token taken everywhere (top-k of 1). */
async function greedySample(
  tokenizer: VarImageTokenizer,
  variant: VarVariant,
  labels: readonly number[],
  guidance: number,
): Promise<{ tokens: Tensor; logits: Tensor; image: Tensor }> {
  const steps: Tensor[] = [];
  const { tokens, fHat } = await generateVar(
    variant.transformer,
    tokenizer.quantizer,
    { guidance, topK: 1, topP: 0 },
    {
      labels,
      images: labels.map((_, b) => b),
      seed: 0,
      argmax: true,
      onStep: (logits) => steps.push(keep(logits.alias())),
    },
  );
  const image = scope(() => affine(add(clamp(tokenizer.decode(fHat), -1, 1), fromArray(fHat.device, [1], [1])), 0.5));
  const logits = concat(steps, 1);
  for (const tensor of [fHat, ...steps]) tensor.dispose();
  return { tokens, logits, image };
}
