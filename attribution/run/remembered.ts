/** Answers about an image that every stage of the pipeline asks for, found once for what was measured of it. */
import type { FamilyName } from "../../models/family.ts";
import { Remembered } from "../../util/remembered.ts";
import type { SearchOptions, Wants } from "./image_state.ts";

/** The same choice, of the families that judge the image. */
export function rememberedWants(wants: Wants): Wants {
  const known = new Remembered<readonly FamilyName[]>();
  return (families, facts, sha256) =>
    known.of(families, [facts], () => wants(families, facts, sha256).filter((family) => family in families));
}

/** The same choice of images to search, which takes a decision. */
export function rememberedSearch(search: SearchOptions): SearchOptions {
  const known = new Remembered<boolean>();
  return {
    ...search,
    needs: (measured) => {
      const { families, facts, classes, variants } = measured;
      // Likelihoods are added to the object that has the others.
      const parts = [families, facts, classes, Object.keys(variants).length];
      return known.of(variants, parts, () => search.needs(measured));
    },
  };
}
