/**
 * The transformers' half of the pipeline: classes inferred by the smallest variants, then every variant over the images that
 * need it, one network after the other. Tokens come from the tokenizers' half in pipeline.ts; it decides nothing.
 */
import type { FamilyName } from "../../models/family.ts";
import { chunks } from "../../util/chunks.ts";
import { mapFamilies } from "../labels.ts";
import type { Start } from "../likelihood/class_inference.ts";
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

/** Runs every variant over the images for which the method wants it and which it has not seen yet. */
export async function measureVariants(items: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const { signal, settings } = options;
  if (settings.condition === "infer") await measureClasses(items, options);
  const wanted = new Map(items.map((item) => [item, wantedVariants(item.measured, options)]));
  for (const name of Object.values(options.variants).flat()) {
    const waiting = items.filter((item) => wanted.get(item)!.includes(name) && !(name in item.measured.variants));
    if (waiting.length === 0 || signal?.aborted) continue;
    await withScorer(name, options, async (scorer, batch) => {
      // With a condition, an image takes the place of two; those of one class share what depends on it.
      const size = settings.condition === "none" ? batch : Math.max(1, batch >> 1);
      const first = ({ measured }: ReadItem) => measured.classes?.[scorer.family]?.top[0].class ?? -1;
      const sorted = [...waiting].sort((a, b) => first(a) - first(b));
      for (let at = 0; at < sorted.length && !signal?.aborted; at += size) {
        await passVariant(name, scorer, sorted.slice(at, at + size), options);
      }
    });
  }
  for (const item of items) {
    if (!isComplete(item.measured, options)) continue;
    delete item.measured.tokens;
    credit(item, 1, options);
  }
}

/** Tokens of a batch in a row. */
function tokensOf(batch: readonly ReadItem[], family: FamilyName, n: number): Int32Array {
  const ids = new Int32Array(batch.length * n);
  batch.forEach((item, i) => ids.set(item.measured.tokens![family], i * n));
  return ids;
}

/** Runs `body` with a loaded variant as a scorer, and with the number of images that go through it at once. */
async function withScorer(
  name: string,
  { device, models, plan, settings, extras }: StreamOptions,
  body: (scorer: VariantScorer, batch: number) => Promise<void>,
): Promise<void> {
  await models.withVariant(name, async (loaded) => {
    const batch = plan.variantBatch.get(name) ?? 1;
    const tokenizer = models.tokenizers[loaded.variant.family];
    const { inference } = settings;
    const own = { batch, ...plan.scoring?.get(name), inference, extras };
    const scorer = new VariantScorer(device, tokenizer, loaded, own);
    try {
      await body(scorer, batch);
    } finally {
      scorer.dispose();
    }
  });
}

/**
 * Infers what images may show, for every family that the method wants and where it is not known yet, by the smallest
 * variant of each family. The first family with scales leads, also for images that only families without scales are wanted
 * for: its coarse scales are where those begin, as long as both have the same number of classes.
 */
async function measureClasses(items: readonly ReadItem[], options: StreamOptions): Promise<void> {
  const { signal, variants, wants, models } = options;
  const isScaled = (family: FamilyName) => models.tokenizers[family].patchNums.length > 1;
  const known = Object.keys(variants).filter((family) => variants[family].length > 0);
  const waiting = mapFamilies(
    known,
    (family) =>
      items.filter(({ measured }) =>
        wants(measured.families!).includes(family) && measured.classes?.[family] === undefined &&
        !isComplete(measured, options)
      ),
  );
  const scaled = known.filter(isScaled), plain = known.filter((family) => !isScaled(family));
  const [lead] = scaled;
  const starts = new Map<ReadItem, Start>();
  let classes = 0;
  for (const family of [...scaled, ...plain]) {
    const own = waiting[family];
    const others = family === lead
      ? items.filter((item) => !own.includes(item) && plain.some((other) => waiting[other].includes(item)))
      : [];
    if (own.length + others.length === 0 || signal?.aborted) continue;
    await withScorer(variants[family][0], options, async (scorer, size) => {
      if (family === lead) classes = scorer.classes;
      const start = !isScaled(family) && starts.size > 0 && classes === scorer.classes ? starts : undefined;
      for (const batch of chunks(own, size)) {
        if (signal?.aborted) return;
        const coarse = await passClasses(scorer, batch, start, options);
        if (family === lead) batch.forEach((item, i) => starts.set(item, coarse[i]!));
      }
      for (const batch of chunks(others, size)) {
        if (signal?.aborted) return;
        const coarse = await passCoarse(scorer, batch);
        batch.forEach((item, i) => starts.set(item, coarse[i]!));
        await yieldToEventLoop();
      }
    });
  }
}

/** Compares classes on coarse scales alone. */
async function passCoarse(scorer: VariantScorer, batch: readonly ReadItem[]): Promise<(Start | undefined)[]> {
  const begin = performance.now();
  const inferred = await scorer.infer(tokensOf(batch, scorer.family, scorer.tokenCount), { coarseOnly: true });
  const elapsed = (performance.now() - begin) / batch.length;
  for (const item of batch) item.measured.timings.variants += elapsed;
  return inferred.map(({ coarse }) => coarse);
}

/** Infers the classes of a batch, beginning with `starts` where there are any; returns where other families may begin. */
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

/** One pass of a variant over the tokens of a batch, under the classes of each image where there are any. */
async function passVariant(
  name: string,
  scorer: VariantScorer,
  batch: readonly ReadItem[],
  options: StreamOptions,
): Promise<void> {
  const start = performance.now();
  const n = scorer.tokenCount;
  const classes = batch.map(({ measured }) => measured.classes?.[scorer.family]?.top ?? []);
  const summaries = await scorer.summarise(tokensOf(batch, scorer.family, n), classes);
  const elapsed = (performance.now() - start) / batch.length;
  batch.forEach((item, i) => {
    expectFinite(name, item.input, summaries[i]);
    const meanLogProb = Math.min(0, summaries[i]["conditional.mean"]); // rounding may put a certain token above 0
    const perplexity = summaries[i]["conditional.perplexity"];
    item.measured.variants[name] = { tokens: n, meanLogProb, perplexity, summaries: summaries[i] };
    item.measured.timings.variants += elapsed;
    const wanted = wantedVariants(item.measured, options);
    const done = wanted.filter((label) => label in item.measured.variants).length;
    credit(item, familyShare + (1 - familyShare) * done / wanted.length, options);
  });
  await options.remember?.(batch.map((item) => item.measured));
  await yieldToEventLoop();
}
