/** Answers about an image that every stage of the pipeline asks for, found once for what was measured of it. */
import type { FamilyName } from "../../models/family.ts";
import type { SearchOptions, Wants } from "./image_state.ts";

/** The same choice, of the families that judge the image. */
export function rememberedWants(wants: Wants): Wants {
  const known = new WeakMap<object, { readonly facts: unknown; readonly wanted: readonly FamilyName[] }>();
  return (families, facts, sha256) => {
    const last = known.get(families);
    if (last !== undefined && last.facts === facts) return last.wanted;
    const wanted = wants(families, facts, sha256).filter((family) => family in families);
    known.set(families, { facts, wanted });
    return wanted;
  };
}

/** The same choice of images to search, which takes a decision. */
export function rememberedSearch(search: SearchOptions): SearchOptions {
  const known = new WeakMap<object, { readonly about: readonly unknown[]; readonly isNeeded: boolean }>();
  return {
    ...search,
    needs: (measured) => {
      const { families, facts, classes, variants } = measured;
      // Likelihoods are added to the object that has the others.
      const about = [families, facts, classes, Object.keys(variants).length];
      const last = known.get(variants);
      if (last?.about.every((one, i) => one === about[i])) return last.isNeeded;
      const isNeeded = search.needs(measured);
      known.set(variants, { about, isNeeded });
      return isNeeded;
    },
  };
}
