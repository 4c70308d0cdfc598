/**
 * The result of a run: the trained encoder under the names of the checkpoint, with its origin in the header. The file
 * has no state of the optimiser and no times, so that equal runs give equal files.
 */
import { type SafetensorsEntry, writeSafetensors } from "../models/checkpoint/mod.ts";
import { latentShapes, type LatentStatistics, latentTensors } from "../models/latent_statistics.ts";
import { type EpochRow, type Settings, writeOrExplain, type WriteTensors } from "./state.ts";
import type { Trainee } from "./trainee.ts";
import { canonicalJson } from "../util/json.ts";

/** The header. All values are text; `recipe` and `metrics` are JSON. */
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

/** What an encoder file contains beside the parameters. */
export interface EncoderOrigin {
  readonly settings: Settings;
  /** The epoch of the parameters. */
  readonly row: EpochRow;
  /** Folder of the run, for messages. */
  readonly run: string;
  /** Statistics of the encoder's errors, if the family has any. */
  readonly latents: LatentStatistics | null;
}

/**
 * Writes the encoder: parameters in float32, in the order of the checkpoint, and its latent statistics. Throws, with
 * advice, when the file cannot be written.
 */
export async function writeEncoder(
  path: string,
  trainee: Trainee,
  { settings, row, run, latents }: EncoderOrigin,
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
