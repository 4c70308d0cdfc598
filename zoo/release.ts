/**
 * The last steps of building the zoo: inverse decoders, the embedded set, the small dataset and the picture sheets.
 * They run the same code as the tasks `generate` and `train`.
 */
import { basename, dirname, join } from "node:path";
import { runGeneration } from "../generation/generate.ts";
import { decodeImage } from "../attribution/images/decode.ts";
import { runTraining } from "../training/run_training.ts";
import type { Device } from "../core/tensor/mod.ts";
import type { FamilyName } from "../models/family.ts";
import { type ModelSet, openModelSet } from "../models/model_set.ts";
import type { PhotoCrops } from "./crops.ts";
import { type DrawOptions, writeAddition, writeDataset, writeDraw } from "./dataset.ts";
import { fileHash, loadTokenizer, repository, zooPaths } from "./paths.ts";
import type { TokenizerRecipe, TransformerRecipe, ZooRecipe } from "./recipe.ts";
import { addedFamilies, tokenizersOf, transformerNamed, transformersOf, variantsOf } from "./recipes.ts";
import { type SetParts, writeSet } from "./set.ts";
import { outsiders } from "./nonmembers.ts";
import { reconstructions, sheet, spread } from "./sheet.ts";

/** Pairs for the inverse decoders: images of each variant, and their seed. */
export const pairRecipe = { each: 600, seed: 14 } as const;

/** Options of every step. */
export interface ReleaseOptions {
  readonly recipe: ZooRecipe;
  readonly device: Device;
  readonly work: string;
  readonly threads?: number;
  readonly families?: readonly FamilyName[];
  /** Variants and generators outside of the set that sets are made of. Default: all. */
  readonly models?: readonly string[];
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

const inverseRun = (work: string, family: FamilyName) => zooPaths(work).run(`inverse_${family}`);
const inverseFile = (work: string, family: FamilyName) => join(inverseRun(work, family), "encoder.safetensors");
const setFolder = (work: string) => join(work, "set");
const outsiderFolder = (work: string, name: string) => join(work, "outside", name);

/**
 * The networks as model sets in the working folder: the zoo without inverse decoders, and a set for each generator
 * outside of it, where the recipe has any.
 */
export async function writeSets(options: ReleaseOptions): Promise<boolean> {
  const { recipe, work, models, log } = options, parts = await setOf(options);
  const { hash } = await writeSet(setFolder(work), parts);
  log(`set ${hash.slice(0, 12)} of ${parts.variants.length} transformers without inverse decoders`);
  for (const row of recipe.outside.transformers.filter(({ name }) => models?.includes(name) ?? true)) {
    if (!await isThere(zooPaths(work).network(row.name))) {
      log(`no set of ${row.name}, which is not trained`);
      continue;
    }
    await writeSet(outsiderFolder(work, row.name), {
      name: row.name,
      description: outsiderDescription,
      ...networkFiles(work, [tokenizersOf(recipe)[row.tokenizer]], [row]),
    });
  }
  return true;
}

/**
 * Keeps the finished generators outside the set in `out`: their transformers, and the tokenizers that the set does not
 * have. Images of a dataset can be drawn from them where nothing was trained. Those that are not trained are left out.
 */
export async function keepOutsiders({ recipe, work, log }: ReleaseOptions, out: string): Promise<boolean> {
  const own = setTokenizers(recipe).map(({ name }) => name);
  await Deno.mkdir(out, { recursive: true });
  for (const { name, tokenizer } of recipe.outside.transformers) {
    if (!await isThere(zooPaths(work).network(name))) {
      log(`${name} is not trained, and not kept`);
      continue;
    }
    const on = tokenizersOf(recipe)[tokenizer].name;
    for (const network of own.includes(on) ? [name] : [on, name]) {
      const path = zooPaths(work).network(network), target = join(out, basename(path));
      await Deno.copyFile(path, target);
      log(`${target} ${await fileHash(target, "outside")}`);
    }
  }
  return true;
}

/** The set that images are drawn from: the one in the working folder, or else the released one. */
async function setToDrawFrom({ recipe, work }: ReleaseOptions): Promise<string> {
  return await isThere(join(setFolder(work), "manifest.json"))
    ? setFolder(work)
    : join(repository, "weights", recipe.name);
}

/**
 * Folders of the sets of generators outside. Those that the working folder does not have are made of networks that were
 * trained there, else of those that the repository keeps; where a network is in neither, its generator is left out.
 */
async function outsiderFolders({ recipe, work, log }: ReleaseOptions): Promise<ReadonlyMap<string, string>> {
  const { transformers, enlarged } = recipe.outside, folders = new Map<string, string>();
  const rows = [
    ...transformers.map((row) => ({ row, of: recipe })),
    ...enlarged?.names.map((name) => ({ row: transformerNamed(enlarged.recipe, name), of: enlarged.recipe })) ?? [],
  ];
  for (const { row, of } of rows) {
    const folder = outsiderFolder(work, row.name), tokenizer = tokenizersOf(of)[row.tokenizer];
    if (!await isThere(join(folder, "manifest.json"))) {
      const places = [
        ...of === recipe ? [zooPaths(work).weights] : [],
        ...[join(repository, of.outside.kept ?? ""), join(repository, "weights", of.name)],
      ];
      const path = await fileIn(places, row.name), tokenizerPath = await fileIn(places, tokenizer.name);
      if (path === undefined || tokenizerPath === undefined) continue;
      await writeSet(folder, {
        ...{ name: row.name, description: outsiderDescription },
        tokenizers: [{ recipe: tokenizer, path: tokenizerPath }],
        variants: [{ recipe: row, path }],
      });
      log(`${row.name}: ${path} on ${tokenizerPath}`);
    }
    folders.set(row.name, folder);
  }
  return folders;
}

/** The file of a network in the first of some folders that has it. */
async function fileIn(folders: readonly string[], name: string): Promise<string | undefined> {
  for (const path of folders.map((folder) => join(folder, `${name}.safetensors`))) if (await isThere(path)) return path;
  return undefined;
}

const outsiderDescription = "A generator outside the zoo.";

const isThere = (path: string) => Deno.stat(path).then(() => true, () => false);

/** Generates pairs of all variants of each family and fine-tunes its encoder on them. */
export async function trainInverses(options: ReleaseOptions): Promise<boolean> {
  for (const family of options.families ?? Object.keys(options.recipe.families)) {
    const pairs = await generatePairs(options, family);
    if (pairs === null || !await trainInverse(options, family, pairs)) return false;
  }
  return true;
}

/**
 * Generates images of a family's variants with their tokens. Returns their folder, or null where it was interrupted.
 */
async function generatePairs(
  { work, threads, signal, log }: ReleaseOptions,
  family: FamilyName,
): Promise<string | null> {
  const pairs = join(work, "pairs", family);
  const { status } = await runGeneration({
    models: setFolder(work),
    variants: (await openModelSet(setFolder(work))).variants(family),
    count: pairRecipe.each,
    seed: pairRecipe.seed,
    out: pairs,
    resume: true,
    device: "cpu",
    threads,
    signal,
  }, { onPrepare: (text) => log(`${family}: ${text}`) });
  return status === "done" ? pairs : null;
}

/** Fine-tunes a family's encoder. Returns whether it is finished. */
async function trainInverse(
  { recipe: { families }, work, threads, signal, log }: ReleaseOptions,
  family: FamilyName,
  pairs: string,
): Promise<boolean> {
  const run = inverseRun(work, family);
  const started = await Deno.stat(run).then(() => true, () => false);
  await Deno.mkdir(dirname(run), { recursive: true });
  const { status } = await runTraining(
    started ? { resume: run, threads, signal } : {
      family,
      models: setFolder(work),
      pairs: [pairs],
      recipe: families[family].inverse,
      run,
      out: inverseFile(work, family),
      device: "cpu",
      threads,
      signal,
    },
    {
      onEpoch: ({ epoch, heldOutLoss, tokenRecovery }) => {
        const loss = heldOutLoss?.toPrecision(4);
        log(`inverse ${family}: epoch ${epoch}, held-out loss ${loss}, tokens ${tokenRecovery}`);
      },
    },
  );
  return status === "done";
}

/** Writes the set with its inverse decoders into `out`; what it adds, where it is beside another one. */
export async function writeRelease(options: ReleaseOptions, out: string): Promise<boolean> {
  const { recipe, work, log } = options, { beside } = recipe, families = Object.keys(addedFamilies(recipe));
  const encoders = Object.fromEntries(families.map((family) => [family, inverseFile(work, family)]));
  const unfinished = await missing(families, (family) => encoders[family]);
  if (unfinished.length > 0) {
    throw new Error(`inverse decoders of ${unfinished.join(", ")}: not there yet; deno task zoo inverse makes them`);
  }
  const own = { ...await setOf({ ...options, recipe: { ...recipe, families: addedFamilies(recipe) } }), encoders };
  const { hash } = await writeSet(
    out,
    beside === undefined ? own : {
      ...own,
      manifest: `${recipe.name}.json`,
      others: (await openModelSet(out)).manifest.families,
    },
  );
  log(`${out}: set ${hash.slice(0, 12)}; calibrate it next`);
  return true;
}

/** What the small dataset is made of beside networks, and where it goes. */
export interface ExamplesOptions {
  /**
   * The set that images are drawn from: that of the step `sets` when not given, or where that is not there the released
   * one. Inverse decoders do not matter.
   */
  readonly models?: string;
  readonly unseen: readonly PhotoCrops[];
  readonly train: PhotoCrops;
  readonly out: string;
  /** What is in `out` stays. */
  readonly keep?: boolean;
  /** Writes a set drawn anew in place of the dataset. */
  readonly draw?: DrawOptions;
}

/** Writes the small dataset, or a set drawn anew, into `out`. */
export async function writeExamples(
  options: ReleaseOptions,
  { models, draw, keep, ...rest }: ExamplesOptions,
): Promise<boolean> {
  const { recipe, device, work, threads, log } = options, { beside, dataset: plan } = recipe;
  if (plan === undefined) throw new Error(`zoo dataset: the recipe ${recipe.name} has no dataset`);
  const folders = await outsiderFolders(options), set = await openModelSet(models ?? await setToDrawFrom(options));
  const drawn = Object.values(addedFamilies(recipe)).flatMap(({ transformers }) => transformers);
  const material = {
    ...rest,
    device,
    plan,
    models: set.path,
    variants: drawn.map(({ name }) => name).filter((name) => variantNames(set).includes(name)),
    outsider: (name: string) => {
      const folder = folders.get(name);
      if (folder !== undefined) return folder;
      throw new Error(`${name}: neither in ${work} nor kept in this repository; deno task zoo transformers trains it`);
    },
    work,
    threads,
    log,
  };
  const without = Object.entries(outsiders).flatMap(([source, name]) => folders.has(name) ? [] : [source]);
  if (draw !== undefined) {
    if (without.length > 0) log(`left out, because their generators are not there: ${without.join(", ")}`);
    await writeDraw(material, { ...draw, without });
  } else if (beside !== undefined) await writeAddition(material);
  else await writeDataset({ ...material, keep });
  return true;
}

/** Writes the picture sheets into `out`: photographs with their reconstructions, and samples, a row each. */
export async function writeSheets(
  { recipe, device, work }: ReleaseOptions,
  { heldOut, out }: { readonly heldOut: PhotoCrops; readonly out: string },
): Promise<boolean> {
  await Deno.mkdir(out, { recursive: true });
  const originals = spread(heldOut, 12);
  const rows = [originals];
  for (const row of setTokenizers(recipe)) {
    const tokenizer = await loadTokenizer(device, row, zooPaths(work).network(row.name));
    try {
      rows.push(await reconstructions(device, tokenizer, originals));
    } finally {
      tokenizer.dispose();
    }
  }
  await Deno.writeFile(join(out, "reconstructions.png"), sheet(rows));
  const samples = transformersOf(recipe).map(async ({ name }) => {
    const dir = join(work, "dataset", "test", name);
    return await Promise.all(
      Array.from({ length: 12 }, async (_, i) => await decodeImage(await Deno.readFile(join(dir, `${i}.png`)))),
    );
  });
  await Deno.writeFile(join(out, "samples.png"), sheet(await Promise.all(samples)));
  return true;
}

/** The tokenizers of the set's families. */
function setTokenizers(recipe: ZooRecipe): readonly TokenizerRecipe[] {
  return Object.keys(recipe.families).map((family) => tokenizersOf(recipe)[family]);
}

/**
 * The recipe's networks as a set without inverse decoders: all, or those that the options name. Throws, naming them,
 * where some are not trained yet.
 */
async function setOf({ recipe, work, models }: ReleaseOptions): Promise<SetParts> {
  const { name, description } = recipe;
  for (const wanted of models ?? []) transformerNamed(recipe, wanted);
  const variants = variantsOf(recipe).filter(({ name }) => models?.includes(name) ?? true);
  const kinds = variants.map(({ network }) => network.kind);
  const at = zooPaths(work), tokenizers = setTokenizers(recipe).filter(({ network }) => kinds.includes(network.kind));
  const names = [...tokenizers, ...variants].map(({ name }) => name);
  const unfinished = await missing(names, (name) => at.network(name));
  if (unfinished.length > 0) {
    throw new Error(
      `${
        unfinished.join(", ")
      }: not there yet; deno task zoo tokenizers and transformers train them, and --model NAMES ` +
        "makes a set of some transformers",
    );
  }
  return { name, description, ...networkFiles(work, tokenizers, variants) };
}

/** Names whose files are not there. */
async function missing(names: readonly string[], path: (name: string) => string): Promise<readonly string[]> {
  const there = await Promise.all(names.map((name) => isThere(path(name))));
  return names.filter((_, i) => !there[i]);
}

/** The variants of a set. */
function variantNames(set: ModelSet): readonly string[] {
  return set.families.flatMap((family) => set.variants(family));
}

/** Networks with their files in the working folder. */
function networkFiles(
  work: string,
  tokenizers: readonly TokenizerRecipe[],
  variants: readonly TransformerRecipe[],
): Pick<SetParts, "tokenizers" | "variants"> {
  const withFile = <R extends { readonly name: string }>(recipe: R) => ({
    recipe,
    path: zooPaths(work).network(recipe.name),
  });
  return { tokenizers: tokenizers.map(withFile), variants: variants.map(withFile) };
}
