/**
 * The steps of building the zoo: tokenizers, tokens of all crops, then one transformer after the other.
 * Every step takes up where it was interrupted and does nothing where its result is already there.
 */
import { dirname } from "node:path";
import type { Device } from "../core/tensor/mod.ts";
import type { Crops } from "./images.ts";
import { fileHash, loadTokenizer, releasedFile, zooPaths } from "./paths.ts";
import type { TransformerRecipe, ZooRecipe } from "./recipe.ts";
import { tokenizersOf, transformerNamed, transformersOf } from "./recipes.ts";
import { readTokens, tokenise, type TokenSet, tokensFingerprint, writeTokens } from "./tokens.ts";
import { trainTokenizer } from "./tokenizers.ts";
import { trainTransformer } from "./transformers.ts";

/** The parts of the crops that transformers see: for training, and held out. */
export type Split = "train" | "val";

/** Options of every step. */
export interface StepOptions {
  readonly recipe: ZooRecipe;
  readonly device: Device;
  /** Working folder. */
  readonly work: string;
  readonly loadCrops: (split: Split) => Promise<Crops>;
  /** Networks to train; all of the recipe when not given. */
  readonly models?: readonly string[];
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

/** Trains tokenizers, one after the other. Returns whether all are finished. */
export async function trainTokenizers(options: StepOptions): Promise<boolean> {
  const { device, work, loadCrops, models, signal, log } = options;
  const at = zooPaths(work);
  await Deno.mkdir(at.weights, { recursive: true });
  const recipes = Object.values(tokenizersOf(options.recipe));
  const names = recipes.map(({ name }) => name);
  for (const name of models ?? []) {
    if (!names.includes(name)) throw new Error(`no tokenizer is called ${name}; there are ${names.join(", ")}`);
  }
  const [train, heldOut] = [await loadCrops("train"), await loadCrops("val")];
  for (const recipe of recipes.filter(({ name }) => models?.includes(name) ?? true)) {
    const out = at.network(recipe.name), dir = at.run(recipe.name);
    const init = recipe.init?.includes("/") ? releasedFile(recipe.init) : recipe.init && at.network(recipe.init);
    const { done } = await trainTokenizer({ device, recipe, train, heldOut, dir, init, out, signal, log });
    if (!done) return false;
  }
  return true;
}

/** Tokens of the training and validation crops under every tokenizer that a wanted transformer needs. */
export async function makeTokens(options: StepOptions): Promise<void> {
  const names = new Set(wanted(options).map(({ tokenizer }) => tokenizer));
  for (const name of names) await tokensOf(options, name);
}

/** Trains transformers, one after the other. Returns whether all are finished. */
export async function trainTransformers(options: StepOptions): Promise<boolean> {
  const { device, work, signal, log } = options;
  const at = zooPaths(work);
  await Deno.mkdir(at.weights, { recursive: true });
  for (const recipe of wanted(options)) {
    const { train, val } = await tokensOf(options, recipe.tokenizer);
    const tokenizerRecipe = tokenizersOf(options.recipe)[recipe.tokenizer];
    const tokenizer = await loadTokenizer(device, tokenizerRecipe, at.network(tokenizerRecipe.name));
    try {
      const { done } = await trainTransformer({
        device,
        recipe,
        train,
        heldOut: val,
        input: (tokens) => tokenizer.transformerInput(tokens),
        dir: at.run(recipe.name),
        out: at.network(recipe.name),
        signal,
        log,
      });
      if (!done) return false;
    } finally {
      tokenizer.dispose();
    }
  }
  return true;
}

/** The recipes of the transformers that the options name. */
function wanted({ recipe, models }: StepOptions): readonly TransformerRecipe[] {
  return models === undefined ? transformersOf(recipe) : models.map((name) => transformerNamed(recipe, name));
}

/** Tokens of both splits, made where they are not there yet. Throws when those that are there are of something else. */
async function tokensOf(options: StepOptions, name: string): Promise<Record<Split, TokenSet>> {
  const { device, work, loadCrops, log } = options;
  const recipe = tokenizersOf(options.recipe)[name], at = zooPaths(work);
  const hash = await fileHash(at.network(recipe.name), "tokenizers");
  const sets: Partial<Record<Split, TokenSet>> = {};
  for (const split of ["train", "val"] as const) {
    const path = at.tokens(recipe.name, split);
    const crops = await loadCrops(split);
    if (await Deno.stat(path).then(() => true, () => false)) {
      sets[split] = await readTokens(path, await tokensFingerprint(crops, hash));
      continue;
    }
    const tokenizer = await loadTokenizer(device, recipe, at.network(recipe.name));
    try {
      const start = performance.now();
      const set = await tokenise(device, tokenizer, crops, hash);
      await Deno.mkdir(dirname(path), { recursive: true });
      await writeTokens(path, set);
      const seconds = ((performance.now() - start) / 1000).toFixed(0);
      log(`${recipe.name}: tokens of ${crops.count} ${split} crops in ${seconds} s`);
      sets[split] = set;
    } finally {
      tokenizer.dispose();
    }
  }
  return sets as Record<Split, TokenSet>;
}
