/** A small dataset with the draws beside it, as `deno task zoo dataset` leaves them, for tests of bench/matched.ts. */
import { join } from "node:path";
import { parseNameTable } from "../../attribution/images/name_table.ts";
import { limitsMarks } from "../../attribution/evaluation/limits_document.ts";
import type { MatchedOptions } from "../../bench/matched.ts";
import { runGeneration } from "../../generation/generate.ts";
import { variantLabels } from "../labels.ts";

const dataset = new URL("../../examples/Dataset", import.meta.url).pathname;
const variants = [...variantLabels.rar, ...variantLabels.var];

/** Draws `count` images of every variant as `deno task zoo dataset` leaves them. */
async function draw(
  models: string,
  draws: string,
  split: { name: string; seed: number; count: number },
): Promise<void> {
  for (const variant of variants) {
    const { name, ...series } = split, out = join(draws, name, variant);
    await runGeneration({ models, variants: [variant], ...series, out, device: "cpu", threads: 1 });
  }
}

/** A folder with a test image of every variant, and an outlier of each of three sources. */
async function writeData(data: string, draws: string): Promise<void> {
  await Deno.mkdir(join(data, "test"), { recursive: true });
  const rows = ["image_name,label,source,picture"];
  for (const variant of variants) {
    await Deno.copyFile(join(draws, "test", variant, "0.png"), join(data, "test", `${variant}.png`));
    rows.push(`${variant}.png,${variant},${variant},${variant}/6/0`);
  }
  const table = join(dataset, "test_labels.csv");
  const known = parseNameTable(await Deno.readTextFile(table), table, "source");
  for (const wanted of ["photograph", "other-generator", "twin-var"]) {
    const { image_name: name, picture } = known.find(({ source }) => source === wanted)!;
    await Deno.copyFile(join(dataset, "test", name), join(data, "test", name));
    rows.push(`${name},outlier,${wanted},${picture}`);
  }
  await Deno.writeTextFile(join(data, "test_labels.csv"), rows.join("\n") + "\n");
}

/**
 * Writes a test image and `fit` others of every variant of a set, three outliers, and a document with nothing between its
 * marks, into `dir`. Returns options to measure them.
 */
export async function matchedOptions(dir: string, models: string, fit: number): Promise<Omit<MatchedOptions, "parts">> {
  const [data, draws, out, document] = ["data", "draws", "out", "doc.md"].map((name) => join(dir, name));
  await draw(models, draws, { name: "test", seed: 6, count: 1 });
  await draw(models, draws, { name: "train", seed: 7, count: fit });
  await writeData(data, draws);
  await Deno.writeTextFile(document, `# A\n\n${limitsMarks.begin}\n\n${limitsMarks.end}\n\nB\n`);
  return { models, data, draws, out, document, each: 1, fit, threads: 1, log: () => {} };
}
