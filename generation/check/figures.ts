/**
 * Figures that a model set is held against when it is checked: what was measured of the same networks elsewhere, as data
 * with sources. trials.ts measures, judge.ts compares.
 */
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import type { ModelSet } from "../../models/model_set.ts";
import { familyNamed } from "../../models/registry.ts";
import { readTextIfThere } from "../../util/files.ts";
import { canonicalJson, parseJson } from "../../util/json.ts";

/**
 * What a figure is of.
 *
 * - `tokensRecovered`: mean share of an image's tokens that encoder and quantiser find again, 0 to 1
 * - `margin`: median over images of how many nats per token the images' own variant is ahead of the next one of its
 *   family, for the tokens that were drawn, their class and the sampler's distribution
 * - `drawnNats`: mean of -log p per token of the tokens that were drawn, under their variant and class
 * - `foundNats`: the same of the tokens that were found again
 * - `rightFamily`, `rightLabel`: share of verdicts that name the family, or the variant
 */
export type Quantity = "tokensRecovered" | "margin" | "drawnNats" | "foundNats" | "rightFamily" | "rightLabel";

const quantities = ["tokensRecovered", "margin", "drawnNats", "foundNats", "rightFamily", "rightLabel"] as const;

const figure = v.strictObject({
  of: v.pipe(v.string(), v.minLength(1, "a family, a variant, or all")),
  quantity: v.picklist(quantities),
  /** What was measured or published. */
  value: v.number(),
  /** Standard deviation between images. Means may differ from `value` by three times what follows for their number. */
  deviation: v.optional(v.pipe(v.number(), v.minValue(0, "0 or more"))),
  /** Bounds where no deviation is known; without either, only `value` is shown. */
  low: v.optional(v.number()),
  high: v.optional(v.number()),
  /** Whether `value` is that of a set with fine-tuned encoders. */
  withEncoder: v.optional(v.boolean()),
  /** Whether a value outside of the range means that the set would not find its images. */
  decides: v.boolean(),
  source: v.pipe(v.string(), v.minLength(1, "where the figure is from")),
});

/** A figure of a family, a variant or `all`. */
export type Figure = v.InferOutput<typeof figure>;

const schema = v.strictObject({
  format: v.literal("model-tracer-figures/1"),
  about: v.string(),
  figures: v.array(figure),
});

/** Figures, and where they are from. */
export interface Figures {
  readonly about: string;
  readonly figures: readonly Figure[];
}

const officialPath = join(import.meta.dirname ?? ".", "..", "..", "weights", "official_figures.json");

/**
 * The figures of a set: those of figures.json in its folder, else the published ones for networks that have the
 * published configuration. Undefined where there are none. Throws on a file that is not of the format.
 */
export async function figuresOf(set: ModelSet): Promise<Figures | undefined> {
  const path = join(set.dir, "figures.json");
  const text = await readTextIfThere(path);
  if (text !== null) return parseJson(schema, text, path);
  const official = officialNetworks(set);
  if (official.length === 0) return undefined;
  const { about, figures } = parseJson(schema, await Deno.readTextFile(officialPath), officialPath);
  return { about, figures: figures.filter(({ of }) => official.includes(of)) };
}

/** Names of families, and of those of their variants, with the published configuration; `all` if all have it. */
function officialNetworks(set: ModelSet): string[] {
  const isSame = (a: unknown, b: unknown) => canonicalJson(a) === canonicalJson(b);
  const variants = set.families.flatMap((name) => set.variants(name));
  const names = set.families.flatMap((name) => {
    const { officialTokenizer, officialVariants } = familyNamed(name);
    const { tokenizer, variants } = set.manifest.families[name];
    if (!isSame(tokenizer.config, officialTokenizer)) return [];
    const published = Object.entries(variants).filter(([label, { config }]) =>
      officialVariants.some((row) => row.label === label && isSame(row.config, config))
    );
    return published.length === 0 ? [] : [name, ...published.map(([label]) => label)];
  });
  return variants.every((name) => names.includes(name)) ? [...names, "all"] : names;
}
