/** The recipe of the set with three families, weights/tiny/tiny3.json: the networks of `tiny`, and LlamaGen's. */
import type { ZooRecipe } from "../recipe.ts";
import { llamagenRecipes } from "./llamagen.ts";
import { tinyRecipe } from "./recipe.ts";

/** RAR's and VAR's networks are the files of `tiny`. */
export const tinyThreeRecipe: ZooRecipe = {
  ...tinyRecipe,
  name: "tiny3",
  beside: tinyRecipe,
  description: "Small networks of the official architectures, trained on 64x64 crops of free photographs: stand-ins " +
    "for the pipeline, not the official models. Those of RAR and VAR are those of `tiny`.",
  families: { ...tinyRecipe.families, llamagen: llamagenRecipes },
};
