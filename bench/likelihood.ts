/**
 * Measures how well likelihood alone tells the variants of a family apart, and finds an unknown class, on images made
 * by `deno task generate`: deno run -A bench/likelihood.ts DIR [--models DIR] [--count N] [--quantization NAME]
 *
 * DIR has a folder per variant. Tables show accuracy of decisions without any fitting. With --settings, the likelihood
 * is also averaged over other settings of each variant's sampler, as attribution has it.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { decodePixels, readImageFile, toValueRange } from "../attribution/images/load.ts";
import {
  inferClasses,
  type InferredClasses,
  mixSummaries,
  samplerWeights,
  type Start,
  type Summaries,
  summarise,
  TokenScorer,
} from "../attribution/likelihood/mod.ts";
import { latentOf } from "../attribution/signals/reconstruction.ts";
import { openQuantizer, type QuantizerName } from "../attribution/quantisation/quantizers.ts";
import { openDevice } from "../core/open_device.ts";
import { disposeAll, fromArray, scope } from "../core/tensor/mod.ts";
import type { FamilyName, ImageTokenizer, Variant } from "../models/family.ts";
import { openModelSet } from "../models/model_set.ts";
import { table } from "./table.ts";

interface Sample {
  readonly variant: string;
  readonly label: number;
  readonly tokens: Record<Source, Int32Array>;
  /** Of the other family, for images of RAR: VAR's tokens. */
  readonly others?: Int32Array;
  /** By source of the tokens, scoring variant and sampler: a summary per class, that without a class last. */
  readonly summaries: Record<Source, Record<string, Summaries[][]>>;
}

/** The tokens of generation, or those recovered from the pixels. */
type Source = "true" | "recovered";
const sources: readonly Source[] = ["true", "recovered"];

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
    settings: { type: "boolean", default: false },
  },
});
if (positionals.length !== 1) {
  throw new Error("likelihood: expected the folder that has a folder of images per variant");
}
const set = await openModelSet(options.models);
const device = await openDevice(options.device as "cpu", {
  threads: options.threads ? Number(options.threads) : undefined,
});

async function recover(family: ImageTokenizer, paths: readonly string[]): Promise<Int32Array[]> {
  const quantizer = await openQuantizer(options.quantization as QuantizerName, family);
  const recovered: Int32Array[] = [];
  for (let at = 0; at < paths.length; at += 20) {
    const part = paths.slice(at, at + 20);
    const size = family.imageSize;
    const pixels = await Promise.all(part.map(async (path) => {
      const { bytes } = await readImageFile(path);
      return (await decodePixels(bytes, [size])).bySize.get(size)!;
    }));
    const { tokens, fHat } = scope(() => {
      const x = fromArray(device, toValueRange(pixels, family.valueRange), [part.length, size, size, 3]);
      return quantizer.quantize(latentOf(family, x));
    });
    const ids = await tokens.ints();
    disposeAll([tokens, fHat]);
    for (let i = 0; i < part.length; i++) recovered.push(ids.slice(i * family.tokenCount, (i + 1) * family.tokenCount));
  }
  quantizer.dispose();
  return recovered;
}

async function read(name: FamilyName, family: ImageTokenizer): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const variant of set.variants(name)) {
    const numbers = Array.from({ length: Number(options.count) }, (_, i) => Number(options.first) + i);
    const path = (i: number, ending: string) => join(positionals[0], variant, `${i}.${ending}`);
    const paths = numbers.map((i) => path(i, "png"));
    const recovered = await recover(family, paths);
    const others = name !== coarse.family.family ? await recover(coarse.family, paths) : undefined;
    for (const [k, i] of numbers.entries()) {
      const { tokens, class: label } = JSON.parse(await Deno.readTextFile(path(i, "json")));
      samples.push({
        variant,
        label,
        tokens: { true: Int32Array.from(tokens), recovered: recovered[k] },
        others: others?.[k],
        summaries: { true: {}, recovered: {} },
      });
    }
  }
  return samples;
}

function joined(parts: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

/** As the pipeline infers: VAR's coarse scales first, in parts of twenty images. */
async function infer(family: ImageTokenizer, variant: Variant, samples: readonly Sample[], source: Source) {
  const inferred: InferredClasses[] = [];
  for (let at = 0; at < samples.length; at += 20) {
    const part = samples.slice(at, at + 20);
    let start: Start[] | undefined;
    if (family.patchNums.length === 1) {
      const others = joined(part.map(({ others }) => others!));
      const begun = await inferClasses(device, coarse.family, coarse.variant, others, { coarseOnly: true });
      start = begun.map(({ coarse }) => coarse!);
    }
    const tokens = joined(part.map((sample) => sample.tokens[source]));
    inferred.push(...await inferClasses(device, family, variant, tokens, { start }));
  }
  return inferred;
}

const coarse = {
  family: await set.loadTokenizer(device, "var"),
  variant: await set.loadVariant(device, set.variants("var")[0]),
};
const share = (values: readonly boolean[]) => (100 * values.filter(Boolean).length / values.length).toFixed(1);
/** log sum_s pi_s p(x | s), with the prior of the samplers. */
const marginal = (bySampler: readonly Summaries[]) =>
  mixSummaries(bySampler, samplerWeights(bySampler.length), 1)["guided.sum"];
const best = (values: readonly number[]) => values.indexOf(Math.max(...values));

for (const name of options.families.split(",") as FamilyName[]) {
  const family = await set.loadTokenizer(device, name);
  const samples = await read(name, family);
  const variants = set.variants(name);
  let classes = 0;
  for (const variantName of variants) {
    const variant = await set.loadVariant(device, variantName);
    classes = variant.classes;
    const labels = [...Array.from({ length: classes }, (_, c) => c), null];
    const samplers = set.samplersOf(variantName).slice(0, options.settings ? undefined : 1);
    const scorer = new TokenScorer(device, family, variant, samplers, { batch: 40 });
    for (const source of sources) {
      for (let at = 0; at < samples.length; at += 20) {
        const part = samples.slice(at, at + 20);
        const scores = await scorer.score(joined(part.map(({ tokens }) => tokens[source])), part.map(() => labels));
        part.forEach(({ summaries: { [source]: all } }, i) =>
          all[variantName] = samplers.map((_, s) => scores[i].map((bySampler) => summarise(bySampler[s])))
        );
      }
    }
    scorer.dispose();
    variant.dispose();
  }
  const smallest = await set.loadVariant(device, variants[0]);
  const rows: string[][] = [
    [
      "tokens",
      "class",
      "by perplexity %",
      "by guided likelihood %",
      ...options.settings ? ["average over settings %"] : [],
    ],
  ];
  const kept: number[] = [];
  const classRows: string[][] = [["tokens", "top-1 %", "top-3 %", "top-5 %", "cost, passes"]];
  for (const source of sources) {
    const same = samples.flatMap(({ tokens }) => [...tokens.true].map((id, t) => id === tokens.recovered[t]));
    if (source === "recovered") console.log(`${name}: ${share(same)} % of the tokens are recovered`);
    const inferred = await infer(family, smallest, samples, source);
    const weighed = inferred.map(({ top }) => top);
    kept.push(weighed.reduce((sum, classes) => sum + classes.length, 0) / samples.length);
    const places = samples.map(({ label }, i) => weighed[i].findIndex((candidate) => candidate.class === label));
    classRows.push([
      source,
      ...[1, 3, 5].map((k) => share(places.map((place) => place >= 0 && place < k))),
      inferred[0].cost.toFixed(1),
    ]);
    const chosen: Record<string, (byClass: Summaries[], i: number) => Summaries> = {
      none: (byClass) => byClass[classes],
      likeliest: (byClass, i) => byClass[weighed[i][0].class],
      mixture: (byClass, i) =>
        mixSummaries(
          weighed[i].map((candidate) => byClass[candidate.class]),
          weighed[i].map(({ weight }) => weight),
          family.tokenCount,
        ),
      true: (byClass, i) => byClass[samples[i].label],
    };
    for (const [how, pick] of Object.entries(chosen)) {
      const rate = (value: (bySetting: Summaries[]) => number) =>
        share(samples.map(({ variant, summaries }, i) => {
          const values = variants.map((candidate) =>
            value(summaries[source][candidate].map((byClass) => pick(byClass, i)))
          );
          return variants[best(values)] === variant;
        }));
      rows.push([
        ...[source, how, rate(([own]) => own["conditional.sum"]), rate(([own]) => own["guided.sum"])],
        ...options.settings ? [rate(marginal)] : [],
      ]);
    }
  }
  console.log(`${name}: ${samples.length} images, ${classes} classes`);
  console.log(table(rows));
  console.log(`classes in a mixture: ${kept.map((mean) => mean.toFixed(2)).join(", ")} on average\n`);
  console.log(table(classRows));
  smallest.dispose();
  family.dispose();
}
device.close();
