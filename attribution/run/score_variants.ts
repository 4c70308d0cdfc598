/**
 * The transformers' part of the pipeline: infers classes with the smallest variants, then lets every variant score the
 * images that need it, one network after the other. The tokens come from pipeline.ts.
 */
import type { FamilyName } from "../../models/family.ts";
import { yieldToEventLoop } from "../../util/event_loop.ts";
import { Turns } from "../../util/turns.ts";
import { mapFamilies } from "../labels.ts";
import { defaultInference, inferenceOf, type InferredClasses, type Start } from "../likelihood/class_inference.ts";
import type { Summaries } from "../likelihood/summaries.ts";
import { VariantScorer } from "../likelihood/variant_scorer.ts";
import { credit, expectFinite, isComplete, type NetworkOptions, type ReadItem, wantedVariants } from "./image_state.ts";
import { classesStage, variantStage } from "./work_stages.ts";

/** Runs every variant over the images that the method wants it to score and that it has not scored yet. */
export async function measureVariants(items: readonly ReadItem[], options: NetworkOptions): Promise<void> {
  const { signal, settings } = options;
  const wanted = new Map(items.map((item) => [item, wantedVariants(item.measured, options)]));
  const measured = items.filter(({ isRecalled }) => !isRecalled).length;
  for (const name of Object.values(options.variants).flat()) {
    const needed = items.filter((item) => wanted.get(item)!.includes(name) && !(name in item.measured.variants));
    options.work?.expect(variantStage(name), needed.length, measured);
  }
  if (settings.condition === "infer") await measureClasses(items, options);
  const turns = new Turns(options.device.info.kind === "webgpu");
  for (const name of Object.values(options.variants).flat()) {
    const waiting = items.filter((item) => wanted.get(item)!.includes(name) && !(name in item.measured.variants));
    if (waiting.length === 0 || signal?.aborted) continue;
    await withScorer(name, options, async (scorer, batch) => {
      // A class condition takes as much memory as an image. Images of one class share it, so they are sorted by class.
      const most = settings.condition === "none" ? batch : Math.max(1, batch >> 1);
      const first = ({ measured }: ReadItem) => measured.classes?.[scorer.family]?.top[0].class ?? -1;
      const sorted = [...waiting].sort((a, b) => first(a) - first(b));
      for (let at = 0; at < sorted.length && !signal?.aborted;) {
        const batch = sorted.slice(at, at + sizeOfPass(variantStage(name), most, options));
        at += batch.length;
        const work = () => scoreBatch(scorer, batch);
        const { tokenCount } = scorer;
        await turns.add(
          work,
          (summaries, elapsedMs) => keepSummaries(name, batch, { summaries, tokenCount, elapsedMs }, options),
        );
      }
    });
  }
  await turns.end();
  for (const item of items) {
    if (!isComplete(item.measured, options)) continue;
    delete item.measured.tokens;
    delete item.measured.starts;
    credit(item, options);
  }
}

/** Images of the next pass of a stage, at most `most`. */
function sizeOfPass(stage: string, most: number, { work }: NetworkOptions): number {
  return work?.batchOf(stage, most) ?? most;
}

/** Tokens [batch, n] of images. */
function tokensOf(batch: readonly ReadItem[], family: FamilyName, n: number): Int32Array {
  const ids = new Int32Array(batch.length * n);
  batch.forEach((item, i) => ids.set(item.measured.tokens![family], i * n));
  return ids;
}

/** Runs `body` with a scorer of a loaded variant and with the number of images per pass. */
async function withScorer(
  name: string,
  { device, models, plan, settings, extras }: NetworkOptions,
  body: (scorer: VariantScorer, batch: number) => Promise<void>,
): Promise<void> {
  await models.withVariant(name, async (loaded) => {
    const batch = plan.variantBatch.get(name) ?? 1;
    const { family } = loaded.variant;
    const tokenizer = models.tokenizers[family];
    const inference = settings.inference && inferenceOf(settings.inference, family);
    const scoring = { batch, ...plan.scoring?.get(name), inference, extras };
    const scorer = new VariantScorer(device, tokenizer, loaded, scoring);
    try {
      await body(scorer, batch);
    } finally {
      scorer.dispose();
    }
  });
}

/**
 * Infers the classes of images with the smallest variant of every family that the method wants, where they are not
 * known.
 *
 * Where settings have candidates, the first family with scales is the lead. Its candidate classes, compared on coarse
 * scales, are where the search of families without scales starts, if both have the same number of classes and judge images
 * of one size. The lead therefore also runs, on coarse scales only, over images for which only families without scales are
 * wanted.
 */
async function measureClasses(items: readonly ReadItem[], options: NetworkOptions): Promise<void> {
  const { signal, variants, tokenizers, settings } = options;
  const isScaled = (family: FamilyName) => tokenizers[family].patchNums.length > 1;
  const families = Object.keys(variants).filter((family) => variants[family].length > 0);
  const waiting = mapFamilies(families, (family) => items.filter((item) => needsClasses(item, family, options)));
  const scaled = families.filter(isScaled), plain = families.filter((family) => !isScaled(family));
  const { candidates } = settings.inference ?? defaultInference;
  const lead = candidates === 0 ? undefined : scaled.at(0);
  const measured = items.filter(({ isRecalled }) => !isRecalled).length;
  for (const family of families) {
    options.work?.expect(classesStage(variants[family][0]), waiting[family].length, measured);
  }
  for (const family of [...scaled, ...plain]) {
    const whole = waiting[family];
    const needsStart = (item: ReadItem) =>
      item.measured.starts?.[family] === undefined && family in item.measured.families! &&
      plain.some((other) => waiting[other].includes(item));
    const coarseOnly = family === lead ? items.filter((item) => !whole.includes(item) && needsStart(item)) : [];
    if (whole.length + coarseOnly.length === 0 || signal?.aborted) continue;
    const stage = classesStage(variants[family][0]);
    await withScorer(variants[family][0], options, async (scorer, most) => {
      const startOf = ({ measured }: ReadItem) =>
        isScaled(family) || lead === undefined ? undefined : measured.starts?.[lead];
      const isStarted = !isScaled(family) && whole.every((item) => startOf(item)?.classes === scorer.classes);
      for (let at = 0; at < whole.length && !signal?.aborted;) {
        const batch = whole.slice(at, at + sizeOfPass(stage, most, options));
        at += batch.length;
        await passClasses(scorer, batch, isStarted ? batch.map((item) => startOf(item)!) : undefined, options);
      }
      for (let at = 0; at < coarseOnly.length && !signal?.aborted;) {
        const batch = coarseOnly.slice(at, at + sizeOfPass(stage, most, options));
        at += batch.length;
        await passCoarse(scorer, batch, options);
      }
    });
  }
}

function needsClasses({ measured }: ReadItem, family: FamilyName, options: NetworkOptions): boolean {
  return options.wants(measured.families!, measured.facts, measured.sha256).includes(family) &&
    measured.classes?.[family] === undefined &&
    !isComplete(measured, options);
}

/** Compares classes on coarse scales only, and keeps where the search of other families may start. */
async function passCoarse(scorer: VariantScorer, batch: readonly ReadItem[], options: NetworkOptions): Promise<void> {
  const begin = performance.now();
  const inferred = await scorer.infer(tokensOf(batch, scorer.family, scorer.tokenCount), { coarseOnly: true });
  keepStarts(scorer, batch, inferred);
  await keepClasses(batch, performance.now() - begin, options);
}

/** Infers the classes of a batch, from `start` if there is one, and keeps where the search of other families may start. */
async function passClasses(
  scorer: VariantScorer,
  batch: readonly ReadItem[],
  start: readonly Start[] | undefined,
  options: NetworkOptions,
): Promise<void> {
  const begin = performance.now();
  const { family } = scorer;
  const inferred = await scorer.infer(tokensOf(batch, family, scorer.tokenCount), { start });
  batch.forEach(({ measured }, i) => {
    const { top, cost } = inferred[i];
    measured.classes = { ...measured.classes, [family]: { top: [...top], cost } };
  });
  keepStarts(scorer, batch, inferred);
  options.work?.add(classesStage(scorer.name), batch.length);
  await keepClasses(batch, performance.now() - begin, options);
}

function keepStarts(
  { family, classes }: VariantScorer,
  batch: readonly ReadItem[],
  inferred: readonly Pick<InferredClasses, "coarse">[],
): void {
  batch.forEach(({ measured }, i) => {
    const { coarse } = inferred[i];
    if (coarse !== undefined) measured.starts = { ...measured.starts, [family]: { ...coarse, classes } };
  });
}

async function keepClasses(batch: readonly ReadItem[], elapsedMs: number, options: NetworkOptions): Promise<void> {
  for (const item of batch) {
    item.measured.timings.variants += elapsedMs / batch.length;
    credit(item, options);
  }
  await options.remember?.(batch.map((item) => item.measured));
  await yieldToEventLoop();
}

/** Scores the tokens of a batch under the classes of each image if there are any. Everything is recorded before it waits. */
function scoreBatch(scorer: VariantScorer, batch: readonly ReadItem[]): Promise<Summaries[]> {
  const classes = batch.map(({ measured }) => measured.classes?.[scorer.family]?.top ?? []);
  return scorer.summarise(tokensOf(batch, scorer.family, scorer.tokenCount), classes);
}

/** What `scoreBatch` gave. */
interface Scored {
  readonly summaries: readonly Summaries[];
  /** Of an image. */
  readonly tokenCount: number;
  readonly elapsedMs: number;
}

/** Keeps what `scoreBatch` gave for a variant, and how long it took. */
async function keepSummaries(
  name: string,
  batch: readonly ReadItem[],
  { summaries, tokenCount, elapsedMs }: Scored,
  options: NetworkOptions,
): Promise<void> {
  batch.forEach((item, i) => {
    const { measured } = item;
    expectFinite(name, item.input, summaries[i]);
    // Rounding may give a token a probability above 1.
    const meanLogProb = Math.min(0, summaries[i]["conditional.mean"]);
    const perplexity = summaries[i]["conditional.perplexity"];
    measured.variants[name] = { tokens: tokenCount, meanLogProb, perplexity, summaries: summaries[i] };
    measured.timings.variants += elapsedMs / batch.length;
    credit(item, options);
  });
  options.work?.add(variantStage(name), batch.length);
  await options.remember?.(batch.map((item) => item.measured));
  await yieldToEventLoop();
}
