/**
 * The result of a run: the trained encoder under the checkpoint's own names, with all that it came from in the header.
 * It has no state of the optimiser and no times, so that equal runs give equal files.
 */
import { type SafetensorsEntry, writeSafetensors } from "../models/checkpoint/mod.ts";
import { latentShapes, type LatentStatistics, latentTensors } from "../models/latent_statistics.ts";
import { type EpochRow, type Settings, writeOrExplain, type WriteTensors } from "./state.ts";
import type { Trainee } from "./trainee.ts";
import { canonicalJson } from "../util/json.ts";

/** What the header says, all of it text; `recipe` and `metrics` are JSON. */
export function encoderMetadata(settings: Settings, row: EpochRow): Record<string, string> {
  const { epoch, step, trainLoss, heldOutLoss, tokenRecovery, auc } = row;
  return {
    format: "model-tracer-encoder/1",
    family: settings.recipe.family,
    recipe: canonicalJson(settings.recipe),
    seed: String(settings.recipe.seed),
    modelSet: settings.modelSet,
    init: settings.initSha256 ?? "the model set's encoder",
    data: settings.data,
    device: settings.device,
    metrics: canonicalJson({ epoch, step, trainLoss, heldOutLoss, tokenRecovery, auc }),
  };
}

/** Writes the encoder: whole parameters, float32, in the checkpoint's order, and its statistics. `run` is named when that fails. */
export async function writeEncoder(
  path: string,
  trainee: Trainee,
  settings: Settings,
  row: EpochRow,
  run: string,
  latents: LatentStatistics | null,
  write: WriteTensors = writeSafetensors,
): Promise<void> {
  const entries = trainee.specs.map((spec): SafetensorsEntry => ({
    name: spec.name,
    shape: spec.shape,
    dtype: "f32",
    data: () => trainee.parameter(spec),
  }));
  if (latents !== null) {
    const { codebook, patchNums } = trainee.tokenizer;
    const [codes, channels] = codebook.shape;
    for (const [name, shape] of latentShapes({ codes, channels, patchNums })) {
      const values = name === latentTensors.noise ? latents.noise : latents.prior;
      entries.push({ name, shape, dtype: "f32", data: () => values });
    }
  }
  await writeOrExplain(path, entries, encoderMetadata(settings, row), `go on with --resume ${run}`, write);
}
