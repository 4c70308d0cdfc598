/**
 * The recipes of the zoo by name, and the networks of a recipe in the order in which they are trained.
 * All are small stand-ins of the official architectures, not the official models.
 */
import type { TokenizerRecipe, TransformerRecipe, ZooRecipe } from "./recipe.ts";
import { matchedRecipe } from "./matched/recipe.ts";
import { tinyRecipe } from "./tiny/recipe.ts";
import { tinyThreeRecipe } from "./tiny/recipe3.ts";

/** All recipes by the names of their sets. */
export const zooRecipes = {
  tiny: tinyRecipe,
  tiny3: tinyThreeRecipe,
  matched: matchedRecipe,
} as const satisfies Record<string, ZooRecipe>;

/** Name of a recipe. */
export type ZooRecipeName = keyof typeof zooRecipes;

/** Their names. */
export const zooRecipeNames = Object.keys(zooRecipes) as ZooRecipeName[];

/** The tokenizers of a recipe by the names that transformers' recipes use. */
export function tokenizersOf({ families, outside }: ZooRecipe): Readonly<Record<string, TokenizerRecipe>> {
  return Object.assign({}, ...Object.values(families).map(({ tokenizers }) => tokenizers), outside.tokenizers);
}

/** The families that a recipe does not share with the one that it is beside. */
export function addedFamilies({ families, beside }: ZooRecipe): ZooRecipe["families"] {
  return Object.fromEntries(Object.entries(families).filter(([name]) => beside?.families[name] === undefined));
}

/** The variants of a recipe's model set, family by family. */
export function variantsOf({ families }: ZooRecipe): readonly TransformerRecipe[] {
  return Object.values(families).flatMap(({ transformers }) => transformers);
}

/** The transformers of a recipe: the variants of the model set, and the generators outside of it. */
export function transformersOf(recipe: ZooRecipe): readonly TransformerRecipe[] {
  return [...variantsOf(recipe), ...recipe.outside.transformers];
}

/** The transformer of that name. Throws an Error naming those there are. */
export function transformerNamed(recipe: ZooRecipe, name: string): TransformerRecipe {
  const transformers = transformersOf(recipe);
  const found = transformers.find((row) => row.name === name);
  if (found !== undefined) return found;
  const names = transformers.map((row) => row.name).join(", ");
  throw new Error(`${recipe.name}: no transformer is called ${name}; there are ${names}`);
}
