/**
 * How well likelihood alone tells the variants of a family apart, and finds an unknown class, on images that `deno task
 * generate` made: deno run -A bench/likelihood.ts DIR [--models DIR] [--count N] [--quantization NAME]
 *
 * DIR has a folder per variant. It measures accuracy and nothing else; every table is one of decisions without any fitting.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { samplerOf } from "../attribution/generation/settings.ts";
import { decodePixels, readImageFile, toValueRange } from "../attribution/input.ts";
import { type Summaries, summarise, TokenScorer } from "../attribution/likelihood/mod.ts";
import { variantLabels } from "../attribution/labels.ts";
import { openQuantizer, type QuantizerName } from "../attribution/signals/quantizers.ts";
import { openDevice } from "../core/open_device.ts";
import { disposeAll, fromArray, scope } from "../core/tensor/mod.ts";
import type { Family, FamilyName } from "../models/family.ts";
import { openModelSet } from "../models/model_set.ts";
import { table } from "./table.ts";

interface Sample {
  readonly variant: string;
  readonly label: number;
  readonly tokens: Record<"true" | "recovered", Int32Array>;
  /** By source of the tokens and scoring variant: a summary per class, that without a class last. */
  readonly summaries: Record<"true" | "recovered", Record<string, Summaries[]>>;
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    models: { type: "string", default: "weights/tiny" },
    count: { type: "string", default: "100" },
    first: { type: "string", default: "0" },
    quantization: { type: "string", default: "sweeps" },
    device: { type: "string", default: "cpu" },
    threads: { type: "string" },
    families: { type: "string", default: "rar,var" },
    dump: { type: "string" },
  },
});
if (positionals.length !== 1) {
  throw new Error("likelihood: expected the folder that has a folder of images per variant");
}
const set = await openModelSet(options.models);
const device = await openDevice(options.device as "cpu", {
  threads: options.threads ? Number(options.threads) : undefined,
});

async function recover(family: Family, paths: readonly string[]): Promise<Int32Array[]> {
  const quantizer = await openQuantizer(options.quantization as QuantizerName, family);
  const found: Int32Array[] = [];
  for (let at = 0; at < paths.length; at += 20) {
    const own = paths.slice(at, at + 20);
    const size = family.imageSize;
    const pixels = await Promise.all(own.map(async (path) => {
      const { bytes } = await readImageFile(path);
      return (await decodePixels(bytes, [size])).bySize.get(size)!;
    }));
    const { tokens, fHat } = scope(() => {
      const x = fromArray(device, toValueRange(pixels, family.valueRange), [own.length, size, size, 3]);
      return quantizer.quantize(family.encode(x));
    });
    const ids = await tokens.ints();
    disposeAll([tokens, fHat]);
    for (let i = 0; i < own.length; i++) found.push(ids.slice(i * family.tokenCount, (i + 1) * family.tokenCount));
  }
  quantizer.dispose();
  return found;
}

async function read(name: FamilyName, family: Family): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const variant of variantLabels[name].filter((each) => set.variants(name).includes(each))) {
    const numbers = Array.from({ length: Number(options.count) }, (_, i) => Number(options.first) + i);
    const path = (i: number, ending: string) => join(positionals[0], variant, `${i}.${ending}`);
    const recovered = await recover(family, numbers.map((i) => path(i, "png")));
    for (const [k, i] of numbers.entries()) {
      const { tokens, class: label } = JSON.parse(await Deno.readTextFile(path(i, "json")));
      samples.push({
        variant,
        label,
        tokens: { true: Int32Array.from(tokens), recovered: recovered[k] },
        summaries: { true: {}, recovered: {} },
      });
    }
  }
  return samples;
}

const share = (values: readonly boolean[]) => (100 * values.filter(Boolean).length / values.length).toFixed(1);
const best = (values: readonly number[]) => values.indexOf(Math.max(...values));

for (const name of options.families.split(",") as FamilyName[]) {
  const family = await set.loadFamily(device, name);
  const samples = await read(name, family);
  const variants = variantLabels[name].filter((each) => set.variants(name).includes(each));
  let classes = 0;
  for (const variantName of variants) {
    const variant = await set.loadVariant(device, variantName);
    classes = variant.classes;
    const labels = [...Array.from({ length: classes }, (_, c) => c), null];
    const scorer = new TokenScorer(device, family, variant, samplerOf(set, variantName), { batch: 40 });
    for (const source of ["true", "recovered"] as const) {
      for (let at = 0; at < samples.length; at += 20) {
        const own = samples.slice(at, at + 20);
        const ids = new Int32Array(own.length * family.tokenCount);
        own.forEach(({ tokens }, i) => ids.set(tokens[source], i * family.tokenCount));
        const scores = await scorer.score(ids, own.map(() => labels));
        own.forEach((sample, i) => sample.summaries[source][variantName] = scores[i].map((each) => summarise(each)));
      }
    }
    scorer.dispose();
    variant.dispose();
  }
  if (options.dump) await Deno.writeTextFile(`${options.dump}.${name}.json`, JSON.stringify(samples));
  const rows: string[][] = [["tokens", "class", "by", "size accuracy %"]];
  const classRows: string[][] = [["tokens", "by", "scored with", "top-1 %", "top-5 %"]];
  for (const source of ["true", "recovered"] as const) {
    const same = samples.flatMap(({ tokens }) => [...tokens.true].map((id, t) => id === tokens.recovered[t]));
    if (source === "recovered") console.log(`${name}: ${share(same)} % of the tokens are recovered`);
    const smallest = variants[0];
    const inferred = samples.map(({ summaries }) =>
      best(summaries[source][smallest].slice(0, classes).map((each) => each["conditional.sum"]))
    );
    const chosen: Record<string, (i: number) => number> = {
      true: (i) => samples[i].label,
      inferred: (i) => inferred[i],
      none: () => classes,
    };
    for (const [how, pick] of Object.entries(chosen)) {
      for (const by of ["conditional.sum", "guided.sum", "difference.mean"]) {
        const right = samples.map(({ variant, summaries }, i) =>
          variants[best(variants.map((each) => summaries[source][each][pick(i)][by]))] === variant
        );
        rows.push([source, how, by, share(right)]);
      }
    }
    for (const by of ["conditional.sum", "guided.sum"]) {
      for (const scoring of variants) {
        const place = samples.map(({ label, summaries }) => {
          const values = summaries[source][scoring].slice(0, classes).map((each) => each[by]);
          return values.filter((value) => value > values[label]).length;
        });
        classRows.push([source, by, scoring, share(place.map((p) => p < 1)), share(place.map((p) => p < 5))]);
      }
    }
  }
  console.log(`${name}: ${samples.length} images, ${classes} classes`);
  console.log(table(rows));
  console.log(table(classRows));
  family.dispose();
}
device.close();
