/**
 * `deno task zoo <step>`: builds a set of stand-ins from photographs, step by step.
 * The steps are zoo/'s; stdout has nothing but results.
 */
import { openDevice } from "../core/open_device.ts";
import { anyText, choice, listOf, whole } from "../util/options.ts";
import { loadCrops, type PhotoCrops } from "../zoo/crops.ts";
import type { ZooRecipe } from "../zoo/recipe.ts";
import { tokenizersOf, transformersOf, zooRecipeNames, zooRecipes } from "../zoo/recipes.ts";
import { keepOutsiders, trainInverses, writeExamples, writeRelease, writeSets, writeSheets } from "../zoo/release.ts";
import { makeTokens, type StepOptions, trainTokenizers, trainTransformers } from "../zoo/steps.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { interruptible } from "./cli/interrupt.ts";
import { deviceOptions } from "./cli/options.ts";

/** The steps in the order in which they depend on each other; each says whether it finished. */
const steps = {
  tokenizers: { about: "trains the tokenizers on the crops, one after the other", run: trainTokenizers },
  tokens: {
    about: "the crops as tokens, under every tokenizer",
    run: (options: StepOptions) => makeTokens(options).then(() => true),
  },
  transformers: { about: "trains the transformers on the tokens, one after the other", run: trainTransformers },
  sets: { about: "the networks as model sets in the working folder", run: writeSets },
  inverse: {
    about: "fine-tunes the encoders on images that the transformers generate",
    run: (options: Options) => {
      const familyName = choice(Object.keys(options.recipe.families));
      return trainInverses({ ...options, families: options.models?.map((name) => familyName.parse(name)) });
    },
  },
  release: {
    about: "the model set with its inverse decoders, into --out (weights/<recipe>; tiny3: weights/tiny)",
    run: ({ recipe, out = `weights/${(recipe.beside ?? recipe).name}`, ...options }: Options) =>
      writeRelease({ ...options, recipe }, out),
  },
  outside: {
    about:
      "the generators outside the set, into --out (where the recipe keeps them), for datasets drawn without training",
    run: async (options: Options) => {
      const { outside: { kept }, name } = options.recipe;
      if (kept === undefined) throw new Error(`zoo outside: the recipe ${name} keeps no generators outside of its set`);
      return await keepOutsiders(options, options.out ?? kept);
    },
  },
  dataset: {
    about: "images of all labels, into --out (tiny: examples/Dataset; what tiny3 adds: examples/Dataset3)",
    run: async (options: Options) => {
      const { recipe, set, keep, seed, each = 30, outliers = 60 } = options;
      const out = options.out ?? datasetFolders.get(recipe);
      const draw = seed === undefined ? undefined : { seed, each, outliers };
      if (out === undefined) throw new Error(`zoo dataset: expected --out for the images of ${recipe.name}`);
      if (draw !== undefined && options.out === undefined) {
        throw new Error("--seed: expected --out for the set drawn anew");
      }
      const unseen = [await options.loadCrops("outlier"), await options.loadCrops("val")];
      const train = await options.loadCrops("train");
      return await writeExamples(options, { models: set, unseen, train, out, keep, draw });
    },
  },
  sheets: {
    about: "pictures of reconstructions and samples of the recipe tiny, into --out (docs/zoo)",
    run: async (options: Options) => {
      onlyTiny(options, "sheets");
      return await writeSheets(options, { heldOut: await options.loadCrops("val"), out: options.out ?? "docs/zoo" });
    },
  },
} as const;

interface Options extends StepOptions {
  readonly threads?: number;
  readonly out?: string;
  readonly set?: string;
  readonly keep?: boolean;
  readonly seed?: number;
  readonly each?: number;
  readonly outliers?: number;
  readonly loadCrops: (split: "train" | "val" | "outlier") => Promise<PhotoCrops>;
}

/** Where the datasets go that are kept in this repository. */
const datasetFolders: ReadonlyMap<ZooRecipe, string> = new Map([
  [zooRecipes.tiny, "examples/Dataset"],
  [zooRecipes.tiny3, "examples/Dataset3"],
]);

type StepName = keyof typeof steps;
const stepNames = Object.keys(steps) as StepName[];

/** Throws for a recipe that lacks a step. */
function onlyTiny({ recipe }: Options, step: StepName): void {
  if (recipe !== zooRecipes.tiny) throw new Error(`zoo ${step}: only the recipe tiny has it, got ${recipe.name}`);
}

/** Every step, into the places where their results belong. */
async function runAll(options: Options): Promise<boolean> {
  if (options.recipe !== zooRecipes.tiny) {
    throw new Error(`zoo all: belongs to the recipe tiny, got ${options.recipe.name}: run its steps one by one`);
  }
  for (const name of stepNames) {
    options.log(`zoo ${name}: ${steps[name].about}`);
    if (!(await steps[name].run(options))) return false;
  }
  options.log("next: deno task calibrate --train examples/Dataset/train --val examples/Dataset/val");
  return true;
}

const namesOf = (name: typeof zooRecipeNames[number]) =>
  [...Object.values(tokenizersOf(zooRecipes[name])), ...transformersOf(zooRecipes[name])].map(({ name }) => name);

export const command = defineCommand({
  name: "zoo",
  about: "Builds a set of stand-ins from photographs. Every step goes on where it was interrupted.",
  usage: ["STEP --photos DIR --work DIR [options]"],
  actions: {
    ...Object.fromEntries(stepNames.map((name) => [name, steps[name].about])),
    all: "one after the other, without the options of single steps",
  },
  options: {
    recipe: {
      value: "NAME",
      type: choice(zooRecipeNames),
      default: "tiny",
      help: "tiny: the embedded set; matched: the official token structure, and tokens as hard to find",
    },
    photos: { value: "DIR", required: true, help: "the recipe's crops, as deno task zoo-photos writes them" },
    work: { value: "DIR", required: true, help: "folder for everything that is made on the way" },
    model: {
      value: "NAMES",
      type: listOf(anyText),
      help: `only these networks: ${
        zooRecipeNames.map((name) => `${namesOf(name).join(", ")} (${name})`).join("; ")
      }; ` +
        "families for inverse; for sets and release, the transformers of a set of some",
    },
    out: { value: "DIR", help: "where release, outside, dataset and sheets write" },
    set: {
      value: "DIR",
      help: "the set that the dataset is drawn from",
      unset: "that of the step sets, else the embedded one",
    },
    keep: { help: "dataset: files that are in --out stay what they are, and missing ones are added" },
    seed: {
      value: "N",
      type: whole(0),
      help: "dataset: in its place, a set for measurements is drawn anew with this seed, into --out",
    },
    each: { value: "N", type: whole(1), help: "images of each variant in a set drawn anew", unset: "30" },
    outliers: { value: "N", type: whole(1), help: "images of each source of outliers in it", unset: "60" },
    device: {
      ...deviceOptions.device,
      default: "cpu",
      help: "where to compute; results are compared by hash, which the processor's are",
    },
    threads: {
      ...deviceOptions.threads,
      help: "threads of the processor; several processes with one each train several models faster",
    },
  },
  exitCodes: { 130: "interrupted (run it again to go on)" },
});

async function main({ values, operands, progress }: Input<typeof command.options>): Promise<number> {
  if (operands.length !== 1) throw new Error(`expected one step, got ${operands.length} (--help)`);
  const step = operands[0] as StepName | "all";
  if (step === "all") {
    for (const name of ["model", "out", "set", "keep", "seed", "each", "outliers"] as const) {
      if (values[name] !== undefined && values[name] !== false) {
        throw new Error(`--${name}: belongs to a single step, not to all`);
      }
    }
  }
  const { photos, model, device: deviceName, ...options } = values;
  const recipe = zooRecipes[values.recipe];
  const device = await openDevice(deviceName, { threads: options.threads });
  try {
    const run: (options: Options) => Promise<boolean> = step === "all" ? runAll : steps[step].run;
    const done = await run({
      ...options,
      recipe,
      device,
      loadCrops: (split) => loadCrops(photos, split, { side: recipe.side, withoutClasses: step === "tokenizers" }),
      models: model,
      signal: interruptible(progress, "the last saved state goes on"),
      log: (line) => progress.line(line),
    });
    return done ? 0 : 130;
  } finally {
    device.close();
  }
}

if (import.meta.main) await runTask(command, main);
