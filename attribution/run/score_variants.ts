/**
 * The transformers' part of the pipeline: infers classes with the smallest variants, then lets every variant score the
 * images that need it, one network after the other. The tokens come from pipeline.ts.
 */
import type { FamilyName } from "../../models/family.ts";
import { chunks } from "../../util/chunks.ts";
import { Turns } from "../../util/turns.ts";
import { mapFamilies } from "../labels.ts";
import type { Start } from "../likelihood/class_inference.ts";
import type { Summaries } from "../likelihood/summaries.ts";
import { VariantScorer } from "../likelihood/variant_scorer.ts";
import {
  credit,
  expectFinite,
  familyShare,
  isComplete,
  type ReadItem,
  type StreamOptions,
  wantedVariants,
  yieldToEventLoop,
} from "./image_state.ts";

/** Runs every variant over the images that the method wants it to score and that it has not scored yet. */
export async function measureVariants(items: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const { signal, settings } = options;
  if (settings.condition === "infer") await measureClasses(items, options);
  const wanted = new Map(items.map((item) => [item, wantedVariants(item.measured, options)]));
  const turns = new Turns(options.device.info.kind === "webgpu");
  for (const name of Object.values(options.variants).flat()) {
    const waiting = items.filter((item) => wanted.get(item)!.includes(name) && !(name in item.measured.variants));
    if (waiting.length === 0 || signal?.aborted) continue;
    await withScorer(name, options, async (scorer, batch) => {
      // A class condition takes as much memory as an image. Images of one class share it, so they are sorted by class.
      const size = settings.condition === "none" ? batch : Math.max(1, batch >> 1);
      const first = ({ measured }: ReadItem) => measured.classes?.[scorer.family]?.top[0].class ?? -1;
      const sorted = [...waiting].sort((a, b) => first(a) - first(b));
      for (let at = 0; at < sorted.length && !signal?.aborted; at += size) {
        const batch = sorted.slice(at, at + size);
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
    credit(item, 1, options);
  }
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
  { device, models, plan, settings, extras }: StreamOptions,
  body: (scorer: VariantScorer, batch: number) => Promise<void>,
): Promise<void> {
  await models.withVariant(name, async (loaded) => {
    const batch = plan.variantBatch.get(name) ?? 1;
    const tokenizer = models.tokenizers[loaded.variant.family];
    const { inference } = settings;
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
 * The first family with scales is the lead. Its candidate classes, compared on coarse scales, are where the search of
 * families without scales starts, if both have the same number of classes. The lead therefore also runs, on coarse
 * scales only, over images for which only families without scales are wanted.
 */
async function measureClasses(items: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const { signal, variants, models } = options;
  const isScaled = (family: FamilyName) => models.tokenizers[family].patchNums.length > 1;
  const families = Object.keys(variants).filter((family) => variants[family].length > 0);
  const waiting = mapFamilies(families, (family) => items.filter((item) => needsClasses(item, family, options)));
  const scaled = families.filter(isScaled), plain = families.filter((family) => !isScaled(family));
  const [lead] = scaled;
  const starts = new Map<ReadItem, Start>();
  let leadClasses = 0;
  for (const family of [...scaled, ...plain]) {
    const whole = waiting[family];
    const coarseOnly = family === lead
      ? items.filter((item) => !whole.includes(item) && plain.some((other) => waiting[other].includes(item)))
      : [];
    if (whole.length + coarseOnly.length === 0 || signal?.aborted) continue;
    await withScorer(variants[family][0], options, async (scorer, size) => {
      if (family === lead) leadClasses = scorer.classes;
      const start = !isScaled(family) && starts.size > 0 && leadClasses === scorer.classes ? starts : undefined;
      for (const batch of chunks(whole, size)) {
        if (signal?.aborted) return;
        const coarse = await passClasses(scorer, batch, start, options);
        if (family === lead) batch.forEach((item, i) => starts.set(item, coarse[i]!));
      }
      for (const batch of chunks(coarseOnly, size)) {
        if (signal?.aborted) return;
        const coarse = await passCoarse(scorer, batch);
        batch.forEach((item, i) => starts.set(item, coarse[i]!));
        await yieldToEventLoop();
      }
    });
  }
}

function needsClasses({ measured }: ReadItem, family: FamilyName, options: StreamOptions): boolean {
  return options.wants(measured.families!, measured.facts).includes(family) &&
    measured.classes?.[family] === undefined &&
    !isComplete(measured, options);
}

/** Compares classes on coarse scales only, and returns where the search of other families may start. */
async function passCoarse(scorer: VariantScorer, batch: readonly ReadItem[]): Promise<(Start | undefined)[]> {
  const begin = performance.now();
  const inferred = await scorer.infer(tokensOf(batch, scorer.family, scorer.tokenCount), { coarseOnly: true });
  const elapsed = (performance.now() - begin) / batch.length;
  for (const item of batch) item.measured.timings.variants += elapsed;
  return inferred.map(({ coarse }) => coarse);
}

/**
 * Infers the classes of a batch, from `starts` if there are any. Returns where the search of other families may start.
 */
async function passClasses(
  scorer: VariantScorer,
  batch: readonly ReadItem[],
  starts: ReadonlyMap<ReadItem, Start> | undefined,
  options: StreamOptions,
): Promise<(Start | undefined)[]> {
  const begin = performance.now();
  const { family } = scorer;
  const start = starts && batch.map((item) => starts.get(item)!);
  const inferred = await scorer.infer(tokensOf(batch, family, scorer.tokenCount), { start });
  const elapsed = (performance.now() - begin) / batch.length;
  batch.forEach((item, i) => {
    const { top, cost } = inferred[i];
    item.measured.classes = { ...item.measured.classes, [family]: { top: [...top], cost } };
    item.measured.timings.variants += elapsed;
  });
  await options.remember?.(batch.map((item) => item.measured));
  await yieldToEventLoop();
  return inferred.map(({ coarse }) => coarse);
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
  options: StreamOptions,
): Promise<void> {
  batch.forEach((item, i) => {
    const { measured } = item;
    expectFinite(name, item.input, summaries[i]);
    // Rounding may give a token a probability above 1.
    const meanLogProb = Math.min(0, summaries[i]["conditional.mean"]);
    const perplexity = summaries[i]["conditional.perplexity"];
    measured.variants[name] = { tokens: tokenCount, meanLogProb, perplexity, summaries: summaries[i] };
    measured.timings.variants += elapsedMs / batch.length;
    const wanted = wantedVariants(measured, options);
    const done = wanted.filter((label) => label in measured.variants).length;
    credit(item, familyShare + (1 - familyShare) * done / wanted.length, options);
  });
  await options.remember?.(batch.map((item) => item.measured));
  await yieldToEventLoop();
}
