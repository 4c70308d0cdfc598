/**
 * `deno task zoo <step>`: builds the embedded model zoo from photographs, step by step.
 * Parses the command line and calls zoo/; stdout has nothing but results.
 */
import { openDevice } from "../core/open_device.ts";
import { loadCrops, type PhotoCrops } from "../zoo/crops.ts";
import { tokenizerRecipes, transformerRecipes } from "../zoo/recipe.ts";
import { trainInverses, writeExamples, writeRelease, writeSets, writeSheets } from "../zoo/release.ts";
import { makeTokens, type StepOptions, trainTokenizers, trainTransformers } from "../zoo/steps.ts";
import { choice, number, parseOptions } from "./cli/args.ts";
import { writeStdout } from "./cli/progress.ts";

/** The steps in the order in which they depend on each other; each says whether it finished. */
const steps = {
  tokenizers: {
    about: "trains the tokenizers on the crops, one after the other",
    run: trainTokenizers,
  },
  tokens: {
    about: "the crops as tokens, under every tokenizer",
    run: (options: StepOptions) => makeTokens(options).then(() => true),
  },
  transformers: {
    about: "trains the transformers on the tokens, one after the other",
    run: trainTransformers,
  },
  sets: {
    about: "the networks as model sets in the working folder",
    run: writeSets,
  },
  inverse: {
    about: "fine-tunes both encoders on images that the transformers generate",
    run: (options: Options) =>
      trainInverses({
        ...options,
        families: options.models?.map((name) => choice("--model", name, ["rar", "var"] as const)),
      }),
  },
  release: {
    about: "the model set with its inverse decoders, into --out (weights/tiny)",
    run: (options: Options) => writeRelease(options, options.out ?? "weights/tiny"),
  },
  dataset: {
    about: "the small dataset, into --out (examples/Dataset)",
    run: async (options: Options) => {
      const { out = "examples/Dataset", other } = options;
      const outliers = [await options.loadCrops("outlier"), await options.loadCrops("val")];
      return await writeExamples(options, { models: options.set, other, outliers, out });
    },
  },
  sheets: {
    about: "pictures of reconstructions and samples, into --out (docs/zoo)",
    run: async (options: Options) =>
      await writeSheets(options, { heldOut: await options.loadCrops("val"), out: options.out ?? "docs/zoo" }),
  },
} as const;

interface Options extends StepOptions {
  readonly threads?: number;
  readonly out?: string;
  readonly set?: string;
  readonly other?: string;
  readonly loadCrops: (split: "train" | "val" | "outlier") => Promise<PhotoCrops>;
}

type StepName = keyof typeof steps;
const stepNames = Object.keys(steps) as StepName[];

/** Every step, into the places where their results belong. */
async function runAll(options: Options): Promise<boolean> {
  for (const name of stepNames) {
    options.log(`zoo ${name}: ${steps[name].about}`);
    if (!(await steps[name].run(options))) return false;
  }
  options.log("next: deno task calibrate --train examples/Dataset/train --val examples/Dataset/val");
  return true;
}

const usage = `Builds the tiny model zoo from photographs. Every step goes on where it was interrupted.

usage: deno task zoo STEP --photos DIR --work DIR [options]

steps:
${stepNames.map((name) => `  ${name.padEnd(14)}${steps[name].about}`).join("\n")}
  all           one after the other, without --model, --out, --set and --other

  --photos DIR      crops of photographs, as the photos step writes them
  --work DIR        folder for everything that is made on the way
  --model NAMES     only these networks, with commas, of ${
  Object.values(tokenizerRecipes).map(({ name }) => name).join(", ")
}
                    or ${transformerRecipes.map(({ name }) => name).join(", ")}; rar or var for inverse
  --out DIR         where release, dataset and sheets write
  --set DIR         the set that the dataset is drawn from (default: that of the step sets)
  --other DIR       images of the generator outside the zoo for the dataset (default: drawn from its network)
  --device NAME     auto, cpu or webgpu (default cpu: results are compared by hash)
  --threads N       CPU threads (default: all); several processes with one thread each train several models faster
  --help            this text

Exit code: 0 done, 1 usage or fatal error, 130 interrupted (run it again to go on).`;

function interruptible(): AbortSignal {
  const controller = new AbortController();
  for (const name of Deno.build.os === "windows" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => {
      if (controller.signal.aborted) Deno.exit(130);
      controller.abort();
      console.error("zoo: interrupted: the last saved state goes on (again to stop at once)");
    });
  }
  return controller.signal;
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(args, {
    photos: { type: "string" },
    work: { type: "string" },
    model: { type: "string" },
    device: { type: "string", default: "cpu" },
    threads: { type: "string" },
    out: { type: "string" },
    set: { type: "string" },
    other: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) {
    writeStdout(usage + "\n");
    return 0;
  }
  if (positionals.length !== 1) throw new Error(`expected one step, got ${positionals.length} (--help)`);
  const step = choice("step", positionals[0], [...stepNames, "all"] as const);
  const { photos, work, model } = values;
  if (step === "all") {
    for (const name of ["model", "out", "set", "other"] as const) {
      if (values[name] !== undefined) throw new Error(`--${name}: belongs to a single step, not to all`);
    }
  }
  if (photos === undefined || work === undefined) throw new Error("expected --photos DIR and --work DIR (--help)");
  const threads = values.threads === undefined
    ? undefined
    : number("--threads", values.threads, { low: 1, integer: true });
  const device = await openDevice(choice("--device", values.device, ["auto", "cpu", "webgpu"]), { threads });
  try {
    const run: (options: Options) => Promise<boolean> = step === "all" ? runAll : steps[step].run;
    const done = await run({
      device,
      work,
      threads,
      out: values.out,
      set: values.set,
      other: values.other,
      loadCrops: (split) => loadCrops(photos, split, { withoutClasses: step === "tokenizers" }),
      models: model?.split(","),
      signal: interruptible(),
      log: (line) => console.error(line),
    });
    return done ? 0 : 130;
  } finally {
    device.close();
  }
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    const lines = (error instanceof Error ? error.message : String(error)).split("\n");
    console.error(lines.map((line, i) => (i === 0 ? `zoo: ${line}` : line)).join("\n"));
    Deno.exit(1);
  }
}
