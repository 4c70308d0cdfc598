/** The full-size cases of RAR. */
import { concat, type Device, fromArray, mean, scope, square, sub } from "../../core/tensor/mod.ts";
import { familySignals, reconstructionLoss } from "../../attribution/signals/reconstruction.ts";
import { rar } from "../../models/rar/family.ts";
import type { ParityCase } from "../case.ts";
import { inputs, type Result } from "../compute.ts";
import { firstLosses } from "../encoder.ts";
import { caseImage, logitSummaries, summaries } from "../full.ts";
import { margins, take, toNchw } from "../layout.ts";
import { rarConfig, syntheticRarFamily, syntheticRarVariant, tokenizerConfig } from "./configs.ts";

export async function* fullMaskgitVq(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const config = tokenizerConfig(parityCase.manifest.config.tokenizer);
  const family = await syntheticRarFamily(device, parityCase.salt, config);
  const f = scope(() => family.encode(caseImage(parityCase, device, family.valueRange)));
  yield { tensor: "f", values: await toNchw(f) };
  const { tokens, fHat } = family.quantize(f);
  yield { tensor: "tokens", values: await tokens.ints() };
  const rows = f.reshape(-1, config.zChannels);
  yield { tensor: "margin", values: await take(margins(rows, family.codebook)) };
  yield { tensor: "quant_error", values: await take(scope(() => mean(square(sub(fHat, f)), 3))) };
  yield* summaries(parityCase, "decoded_raw", family.decode(fHat));
  yield* summaries(parityCase, "decoded_noquant", family.decode(f));
  if (parityCase.has("signals")) {
    const images = caseImage(parityCase, device, family.valueRange);
    const all = scope(() => {
      const { quantLoss, encLoss, encLossUncalibrated, combined } = familySignals(family, images).signals;
      return concat([reconstructionLoss(family, images, fHat), quantLoss, encLoss, encLossUncalibrated, combined], 0);
    });
    yield { tensor: "signals", values: await take(all) };
    images.dispose();
  }
  for (const item of [f, tokens, fHat, rows, family]) item.dispose();
  yield* firstLosses(parityCase, device, { family: rar, config });
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
