/** The recipe of the embedded set, weights/tiny: networks for images of 64x64 pixels that train in four hours. */
import type { ZooRecipe } from "../recipe.ts";
import { tinyClasses } from "./classes.ts";
import { tinyDataset } from "./dataset.ts";
import { otherRecipes } from "./other.ts";
import { rarRecipes, rarTwin } from "./rar.ts";
import { varAncestor, varRecipes, varTwin } from "./var.ts";

/** Small stand-ins of the official architectures, with a tokenizer of VAR whose tokens can be found again. */
export const tinyRecipe: ZooRecipe = {
  name: "tiny",
  description: "Small networks of the official architectures, trained on 64x64 crops of free photographs: stand-ins " +
    "for the pipeline, not the official models.",
  side: 64,
  classes: tinyClasses,
  families: { rar: rarRecipes, var: varRecipes },
  // One that has nothing in common with the set but the photographs, one on the tokenizer from which VAR's began, and
  // one on each family's own tokenizer.
  outside: {
    tokenizers: { other: otherRecipes.tokenizer },
    transformers: [otherRecipes.transformer, varAncestor, rarTwin, varTwin],
    kept: "zoo/tiny/outside",
  },
  dataset: tinyDataset,
};
