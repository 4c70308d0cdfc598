/** The full-size cases of RAR. */
import { concat, type Device, fromArray, mean, scope, square, sub } from "../../core/tensor/mod.ts";
import { familySignals, reconstructionLoss } from "../../attribution/signals/reconstruction.ts";
import { rar } from "../../models/rar/family.ts";
import type { ParityCase } from "../case.ts";
import { inputs, type Result } from "../compute.ts";
import { firstLosses } from "../encoder.ts";
import { caseImage, logitSummaries, summaries } from "../full.ts";
import { margins, take, toNchw } from "../layout.ts";
import { rarConfig, syntheticRarTokenizer, syntheticRarVariant, tokenizerConfig } from "./configs.ts";

/** The tokenizer of official size. */
export async function* fullMaskgitVq(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = tokenizerConfig(parityCase.manifest.config.tokenizer);
  const tokenizer = await syntheticRarTokenizer(device, parityCase.salt, config);
  const f = scope(() => tokenizer.encode(caseImage(parityCase, device, tokenizer.valueRange)));
  yield { tensor: "f", values: await toNchw(f) };
  const { tokens, fHat } = tokenizer.quantize(f);
  yield { tensor: "tokens", values: await tokens.ints() };
  const rows = f.reshape(-1, config.zChannels);
  yield { tensor: "margin", values: await take(margins(rows, tokenizer.codebook)) };
  yield { tensor: "quant_error", values: await take(scope(() => mean(square(sub(fHat, f)), 3))) };
  yield* summaries(parityCase, "decoded_raw", tokenizer.decode(fHat));
  yield* summaries(parityCase, "decoded_noquant", tokenizer.decode(f));
  if (parityCase.has("signals")) {
    const images = caseImage(parityCase, device, tokenizer.valueRange);
    const all = scope(() => {
      const { quantLoss, encLoss, encLossUncalibrated, combined } = familySignals(tokenizer, images).signals;
      return concat(
        [reconstructionLoss(tokenizer, images, fHat), quantLoss, encLoss, encLossUncalibrated, combined],
        0,
      );
    });
    yield { tensor: "signals", values: await take(all) };
    images.dispose();
  }
  for (const item of [f, tokens, fHat, rows, tokenizer]) item.dispose();
  yield* firstLosses(parityCase, device, { family: rar, config });
}

/** A transformer of official size. */
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
