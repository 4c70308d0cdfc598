/** The full-size cases: official configurations with synthetic weights; large results are cut or summarised. */
import {
  affine,
  argmax,
  concat,
  type Device,
  exp,
  fromArray,
  keep,
  logSoftmax,
  logSoftmaxGather,
  mean,
  mul,
  scope,
  slice,
  square,
  sub,
  sum,
  type Tensor,
} from "../core/tensor/mod.ts";
import { varTokenizer } from "../models/var/config.ts";
import { ScaleMaps } from "../attribution/quantisation/scale_maps.ts";
import { familySignals, reconstructionLoss } from "../attribution/signals/reconstruction.ts";
import type { ScaleTrace } from "../models/var/quantizer.ts";
import type { ParityCase } from "./case.ts";
import {
  rarConfig,
  syntheticRarFamily,
  syntheticRarVariant,
  syntheticVarFamily,
  syntheticVarVariant,
  tokenizerConfig,
  varConfig,
  vqvaeConfig,
} from "./configs.ts";
import { firstLosses } from "./finetune.ts";
import { inputs, type Result } from "./compute.ts";
import { blockMeans, cropByMeaning, fromNchw, scalePixels, testImage, toNchw } from "./layout.ts";
import { firstCall } from "./optquant.ts";
import { margins, take } from "./rar.ts";

/** The case's image, as the family wants it: [1, size, size, 3]. */
function caseImage(parityCase: ParityCase, device: Device, range: "[0,1]" | "[-1,1]"): Tensor {
  const { image_index: k, size } = parityCase.manifest.config;
  return fromNchw(device, scalePixels(testImage(k, size, size), range), [1, 3, size, size]);
}

/** `<name>_crop` and `<name>_pool8` of an unclamped image. */
async function* summaries(parityCase: ParityCase, name: string, image: Tensor): AsyncGenerator<Result> {
  const values = await toNchw(image);
  const [, h, w, c] = image.shape;
  image.dispose();
  const crop = `${name}_crop`, pool = `${name}_pool8`;
  if (parityCase.has(crop)) yield { tensor: crop, values: cropByMeaning(values, [c, h, w], parityCase.info(crop)) };
  if (parityCase.has(pool)) yield { tensor: pool, values: blockMeans(values, [c, h, w], 8) };
}

export async function* fullMaskgitVq(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = tokenizerConfig(parityCase.manifest.config.tokenizer);
  const family = await syntheticRarFamily(device, parityCase.salt, config);
  const f = scope(() => family.encode(caseImage(parityCase, device, "[0,1]")));
  yield { tensor: "f", values: await toNchw(f) };
  const { tokens, fHat } = family.quantize(f);
  yield { tensor: "tokens", values: await tokens.ints() };
  const rows = f.reshape(-1, config.zChannels);
  yield { tensor: "margin", values: await take(margins(rows, family.codebook)) };
  yield { tensor: "quant_error", values: await take(scope(() => mean(square(sub(fHat, f)), 3))) };
  yield* summaries(parityCase, "decoded_raw", family.decode(fHat));
  yield* summaries(parityCase, "decoded_noquant", family.decode(f));
  if (parityCase.has("signals")) {
    const images = caseImage(parityCase, device, "[0,1]");
    const all = scope(() => {
      const { quantLoss, encLoss, encLossUncalibrated, combined } = familySignals(family, images).signals;
      return concat([reconstructionLoss(family, images, fHat), quantLoss, encLoss, encLossUncalibrated, combined], 0);
    });
    yield { tensor: "signals", values: await take(all) };
    images.dispose();
  }
  for (const item of [f, tokens, fHat, rows, family]) item.dispose();
  yield* firstLosses(parityCase, device);
}

export async function* fullVqvae(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = vqvaeConfig(parityCase.manifest.config.vae);
  const family = await syntheticVarFamily(device, parityCase.salt, config);
  const f = scope(() => family.encode(caseImage(parityCase, device, "[-1,1]")));
  yield { tensor: "f", values: await toNchw(f) };
  const traces: ScaleTrace[] = [];
  const { tokens, fHat } = family.quantizer.quantize(f, (_, trace) => traces.push(keep(trace)));
  yield { tensor: "tokens", values: await tokens.ints() };
  yield { tensor: "fhat", values: await toNchw(fHat) };
  const scaleMargins: number[] = [];
  for (const [scale, trace] of traces.entries()) {
    if (parityCase.has(`fhat_scale${scale}`)) {
      yield { tensor: `fhat_scale${scale}`, values: await toNchw(trace.fHat) };
    }
    const rows = trace.residual.reshape(-1, config.zChannels);
    scaleMargins.push(...await take(margins(rows, family.codebook)));
    for (const tensor of [rows, trace.residual, trace.up, trace.phi]) tensor.dispose();
    if (trace.fHat !== fHat) trace.fHat.dispose();
  }
  yield { tensor: "margin", values: scaleMargins };
  yield { tensor: "var_input", values: await take(family.transformerInput(tokens)) };
  yield { tensor: "quant_loss_greedy", values: await take(scope(() => mean(square(sub(fHat, f))))) };
  yield* summaries(parityCase, "rec_raw", family.decode(fHat));
  yield* summaries(parityCase, "rec_noquant", family.decode(f));
  const losses = Object.keys(parityCase.manifest.tensors!).find((name) => /^optquant\d+_loss$/.test(name));
  if (losses) {
    const maps = new ScaleMaps(family);
    yield* firstCall(maps, f, tokens, parityCase.info(losses).shape[0]);
    maps.dispose();
  }
  for (const item of [f, tokens, fHat, family]) item.dispose();
  yield* firstLosses(parityCase, device);
}

/** Per-token summaries of logits[1, rows, codes] for the given tokens[1, rows]. */
async function* logitSummaries(
  parityCase: ParityCase,
  name: "cond" | "uncond",
  logits: Tensor,
  tokens: Tensor,
): AsyncGenerator<Result> {
  yield { tensor: `logprob_${name}`, values: await take(logSoftmaxGather(logits, tokens)) };
  yield { tensor: `argmax_${name}`, values: await take(argmax(logits)) };
  const entropy = scope(() => {
    const logP = logSoftmax(logits);
    return affine(sum(mul(exp(logP), logP), 2), -1);
  });
  yield { tensor: `entropy_${name}`, values: await take(entropy) };
  const slices = `logits_slice_${name}`;
  if (!parityCase.has(slices)) return;
  const rows = (parityCase.info(slices).meaning.match(/rows ([\d,]+)/)?.[1] ?? "").split(",").map(Number);
  const values: number[] = [];
  for (const row of rows) values.push(...await take(slice(logits, 1, row, row + 1)));
  yield { tensor: slices, values };
}

export async function* fullRar(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = rarConfig(parityCase.manifest.config.rar);
  const variant = await syntheticRarVariant(device, parityCase.salt, config);
  yield* inputs(parityCase, ["tokens"]);
  const tokens = fromArray(device, await parityCase.ints("tokens"), [1, config.tokenCount]);
  for (const [name, label] of [["cond", parityCase.manifest.config.label], ["uncond", null]] as const) {
    const condition = variant.condition([label]);
    const logits = variant.logits(tokens, condition);
    condition.dispose();
    yield* logitSummaries(parityCase, name, logits, tokens);
    logits.dispose();
  }
  tokens.dispose();
  variant.dispose();
}

export async function* fullVar(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { zChannels, codes } = varTokenizer;
  const config = varConfig(parityCase.manifest.config.var, { zChannels, codes });
  yield* inputs(parityCase, ["tokens"]);
  const tokens = fromArray(device, await parityCase.ints("tokens"), parityCase.info("tokens").shape);
  const family = await syntheticVarFamily(device, parityCase.salt, { ...varTokenizer, patchNums: config.patchNums });
  const input = family.transformerInput(tokens);
  family.dispose();
  const variant = await syntheticVarVariant(device, parityCase.salt, config);
  for (const [name, label] of [["cond", parityCase.manifest.config.label], ["uncond", null]] as const) {
    const condition = variant.condition([label]);
    const logits = variant.logits(input, condition);
    condition.dispose();
    yield* logitSummaries(parityCase, name, logits, tokens);
    logits.dispose();
  }
  for (const item of [tokens, input, variant]) item.dispose();
}
