/**
 * Measures what the search for poses costs and changes, on generated images and on outliers of a labelled set:
 * deno run -A bench/search.ts [options]
 *
 * Every image is attributed at each level, without a journal. The cost is that of the evidence (its timings: tokenizers,
 * transformers, the search), as a multiple of the cost without search; reading files is left out, which mostly waits.
 * Generated images and outliers are separate runs, because the time of a pass is shared among its images.
 *   --data DIR          folder of images (default examples/Dataset/test)
 *   --labels FILE       its table (default examples/Dataset/test_labels.csv)
 *   --models DIR        default weights/tiny
 *   --each N            images of every variant (default 5)
 *   --outliers N        images of every source of outliers (default 20)
 *   --sources LIST      sources of outliers (default photograph,blurred-photograph,other-generator)
 *   --processing LIST   names of standard processings (default none)
 *   --search LIST       levels (default off,quick,full)
 */
import { parseArgs } from "node:util";
import { isUnreadable } from "../attribution/evidence/evidence.ts";
import { standardProcessing } from "../attribution/images/edits/mod.ts";
import { type LabelledImage, listWithTable } from "../attribution/images/labelled.ts";
import type { ImageInput } from "../attribution/images/load.ts";
import { labelsOf, outlierLabel } from "../attribution/labels.ts";
import { attributeFiles } from "../attribution/run/attribute.ts";
import type { SearchLevel } from "../attribution/search/candidates.ts";
import { openModelSet } from "../models/model_set.ts";
import { reportHead } from "./report.ts";
import { table } from "./table.ts";

const { values: options } = parseArgs({
  options: {
    data: { type: "string", default: "examples/Dataset/test" },
    labels: { type: "string", default: "examples/Dataset/test_labels.csv" },
    models: { type: "string", default: "weights/tiny" },
    each: { type: "string", default: "5" },
    outliers: { type: "string", default: "20" },
    sources: { type: "string", default: "photograph,blurred-photograph,other-generator" },
    processing: { type: "string", default: "none" },
    search: { type: "string", default: "off,quick,full" },
    threads: { type: "string" },
  },
});

/** What a run over some images gave; numbers of images but for the cost. */
interface Result {
  /** Milliseconds per image. */
  cost: number;
  /** With the right label. */
  right: number;
  /** With a model's label; of these, with the finding that the model made them, and with a confidence of 0.9 or more. */
  labelled: number;
  named: number;
  sure: number;
  /** Of which another pose was measured in full. */
  posed: number;
}

async function attributeAt(level: "off" | SearchLevel, images: readonly Sample[]): Promise<Result> {
  const result: Result = { cost: 0, right: 0, labelled: 0, named: 0, sure: 0, posed: 0 };
  let index = 0;
  await attributeFiles({
    inputs: images,
    models: options.models,
    device: "cpu",
    threads: options.threads === undefined ? undefined : Number(options.threads),
    search: level,
  }, {
    onLine: (line) => {
      const { label } = images[index++];
      if (isUnreadable(line)) return;
      const { families, variants, search = 0 } = line.timings;
      result.cost += (families + variants + search) / images.length;
      if (line.label === label) result.right++;
      if ((line.search?.poses.length ?? 0) > 0) result.posed++;
      if (line.label === outlierLabel) return;
      result.labelled++;
      if (line.finding === "variant") result.named++;
      if (line.confidence >= 0.9) result.sure++;
    },
  });
  return result;
}

type Sample = LabelledImage & ImageInput;

/** The first `count` images of every source in the order of the table. */
function firstOfEach(images: readonly LabelledImage[], count: number): LabelledImage[] {
  return [...Map.groupBy(images, ({ source }) => source).values()].flatMap((rows) => rows.slice(0, count));
}

const set = await openModelSet(options.models);
const { images } = await listWithTable("--data", options.data, options.labels, labelsOf(set));
const sources = options.sources.split(",");
const groups = {
  "generated": firstOfEach(images.filter(({ label }) => label !== outlierLabel), Number(options.each)),
  "outliers": firstOfEach(images.filter(({ source }) => sources.includes(source)), Number(options.outliers)),
};
const levels = options.search.split(",") as ("off" | SearchLevel)[];

const rows = [[
  "",
  "images",
  ...levels.flatMap((level) => [`${level}: ms`, "times", "right", "model", "named", "0.9", "poses"]),
]];
await attributeAt("quick", groups.outliers.slice(0, 4)); // compiles
for (const processing of options.processing.split(",").map(standardProcessing)) {
  for (const [kind, members] of Object.entries(groups)) {
    if (members.length === 0) continue;
    const samples = members.map((image): Sample => ({ ...image, edits: processing.edits }));
    const cells: string[] = [];
    let first: number | undefined;
    for (const level of levels) {
      const { cost, ...counts } = await attributeAt(level, samples);
      first ??= cost;
      const { right, labelled, named, sure, posed } = counts;
      cells.push(cost.toFixed(1), (cost / first).toFixed(2), ...[right, labelled, named, sure, posed].map(String));
    }
    rows.push([`${kind}, ${processing.title}`, String(samples.length), ...cells]);
  }
}
console.log(`${JSON.stringify(reportHead())}\n${table(rows)}`);
console.log(
  "ms: of the evidence, per image; times: that of the first level; right: labels; model: labels of a model; named: with\n" +
    "the finding that the model made it; 0.9: labels of a model at that confidence or more; poses: measured in full",
);
