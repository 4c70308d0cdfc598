/**
 * The networks of the zoo: small stand-ins of the official architectures for images of 64x64 pixels, not the official
 * models. Layers of tokenizers are a quarter and an eighth as wide as the official ones and see 64x64 pixels, so group norms
 * have fewer groups. Sizes and training of each family's networks are in the file of its name.
 */
import type { TransformerRecipe } from "./family.ts";
import { otherTokenizer, rarTokenizer, rarTransformer } from "./rar.ts";
import { varFirstTokenizer, varTokenizer, varTransformer } from "./var.ts";

export { classCount } from "./course.ts";

/** The tokenizers: one for each family, what VAR's begins from, and that of the generator outside of the model set. */
export const tokenizerRecipes = {
  rar: rarTokenizer,
  varFirst: varFirstTokenizer,
  var: varTokenizer,
  other: otherTokenizer,
} as const;

/** The eight variants of the model set, and the generator that stays outside of it. */
export const transformerRecipes: readonly TransformerRecipe[] = [
  rarTransformer("rarb", [64, 2], [16, 2.75, 1.0], { seed: 201, steps: 4000, lr: 8e-3 }),
  rarTransformer("rarl", [64, 4], [15.5, 2.5, 1.02], { seed: 202, steps: 2000, lr: 8e-3 }),
  rarTransformer("rarxl", [80, 5], [6.9, 1.5, 1.02], { seed: 203, steps: 1800, lr: 6e-3 }),
  rarTransformer("rarxxl", [96, 5], [8.0, 1.2, 1.02], { seed: 204, steps: 1500, lr: 5e-3 }),
  varTransformer("var16", [64, 3], { seed: 301, steps: 2500, lr: 8e-3 }),
  varTransformer("var20", [80, 4], { seed: 302, steps: 2000, lr: 7e-3 }),
  varTransformer("var24", [96, 4], { seed: 303, steps: 1600, lr: 6e-3 }),
  varTransformer("var30", [112, 6], { seed: 304, steps: 1300, lr: 5e-3 }),
  rarTransformer("other", [72, 3], [4, 2, 1.0], { seed: 401, steps: 1500, lr: 8e-3 }, {
    tokenizer: "other",
    recipe: otherTokenizer,
  }),
];

/** Throws naming the recipes there are. */
export function transformerRecipe(name: string): TransformerRecipe {
  const found = transformerRecipes.find((recipe) => recipe.name === name);
  if (!found) {
    throw new Error(`no transformer is called ${name}; there are ${transformerRecipes.map((r) => r.name).join(", ")}`);
  }
  return found;
}
