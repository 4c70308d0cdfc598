/**
 * The recipes of the zoo: the networks of each family, and those of the generators outside the model set.
 * They are small stand-ins of the official architectures for images of 64x64 pixels, not the official models.
 */
import type { ByFamily, FamilyName } from "../models/family.ts";
import { otherRecipes } from "./other.ts";
import { rarRecipes, rarTwin } from "./rar.ts";
import type { FamilyRecipes, TokenizerRecipe, TransformerRecipe } from "./recipe.ts";
import { varAncestor, varRecipes, varTwin } from "./var.ts";

/** The families of the zoo in the order in which they are trained. */
export const familyRecipes: ByFamily<FamilyRecipes> = { rar: rarRecipes, var: varRecipes };

/** Their names, in that order. */
export const zooFamilies: readonly FamilyName[] = Object.keys(familyRecipes);

const recipes = Object.values(familyRecipes);

/** All tokenizers by the names that transformers' recipes use, in the order in which they are trained. */
export const tokenizerRecipes: Readonly<Record<string, TokenizerRecipe>> = {
  ...Object.assign({}, ...recipes.map(({ tokenizers }) => tokenizers)),
  other: otherRecipes.tokenizer,
};

/** The variants of the model set, family by family. */
export const setRecipes: readonly TransformerRecipe[] = recipes.flatMap(({ transformers }) => transformers);

/**
 * Generators outside the model set, whose images are outliers of the dataset: one that has nothing in common with it but
 * the photographs, one on the tokenizer from which VAR's began, and one on each family's own tokenizer.
 */
export const outsideRecipes: readonly TransformerRecipe[] = [otherRecipes.transformer, varAncestor, rarTwin, varTwin];

/** All transformers: the variants of the model set, and the generators that stay outside of it. */
export const transformerRecipes: readonly TransformerRecipe[] = [...setRecipes, ...outsideRecipes];

/** The transformer of that name. Throws an Error naming the recipes there are. */
export function transformerRecipe(name: string): TransformerRecipe {
  const recipe = transformerRecipes.find((row) => row.name === name);
  if (recipe !== undefined) return recipe;
  throw new Error(
    `no transformer is called ${name}; there are ${transformerRecipes.map((row) => row.name).join(", ")}`,
  );
}
