/**
 * The last steps of building the zoo: inverse decoders, the embedded set, the small dataset and the picture sheets.
 * They run the same code as the tasks `generate` and `train`.
 */
import { dirname, join } from "node:path";
import { runGeneration } from "../generation/generate.ts";
import { decodeImage } from "../attribution/images/decode.ts";
import { runTraining } from "../training/run_training.ts";
import type { Recipe } from "../training/recipe.ts";
import type { Device } from "../core/tensor/mod.ts";
import type { FamilyName } from "../models/family.ts";
import type { PhotoCrops } from "./crops.ts";
import { writeDataset } from "./dataset.ts";
import { loadTokenizer, places } from "./places.ts";
import { tokenizerRecipes, transformerRecipes } from "./recipe.ts";
import { writeSet } from "./set.ts";
import { reconstructions, sheet, spread } from "./sheet.ts";

/** Pairs for the inverse decoders: images of each variant, and their seed. */
export const pairRecipe = { each: 600, seed: 14 } as const;

/** What differs from the official recipes: the sets are smaller, and so are the networks. */
export const inverseRecipes: Readonly<Record<FamilyName, Partial<Recipe>>> = {
  rar: { epochs: 50, batch: 16, lr: 1e-3 },
  var: { epochs: 20, batch: 16, lr: 1e-3 },
};

const description =
  "Small networks of the official architectures, trained on 64x64 crops of free photographs: stand-ins " +
  "for the pipeline, not the official models.";

export interface ReleaseOptions {
  readonly device: Device;
  readonly work: string;
  readonly threads?: number;
  readonly families?: readonly FamilyName[];
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

const inverseFile = (work: string, family: FamilyName) =>
  join(places(work).run(`inverse_${family}`), "encoder.safetensors");
const setFolder = (work: string) => join(work, "set");
const otherFolder = (work: string) => join(work, "other");

/** The networks as two model sets in the working folder: the zoo without inverse decoders, and the generator outside of it. */
export async function writeSets({ work, log }: ReleaseOptions): Promise<boolean> {
  const { hash } = await writeSet(setFolder(work), parts(work, "tiny"));
  log(`set ${hash.slice(0, 12)} without inverse decoders`);
  const at = places(work);
  if (!await Deno.stat(at.network("other")).then(() => true, () => false)) {
    log("no set of the generator outside the zoo, which is not trained (dataset takes its images from --other)");
    return true;
  }
  const variants = transformerRecipes.filter(({ name }) => name === "other" || name === "var16");
  await writeSet(otherFolder(work), {
    name: "other",
    description: "A generator outside the zoo; its VAR part is the zoo's and only there because a set needs one.",
    tokenizers: [tokenizerRecipes.other, tokenizerRecipes.var].map((recipe) => ({
      recipe,
      path: at.network(recipe.name),
    })),
    variants: variants.map((recipe) => ({ recipe, path: at.network(recipe.name) })),
  });
  return true;
}

/** Generates pairs of all variants of each family and fine-tunes its encoder on them. */
export async function trainInverses({ work, threads, families, signal, log }: ReleaseOptions): Promise<boolean> {
  for (const family of families ?? ["rar", "var"] as const) {
    const variants = transformerRecipes.filter(({ network, name }) => network.kind === family && name !== "other");
    const pairs = join(work, "pairs", family);
    const generation = await runGeneration({
      models: setFolder(work),
      variants: variants.map(({ name }) => name),
      count: pairRecipe.each,
      seed: pairRecipe.seed,
      out: pairs,
      resume: true,
      device: "cpu",
      threads,
      signal,
    }, { onPrepare: (text) => log(`${family}: ${text}`) });
    if (generation.status !== "done") return false;
    const run = places(work).run(`inverse_${family}`);
    const started = await Deno.stat(run).then(() => true, () => false);
    await Deno.mkdir(dirname(run), { recursive: true });
    const summary = await runTraining(
      started ? { resume: run, threads, signal } : {
        family,
        models: setFolder(work),
        pairs: [pairs],
        recipe: inverseRecipes[family],
        run,
        out: inverseFile(work, family),
        device: "cpu",
        threads,
        signal,
      },
      {
        onEpoch: ({ epoch, heldOutLoss, tokenRecovery }) =>
          log(
            `inverse ${family}: epoch ${epoch}, held-out loss ${heldOutLoss?.toPrecision(4)}, tokens ${tokenRecovery}`,
          ),
      },
    );
    if (summary.status !== "done") return false;
  }
  return true;
}

/** Writes the set with its inverse decoders into `out`. */
export async function writeRelease({ work, log }: ReleaseOptions, out: string): Promise<boolean> {
  const encoders = { rar: inverseFile(work, "rar"), var: inverseFile(work, "var") };
  const { hash } = await writeSet(out, { ...parts(work, "tiny"), encoders });
  log(`${out}: set ${hash.slice(0, 12)}; calibrate it next`);
  return true;
}

/** Writes the small dataset into `out`, drawn from the zoo's set or another (inverse decoders do not matter for it). */
export async function writeExamples(
  { work, threads, log }: ReleaseOptions,
  { models = setFolder(work), other, outliers, out }: {
    readonly models?: string;
    /** Folder with images of the generator outside the zoo; they are drawn when not given. */
    readonly other?: string;
    readonly outliers: readonly PhotoCrops[];
    readonly out: string;
  },
): Promise<boolean> {
  await writeDataset({
    models,
    other: other === undefined ? { models: otherFolder(work) } : { images: other },
    outliers,
    out,
    work,
    threads,
    log,
  });
  return true;
}

/** Writes the picture sheets into `out`: photographs with their reconstructions, and samples, a row each. */
export async function writeSheets(
  { device, work }: ReleaseOptions,
  { heldOut, out }: { readonly heldOut: PhotoCrops; readonly out: string },
): Promise<boolean> {
  await Deno.mkdir(out, { recursive: true });
  const originals = spread(heldOut, 12);
  const rows = [originals];
  for (const recipe of [tokenizerRecipes.rar, tokenizerRecipes.var]) {
    const family = await loadTokenizer(device, recipe, places(work).network(recipe.name));
    try {
      rows.push(await reconstructions(device, family, originals));
    } finally {
      family.dispose();
    }
  }
  await Deno.writeFile(join(out, "reconstructions.png"), sheet(rows));
  const samples = transformerRecipes.map(async ({ name }) => {
    const dir = name === "other" ? join(work, "dataset", "other") : join(work, "dataset", "test", name);
    return await Promise.all(
      Array.from({ length: 12 }, async (_, i) => await decodeImage(await Deno.readFile(join(dir, `${i}.png`)))),
    );
  });
  await Deno.writeFile(join(out, "samples.png"), sheet(await Promise.all(samples)));
  return true;
}

function parts(work: string, name: string) {
  const at = places(work);
  return {
    name,
    description,
    tokenizers: [tokenizerRecipes.rar, tokenizerRecipes.var].map((recipe) => ({
      recipe,
      path: at.network(recipe.name),
    })),
    variants: transformerRecipes.filter((recipe) => recipe.name !== "other")
      .map((recipe) => ({ recipe, path: at.network(recipe.name) })),
  };
}
