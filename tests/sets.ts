/** Folders of model sets for tests: the embedded one, and untrained stand-ins that are quicker and name every label. */
import { join } from "node:path";
import type { ModelSet } from "../models/model_set.ts";
import { familyNamed } from "../models/registry.ts";

/** The embedded set of trained networks, 64x64 pixels. */
export const tiny = new URL("../weights/tiny", import.meta.url).pathname;

/**
 * Untrained networks of 32x32 pixels: files that PyTorch wrote (links to those of golden/checkpoints), and six variants computed
 * from their names. Thresholds were set by hand so that every label can occur.
 */
export const standIns = new URL("./fixtures/standins", import.meta.url).pathname;

/** Copies the stand-ins into `dir`, which is made where it is missing; without their thresholds unless they are asked for. */
export async function copyStandIns(dir: string, { calibration = false } = {}): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  for await (const { name } of Deno.readDir(standIns)) {
    if (calibration || name !== "calibration.json") await Deno.copyFile(join(standIns, name), join(dir, name));
  }
}

/** What is known of the published networks of families, without any file. */
export function official(
  families: readonly string[],
): Pick<ModelSet, "families" | "variants" | "tokenizerFacts" | "variantFacts"> {
  const rows = families.flatMap((family) =>
    familyNamed(family).officialVariants.map((variant) => ({ family: familyNamed(family), variant }))
  );
  return {
    families,
    variants: (family) => familyNamed(family).officialVariants.map(({ label }) => label),
    tokenizerFacts: (family) => familyNamed(family).tokenizerFacts(familyNamed(family).officialTokenizer),
    variantFacts: (name) => {
      const { family, variant } = rows.find(({ variant }) => variant.label === name)!;
      return family.variantFacts(variant.config);
    },
  };
}
