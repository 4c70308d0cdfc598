/**
 * `deno task train --family NAME`: fine-tunes a family's encoder into the inverse of its decoder.
 * Runs training/run_training.ts and shows it; stdout has nothing but results.
 */
import { officialRecipe, optimizers, schedules } from "../training/recipe.ts";
import { runTraining, type TrainingJobOptions } from "../training/run_training.ts";
import { familyNames } from "../models/registry.ts";
import type { EpochRow } from "../training/state.ts";
import { anyText, choice, group, listOf, real, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { datasetPart } from "./cli/dataset.ts";
import { DurationNote } from "./cli/duration_note.ts";
import { interruptible } from "./cli/interrupt.ts";
import { deviceOptions, jsonLines, models, networkOptions } from "./cli/options.ts";
import type { Progress } from "./cli/progress.ts";

/** A field of the official recipes: `50 for rar, 10 for var`. */
function perFamily(field: "epochs" | "batch" | "lr"): string {
  return familyNames.map((family) => `${officialRecipe(family)[field]} for ${family}`).join(", ");
}

const common = officialRecipe(familyNames[0]);
const families = familyNames.join("|");

/** Pairs that are drawn when no data is named. */
const usualSample = 500;

export const command = defineCommand({
  name: "train",
  about: "Fine-tunes the encoder of a family on the family's own images, so that it gives back the latent that the " +
    "decoder got; decoder and codebook stay as they are.",
  usage: [
    `--family ${families} [options]`,
    `--family ${families} --pairs DIR [options]`,
    `--family ${families} --data Dataset/train [options]`,
    `--family ${families} --sample N [options]`,
    "--resume RUN",
  ],
  options: {
    family: { value: "NAME", type: choice(familyNames), help: "whose encoder is trained" },
    pairs: {
      value: "DIR",
      many: true,
      help:
        "generated images, in all folders below, each with its tokens beside it, as deno task generate writes them: " +
        '7.json for 7.png has {"tokens": [...], "family"?, "variant"?, "class"?, "seed"?}; images of other ' +
        "families are used for the AUC",
    },
    data: {
      value: "DIR",
      many: true,
      help:
        "folders of plain images named after their labels; their targets are the tokens that the encoder gives them, " +
        "chosen anew every epoch; labels of other families are used for the AUC; also together with --pairs",
    },
    sample: {
      value: "N",
      type: whole(1),
      help:
        "N pairs drawn from the family's transformers as they are needed, and some images of another family's for " +
        "the AUC; kept in memory while there is room",
    },
    variants: {
      value: "LIST",
      type: listOf(anyText),
      help: "--sample: draw from these, such as rarb,rarl",
      unset: "all",
    },
    memoryBytes: { ...networkOptions.memoryBytes, help: "--sample: memory for the networks that draw" },
    weightType: {
      ...networkOptions.weightType,
      help: "--sample: precision of the transformers that draw; f16 takes half the memory of f32",
    },
    models,
    init: { value: "FILE", help: "start from this trained encoder instead of the set's own" },
    limit: { value: "N", type: whole(1), help: "only N images of the family, evenly spaced" },
    holdout: {
      value: "SHARE",
      type: real(0),
      help: "share of the images to evaluate on, not trained on",
      unset: `${common.holdout}`,
    },
    run: { value: "DIR", help: "folder for the state, log.csv and best.safetensors", unset: "runs/NAME of the family" },
    out: { value: "FILE", help: "the trained encoder", unset: "encoder.safetensors in the folder of the run" },
    force: { help: "replace a file at --out; a run replaces its own without" },
    resume: { value: "DIR", help: "go on with a run; everything else is taken from it" },
    saveSeconds: {
      name: "save-every",
      value: "SECONDS",
      type: real(0),
      help: "also save within an epoch",
      unset: "600",
    },
    ...group("Recipe", {
      epochs: {
        value: "N",
        type: whole(1),
        help: "times that every image is trained on",
        unset: perFamily("epochs"),
      },
      batch: {
        value: "N",
        type: whole(1),
        help: "images per step",
        unset: perFamily("batch"),
      },
      lr: { value: "RATE", type: real(0), help: "learning rate", unset: perFamily("lr") },
      optimizer: { value: "NAME", type: choice(optimizers), help: "how steps are taken", unset: "adam" },
      weightDecay: { value: "W", type: real(0), help: "for adamw and adam-l2", unset: "0.01" },
      clip: { value: "NORM", type: real(0), help: "largest norm of all gradients together", unset: "0: off" },
      schedule: { value: "NAME", type: choice(schedules), help: "how the rate falls", unset: "steplr" },
      gamma: {
        value: "G",
        type: real(0),
        help: "steplr: each step multiplies the rate by this",
        unset: `${common.gamma}`,
      },
      stepSize: { value: "N", type: whole(1), help: "steplr: epochs between two steps", unset: `${common.stepSize}` },
      imageLoss: {
        value: "W",
        type: real(0),
        help: "add W times the squared error of the decoded prediction to the loss",
        unset: "0",
      },
      augment: { help: "post-processing of growing strength, in half of the steps" },
      ladder: { help: "in place of it: half of the images are processed, each by itself, as calibrate does" },
      checkpointing: { help: "recompute activations on the way back: less memory, more time, the same result" },
      seed: { value: "N", type: whole(0), help: "of all random numbers", unset: "0" },
    }),
    ...group("Where to compute", {
      ...deviceOptions,
      device: { ...deviceOptions.device, default: undefined, unset: "auto" },
    }),
    json: { ...jsonLines("one per epoch and a last one for the run"), group: "Output" },
  },
  notes: "Without --pairs, --data and --sample, images of Dataset/train in the working folder are used. Without that " +
    `folder, ${usualSample} pairs are drawn from the transformers of the family, or as many as --limit says.\n` +
    "Ctrl-C saves the run; --resume goes on bit for bit.",
  exitCodes: { 130: "interrupted" },
});

/** `epoch  3  loss 0.01234  held-out 0.02345  tokens 56.1 %  AUC 0.987`. */
function describeRow({ epoch, trainLoss, heldOutLoss, tokenRecovery, auc, lr, imagesPerSecond }: EpochRow): string {
  const cell = (name: string, value: number | null, format: (value: number) => string) =>
    value === null ? "" : `  ${name} ${format(value)}`;
  const short = (value: number) => value.toPrecision(4);
  return `epoch ${String(epoch).padStart(3)}${cell("loss", trainLoss, short)}${cell("held-out", heldOutLoss, short)}` +
    cell("tokens", tokenRecovery, (value) => `${(100 * value).toFixed(1)} %`) +
    cell("AUC", auc, (value) => value.toFixed(3)) +
    cell("rate", trainLoss === null ? null : lr, (value) => String(Number(value.toPrecision(6)))) +
    cell("images/s", imagesPerSecond, (value) => value.toPrecision(3)) + "\n";
}

type Data = Pick<TrainingJobOptions, "pairs" | "data" | "sample" | "limit">;

/** The data of a new run: what the options name, else Dataset/train, else pairs that are drawn. Notes the choice. */
async function chooseData(named: Data & { readonly family: string }, progress: Progress): Promise<Data> {
  const { family, pairs, data, sample, limit } = named;
  if (pairs !== undefined || data !== undefined || sample?.count !== undefined) return named;
  const drawsAsked = Object.values(sample ?? {}).some((value) => value !== undefined);
  const folder = drawsAsked ? undefined : await datasetPart("train");
  if (folder !== undefined) {
    progress.note(`no data was named: training on the images in ${folder} (--data ${folder})`);
    return { data: [folder], limit };
  }
  const count = limit ?? usualSample;
  progress.note(
    `no data was named${drawsAsked ? "" : " and there is no folder Dataset/train"}: drawing ${count} pairs from the ` +
      `transformers of ${family} (--sample ${count})`,
  );
  return { sample: { ...sample, count } };
}

/** A switch that is not given leaves a resumed run as it was. */
const on = (isGiven: boolean) => isGiven || undefined;

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const { json, family, resume, sample, variants, memoryBytes, weightType, ...options } = values;
  const { models, pairs, data, init, limit, run, out, force, saveSeconds, device, threads, ...recipe } = options;
  if (resume !== undefined && run !== undefined) throw new Error("--resume and --run: expected one of them");
  if (family === undefined && resume === undefined) {
    throw new Error(`--family: expected ${familyNames.join(" or ")} (--help)`);
  }
  const named = { pairs, data, limit, sample: { count: sample, variants, memoryBytes, weightType } };
  const chosen = resume === undefined ? await chooseData({ ...named, family: family! }, progress) : named;
  const durationNote = new DurationNote((text) => progress.note(text));
  let before = 0;
  const summary = await runTraining({
    ...{ family, resume, models, init, run, out, force, saveSeconds, device, threads },
    ...chosen,
    recipe: {
      ...recipe,
      augment: on(recipe.augment),
      ladder: on(recipe.ladder),
      checkpointing: on(recipe.checkpointing),
    },
    signal: interruptible(progress, "finishing the step and saving"),
  }, {
    ...progress.events,
    onStart: (total, done) => {
      before = done;
      progress.start(total - done);
      durationNote.start(total - done);
    },
    onProgress: (images) => {
      progress.update(images - before);
      durationNote.update(images - before);
    },
    onEpoch: (row) => progress.print(json ? JSON.stringify(row) + "\n" : describeRow(row)),
  });
  if (json) progress.print(JSON.stringify(summary) + "\n");
  if (summary.status === "interrupted") {
    progress.note(`interrupted and saved; to go on: deno task train --resume ${summary.run}`);
    return 130;
  }
  const best = summary.best === null
    ? ""
    : `; lowest held-out loss ${summary.best.heldOutLoss.toPrecision(4)} after epoch ${summary.best.epoch}`;
  progress.note(`done; ${summary.out} has the encoder${best}`);
  return 0;
}

if (import.meta.main) await runTask(command, main);
