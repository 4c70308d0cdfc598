/** The full-size cases of LlamaGen. */
import {
  concat,
  type Device,
  fromArray,
  gradientNorm,
  l2Normalize,
  mean,
  scope,
  slice,
  square,
  sub,
} from "../../core/tensor/mod.ts";
import { familySignals, reconstructionLoss } from "../../attribution/signals/reconstruction.ts";
import { llamagen } from "../../models/llamagen/family.ts";
import { encoderOutput, project } from "../../models/llamagen/tokenizer.ts";
import type { ParityCase } from "../case.ts";
import { inputs, type Result } from "../compute.ts";
import { encoderImages, firstLosses, greedyTarget, lossAndGradients, openEncoder } from "../encoder.ts";
import { caseImage, logitSummaries, summaries } from "../full.ts";
import { margins, take, takeNchw, toNchw } from "../layout.ts";
import { gptConfig, syntheticGpt, syntheticVq, vqConfig } from "./configs.ts";
import { stepLogits } from "./transformer.ts";

/** The tokenizer of official size. */
export async function* fullVq(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = vqConfig(parityCase.manifest.config.vq), every = 16;
  const tokenizer = await syntheticVq(device, parityCase.salt, config), { weights, valueRange } = tokenizer;
  const images = caseImage(parityCase, device, valueRange);
  const z = scope(() => encoderOutput(images, weights, config));
  const planes = await toNchw(z), size = planes.length / config.zChannels;
  yield {
    tensor: "z_crop",
    values: Array.from(
      { length: config.zChannels / every },
      (_, i) => Array.from(planes.subarray(i * every * size, (i * every + 1) * size)),
    ).flat(),
  };
  const h = scope(() => project(z, weights)), f = scope(() => l2Normalize(h));
  yield { tensor: "h", values: await takeNchw(h) };
  yield { tensor: "f", values: await toNchw(f) };
  const { tokens, fHat } = tokenizer.quantize(f), rows = f.reshape(-1, config.codeChannels);
  yield { tensor: "tokens", values: await tokens.ints() };
  yield { tensor: "margin", values: await take(margins(rows, tokenizer.codebook)) };
  yield { tensor: "quant_error", values: await take(scope(() => mean(square(sub(fHat, f)), 3))) };
  yield* summaries(parityCase, "decoded_raw", tokenizer.decode(fHat));
  yield* summaries(parityCase, "decoded_noquant", tokenizer.decode(f));
  const all = scope(() => {
    const { quantLoss, encLoss, encLossUncalibrated, combined } = familySignals(tokenizer, images).signals;
    return concat([reconstructionLoss(tokenizer, images, fHat), quantLoss, encLoss, encLossUncalibrated, combined], 0);
  });
  yield { tensor: "signals", values: await take(all) };
  for (const item of [images, z, f, tokens, fHat, rows, tokenizer]) item.dispose();
  const choice = { family: llamagen, config };
  const encoder = await openEncoder(parityCase, device, choice);
  const x = encoderImages(encoder, device, [parityCase.manifest.config.image_index]), target = greedyTarget(encoder, x);
  const { prediction, gradients } = await lossAndGradients(encoder, x, target);
  yield { tensor: "finetune_grad_norm", values: await take(gradientNorm(gradients.values())) };
  for (const item of [x, target, prediction, ...gradients.values(), encoder.tokenizer]) item?.dispose();
  yield* firstLosses(parityCase, device, choice);
}

/** A transformer of official size. */
export async function* fullGpt(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = gptConfig(parityCase.manifest.config.gpt), { label } = parityCase.manifest.config;
  const variant = await syntheticGpt(device, parityCase.salt, config), { transformer } = variant;
  yield* inputs(parityCase, ["tokens"]);
  const tokens = fromArray(device, await parityCase.ints("tokens"), [1, config.tokenCount]);
  for (const [name, given] of [["cond", label], ["uncond", null]] as const) {
    const condition = variant.condition([given]), logits = variant.logits(tokens, condition);
    condition.dispose();
    yield* logitSummaries(parityCase, name, logits, tokens);
    logits.dispose();
  }
  const [steps, columns] = parityCase.info("kv_logits_first").shape, every = config.codes / columns;
  const condition = variant.condition([label]), state = transformer.start(1);
  const first = scope(() =>
    slice(stepLogits(transformer, state, condition, tokens, steps).reshape(steps, columns, every), 2, 0, 1)
  );
  yield { tensor: "kv_logits_first", values: await take(first) };
  for (const item of [condition, state, tokens, variant]) item.dispose();
}
