/** The full-size cases of VAR. */
import { type Device, fromArray, keep, mean, scope, square, sub } from "../../core/tensor/mod.ts";
import { ScaleMaps } from "../../attribution/quantisation/scale_maps.ts";
import { varTokenizer } from "../../models/var/config.ts";
import { varFamily } from "../../models/var/family.ts";
import type { ScaleTrace } from "../../models/var/quantizer.ts";
import type { ParityCase } from "../case.ts";
import { inputs, type Result } from "../compute.ts";
import { firstLosses } from "../encoder.ts";
import { caseImage, logitSummaries, summaries } from "../full.ts";
import { margins, take, toNchw } from "../layout.ts";
import { firstCall } from "./optquant.ts";
import { syntheticVarTokenizer, syntheticVarVariant, varConfig, vqvaeConfig } from "./configs.ts";

/** The tokenizer of official size. */
export async function* fullVqvae(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = vqvaeConfig(parityCase.manifest.config.vae);
  const tokenizer = await syntheticVarTokenizer(device, parityCase.salt, config);
  const f = scope(() => tokenizer.encode(caseImage(parityCase, device, tokenizer.valueRange)));
  yield { tensor: "f", values: await toNchw(f) };
  const traces: ScaleTrace[] = [];
  const { tokens, fHat } = tokenizer.quantizer.quantize(f, (_, trace) => traces.push(keep(trace)));
  yield { tensor: "tokens", values: await tokens.ints() };
  yield { tensor: "fhat", values: await toNchw(fHat) };
  const scaleMargins: number[] = [];
  for (const [scale, trace] of traces.entries()) {
    if (parityCase.has(`fhat_scale${scale}`)) {
      yield { tensor: `fhat_scale${scale}`, values: await toNchw(trace.fHat) };
    }
    const rows = trace.residual.reshape(-1, config.zChannels);
    scaleMargins.push(...await take(margins(rows, tokenizer.codebook)));
    for (const tensor of [rows, trace.residual, trace.up, trace.phi]) tensor.dispose();
    if (trace.fHat !== fHat) trace.fHat.dispose();
  }
  yield { tensor: "margin", values: scaleMargins };
  yield { tensor: "var_input", values: await take(tokenizer.transformerInput(tokens)) };
  yield { tensor: "quant_loss_greedy", values: await take(scope(() => mean(square(sub(fHat, f))))) };
  yield* summaries(parityCase, "rec_raw", tokenizer.decode(fHat));
  yield* summaries(parityCase, "rec_noquant", tokenizer.decode(f));
  const losses = Object.keys(parityCase.manifest.tensors!).find((name) => /^optquant\d+_loss$/.test(name));
  if (losses) {
    const maps = new ScaleMaps(tokenizer);
    yield* firstCall(maps, f, tokens, parityCase.info(losses).shape[0]);
    maps.dispose();
  }
  for (const item of [f, tokens, fHat, tokenizer]) item.dispose();
  yield* firstLosses(parityCase, device, { family: varFamily, config });
}

/** A transformer of official size. */
export async function* fullVar(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { zChannels, codes } = varTokenizer;
  const config = varConfig(parityCase.manifest.config.var, { zChannels, codes });
  yield* inputs(parityCase, ["tokens"]);
  const tokens = fromArray(device, await parityCase.ints("tokens"), parityCase.info("tokens").shape);
  const tokenizer = await syntheticVarTokenizer(device, parityCase.salt, {
    ...varTokenizer,
    patchNums: config.patchNums,
  });
  const input = tokenizer.transformerInput(tokens);
  tokenizer.dispose();
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
