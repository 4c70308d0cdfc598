/**
 * The recipe of weights/matched: the official token structure, losses and samplers, at an eighth of the official widths
 * and for images of 128x128 pixels. Its tokens are as hard to find in an image as the official ones (zoo/README.md).
 */
import type { ZooRecipe } from "../recipe.ts";
import { tinyRecipe } from "../tiny/recipe.ts";
import { matchedClasses } from "./classes.ts";
import { matchedDataset } from "./dataset.ts";
import { rarRecipes, rarTwin } from "./rar.ts";
import { varRecipes, varTwin } from "./var.ts";

/** Stand-ins whose difficulty is that of the official models. */
export const matchedRecipe: ZooRecipe = {
  name: "matched",
  description: "Networks with the token structure of the official models at about an eighth of their widths, trained " +
    "on 128x128 crops of free photographs: stand-ins whose tokens are as hard to find, not the official models.",
  side: 128,
  classes: matchedClasses,
  families: { rar: rarRecipes, var: varRecipes },
  outside: {
    tokenizers: {},
    transformers: [rarTwin, varTwin],
    kept: "zoo/matched/outside",
    enlarged: { recipe: tinyRecipe, names: ["other"] },
  },
  dataset: matchedDataset,
};
