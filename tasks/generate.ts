/**
 * `deno task generate --model NAME`: images of a variant, drawn with its own sampler.
 * Runs generation/generate.ts and shows it; stdout has nothing but results.
 */
import { type GenerationSummary, runGeneration, type WrittenImage } from "../generation/generate.ts";
import type { ClassChoice } from "../generation/settings.ts";
import { maxSeed } from "../models/sampling.ts";
import { group, real, type ValueType, whole } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { interruptible } from "./cli/interrupt.ts";
import { jsonLines, models, networkOptions, seed } from "./cli/options.ts";
import { duration } from "./cli/progress.ts";

const classChoice: ValueType<ClassChoice> = {
  parse(text) {
    if (text === "random") return "random";
    if (text === "none") return null;
    if (/^\d+$/.test(text)) return Number(text);
    throw new Error(`expected the number of a class, random or none, got ${text}`);
  },
};

export const command = defineCommand({
  name: "generate",
  about: "Draws images from a variant with its own sampler, each with its tokens beside it for training.",
  usage: ["--model NAME --out DIR [options]"],
  options: {
    variants: {
      name: "model",
      value: "NAME",
      required: true,
      many: true,
      help: "a variant of the model set, such as rarb, or all; of several, each has its own folder in DIR",
    },
    out: {
      value: "DIR",
      required: true,
      help: 'folder for 0.png, 1.png, ...; 0.json has {"tokens", "family", "variant", "class", "seed", "index", ' +
        '"sampler", "modelSet", "device"}',
    },
    models,
    count: { short: "n", value: "N", type: whole(1), default: "8", help: "images of each variant" },
    first: {
      value: "N",
      type: whole(0, maxSeed),
      default: "0",
      help: "number of the first image; image N of a seed is the same in every run",
    },
    class: {
      value: "ID",
      type: classChoice,
      default: "random",
      help: "a class, random (one drawn for every image), or none",
    },
    seed: { ...seed, type: whole(0, maxSeed) },
    latents: { help: "also write f_Z, the latent that the decoder gets, [channels, side, side], as 0.safetensors" },
    resume: { help: "keep the images that DIR has and draw the missing ones" },
    ...group("Sampling, where it is not to be as the variant's manifest says", {
      guidance: { value: "G", type: real(0), help: "strength of classifier-free guidance; 0 turns it off" },
      power: { value: "P", type: real(0), help: "rar: exponent of the guidance's cosine schedule; 0: none" },
      interval: {
        name: "guidance-interval",
        value: "N",
        type: whole(-1),
        help: "llamagen: tokens after number N + 1 are not guided; -1: all are",
      },
      temperature: { value: "T", type: real(0), help: "rar, llamagen: softmax temperature" },
      topK: { value: "K", type: whole(0), help: "var, llamagen: only the K most likely codes; 0: all" },
      topP: {
        value: "P",
        type: real(0),
        help: "var, llamagen: of those, the most likely that have this share of the probability; 0: all",
      },
      argmax: { help: "the most likely code everywhere, without random numbers: one image of a class is enough" },
      moreSmooth: {
        help: "var: decode mixtures of codes, VAR's more_smooth; training does not take such images as pairs",
      },
      roundBytes: { help: "round pixels to bytes, as torchvision's save_image; the official samplers truncate" },
    }),
    ...group("Where and how to compute; no image depends on it", {
      ...networkOptions,
      batch: { value: "N", type: whole(1), help: "images at a time", unset: "what fits into the memory, at most 64" },
    }),
    json: { ...jsonLines("one per image and a last one for the run"), group: "Output" },
  },
  notes: "Ctrl-C keeps the images that are written; the same command with --resume goes on.",
  exitCodes: { 130: "interrupted" },
});

/** `out/3.png  rarb  class 7`. */
function row({ path, variant, class: label }: WrittenImage): string {
  return `${path}  ${variant}  ${label === null ? "no class" : `class ${label}`}\n`;
}

function describe({ images, seconds }: GenerationSummary): string {
  const rate = seconds > 0 ? ` (${Number((images.written / seconds).toPrecision(3))} images/s)` : "";
  const kept = images.kept > 0 ? `, ${images.kept} were there` : "";
  return `${images.written} of ${images.total} images in ${duration(seconds)}${rate}${kept}`;
}

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const { json, guidance, power, interval, temperature, topK, topP, ...options } = values;
  const signal = interruptible(progress, "dropping the batch in progress");
  const sampler = { guidance, power, interval, temperature, topK, topP };
  const summary = await runGeneration({ ...options, sampler, signal }, {
    ...progress.events,
    onImage: (image) => progress.print(json ? JSON.stringify(image) + "\n" : row(image)),
  });
  if (json) progress.print(JSON.stringify(summary) + "\n");
  progress.note(`${describe(summary)}; they are in ${summary.out}`);
  if (summary.status === "done") return 0;
  progress.note("interrupted; to go on, run the same command with --resume");
  return 130;
}

if (import.meta.main) await runTask(command, main);
