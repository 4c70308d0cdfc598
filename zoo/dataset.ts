/**
 * The small dataset: generated images of all variants, outliers, and their labels, in the layout that users bring.
 * It draws and copies; which networks generate is decided by the model set it is given.
 */
import { join } from "node:path";
import { stringify } from "csv-stringify/sync";
import {
  augment8,
  type Augmentation,
  defaultStrengths,
  type TransformName,
  transformNames,
} from "../attribution/augment/mod.ts";
import { runGeneration } from "../attribution/generation/job.ts";
import { writePng } from "../attribution/generation/png.ts";
import { decodeImage } from "../attribution/images/decode.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { uniforms } from "../core/tensor/mod.ts";
import type { PhotoCrops } from "./crops.ts";

/** Images per split. Seeds and photographs of the splits are disjoint. */
export const datasetRecipe = {
  train: { seed: 11, each: 30 },
  val: { seed: 12, each: 20, photographs: 20, other: 0 },
  test: { seed: 13, each: 30, photographs: 40, other: 20 },
  /** Transforms of the test images, one copy of this many images each. */
  processed: { each: 12 },
} as const;

const orderStream = 0x6f726472, processStream = 0x70726f63;

export interface DatasetOptions {
  /** The model set, and the set whose variant `other` is the generator outside of it. */
  readonly models: string;
  readonly otherModels: string;
  /** Crops of photographs that nothing was trained on. */
  readonly outliers: PhotoCrops;
  readonly out: string;
  /** Folder for what is generated on the way. */
  readonly work: string;
  readonly threads?: number;
  readonly log: (line: string) => void;
}

interface Item {
  readonly label: string;
  /** Where it comes from: a label, `photograph`, or `other-generator`. */
  readonly source: string;
  readonly png: Uint8Array<ArrayBuffer>;
}

/** Writes train/, val/, test/ with test_labels.csv, and processed/ with processed_labels.csv. */
export async function writeDataset(options: DatasetOptions): Promise<void> {
  const { out, log } = options;
  const { train, val, test } = datasetRecipe;
  await Deno.remove(out, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  // Even photographs belong to val, odd ones to test.
  const photographs = (split: "val" | "test") =>
    photos(options.outliers, split === "val" ? 0 : 1, datasetRecipe[split].photographs, datasetRecipe[split].seed);
  await writeFolders(join(out, "train"), await generated(options, "train", train));
  await writeFolders(join(out, "val"), [...await generated(options, "val", val), ...photographs("val")]);
  const others = await otherGenerator(options, test.seed, test.other);
  const shuffled = shuffle([...await generated(options, "test", test), ...photographs("test"), ...others], test.seed);
  const named = shuffled.map((item, i) => ({ name: `${String(i + 1).padStart(4, "0")}.png`, ...item }));
  await Deno.mkdir(join(out, "test"), { recursive: true });
  for (const { name, png } of named) await Deno.writeFile(join(out, "test", name), png);
  await writeCsv(
    join(out, "test_labels.csv"),
    ["image_name", "label", "source"],
    named.map(({ name, label, source }) => [name, label, source]),
  );
  await writeProcessed(join(out, "processed"), named, test.seed);
  log(`${out}: ${named.length} test images`);
}

/** Images of every variant, drawn into the working folder and read back. */
async function generated(
  { models, work, threads, log }: DatasetOptions,
  split: string,
  { seed, each }: { readonly seed: number; readonly each: number },
): Promise<Item[]> {
  const dir = join(work, "dataset", split);
  const summary = await runGeneration(
    { models, variants: ["all"], count: each, seed, out: dir, resume: true, device: "cpu", threads },
    { onPrepare: (text) => log(`${split}: ${text}`) },
  );
  const items: Item[] = [];
  for (const label of summary.variants) {
    for (let i = 0; i < each; i++) {
      items.push({ label, source: label, png: await Deno.readFile(join(dir, label, `${i}.png`)) });
    }
  }
  return items;
}

async function otherGenerator(
  { otherModels, work, threads }: DatasetOptions,
  seed: number,
  count: number,
): Promise<Item[]> {
  const dir = join(work, "dataset", "other");
  await runGeneration({
    models: otherModels,
    variants: ["other"],
    count,
    seed,
    out: dir,
    resume: true,
    device: "cpu",
    threads,
  });
  const pngs = await Promise.all(Array.from({ length: count }, (_, i) => Deno.readFile(join(dir, `${i}.png`))));
  return pngs.map((png) => ({ label: "outlier", source: "other-generator", png }));
}

/** Crops of the photographs with the given parity, at most one per photograph as long as there are enough. */
function photos({ pixels, photo, count, side }: PhotoCrops, parity: 0 | 1, wanted: number, seed: number): Item[] {
  const order = shuffle(Array.from({ length: count }, (_, i) => i).filter((i) => photo[i] % 2 === parity), seed);
  const used = new Map<number, number>();
  const rank = new Map(order.map((i) => {
    const times = used.get(photo[i]) ?? 0;
    used.set(photo[i], times + 1);
    return [i, times];
  }));
  const chosen = order.sort((a, b) => rank.get(a)! - rank.get(b)!).slice(0, wanted);
  const each = side * side * 3;
  return chosen.map((i) => {
    const image: RgbImage = { width: side, height: side, data: pixels.slice(i * each, (i + 1) * each) };
    return { label: "outlier", source: "photograph", png: writePng(image) };
  });
}

/** Copies of test images after each of the seven transforms at its usual strength; labels are those of the originals. */
async function writeProcessed(dir: string, test: readonly (Item & { readonly name: string })[], seed: number) {
  await Deno.mkdir(dir, { recursive: true });
  const rows: string[][] = [];
  const draws = uniforms(seed, processStream, transformNames.length * datasetRecipe.processed.each);
  for (const [t, transform] of transformNames.entries()) {
    for (let i = 0; i < datasetRecipe.processed.each; i++) {
      const original = test[Math.floor(draws[t * datasetRecipe.processed.each + i] * test.length)];
      const name = `${transform}_${original.name}`;
      if (rows.some(([other]) => other === name)) continue;
      const image = await augment8(await decodeImage(original.png), strength(transform, i));
      await Deno.writeFile(join(dir, name), writePng(image));
      rows.push([name, original.label, original.source, transform, original.name]);
    }
  }
  await writeCsv(
    join(dir, "..", "processed_labels.csv"),
    ["image_name", "label", "source", "transform", "original"],
    rows,
  );
}

function strength(name: TransformName, seed: number): Augmentation {
  const value = defaultStrengths[name];
  if (name === "noise") return { name, strength: value, seed };
  if (name === "kernel") return { name, strength: value, sigma: 1 };
  return { name, strength: value };
}

async function writeFolders(dir: string, items: readonly Item[]): Promise<void> {
  const counts = new Map<string, number>();
  for (const { label, png } of items) {
    const number = (counts.get(label) ?? 0) + 1;
    counts.set(label, number);
    await Deno.mkdir(join(dir, label), { recursive: true });
    await Deno.writeFile(join(dir, label, `${String(number).padStart(3, "0")}.png`), png);
  }
}

async function writeCsv(path: string, columns: readonly string[], rows: readonly string[][]): Promise<void> {
  await Deno.writeTextFile(path, stringify([[...columns], ...rows]));
}

function shuffle<T>(items: readonly T[], seed: number): T[] {
  const shuffled = [...items];
  const draws = uniforms(seed, orderStream, shuffled.length);
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = Math.floor(draws[i] * (i + 1));
    [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
  }
  return shuffled;
}
