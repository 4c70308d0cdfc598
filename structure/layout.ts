/**
 * How the repository is laid out, as data: the order of its folders, and who may know a family of generators by name.
 * `deno task structure` holds the code against it.
 */

/**
 * Folders and files, the most basic first. A file belongs to the longest entry that contains it. It may import from its own
 * entry and from earlier rows. Entries of one row know nothing of each other.
 */
export const order: readonly (readonly string[])[] = [
  ["util"],
  ["core/tensor"],
  ["core/cpu", "core/wgsl"],
  ["core"],
  ["models/checkpoint"],
  ["models"],
  ["models/download"],
  ["attribution/labels.ts"],
  ["attribution/metrics"],
  ["attribution/plot"],
  ["attribution/images"],
  ["attribution/quantisation"],
  ["attribution/likelihood"],
  ["attribution/signals"],
  ["attribution/search"],
  ["attribution/evidence"],
  ["attribution/decision"],
  ["attribution/run"],
  ["attribution/calibration"],
  ["attribution/evaluation"],
  ["attribution/service"],
  ["attribution"],
  ["generation"],
  ["training"],
  ["mod.ts"],
  ["examples"],
  ["zoo"],
  ["parity"],
  ["bench"],
  ["structure"],
  ["deploy"],
  ["tasks"],
  ["tests"],
];

/** The one generic file that names the families: it lists them. */
export const registry = "models/registry.ts";

/** Who else may import from a family's folder, test for its classes or compare with its name; each with its reason. */
export const mayKnowFamilies: Readonly<Record<string, string>> = {
  "tests": "Tests state what a certain family gives.",
  "bench": "Measures the networks of certain families at their official sizes.",
};
