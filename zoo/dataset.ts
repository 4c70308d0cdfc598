/**
 * The small dataset: generated images of all variants, outliers, and their labels, in the layout that users bring; and
 * sets like its test images, drawn anew. What outliers are is in nonmembers.ts.
 */
import { dirname, join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import {
  augment8,
  type Augmentation,
  defaultStrengths,
  type TransformName,
  transformNames,
} from "../attribution/images/augment/mod.ts";
import { decodeImage } from "../attribution/images/decode.ts";
import { type Device, uniforms } from "../core/tensor/mod.ts";
import { writePng } from "../attribution/images/png.ts";
import { CropQueue, photosOf, shuffled } from "./crop_queue.ts";
import type { PhotoCrops } from "./crops.ts";
import { sharpness, sharpnessDeciles } from "./blur.ts";
import { type Counts, type DatasetPlan, type SplitPlan, testOutliers } from "./dataset_plan.ts";
import { drawn, type Item, lazily, type Material, nonmembers, type NonmemberSource } from "./nonmembers.ts";
import { photos as photoTable } from "./photos.ts";

const processStream = 0x70726f63;

/** What sets are made of. */
export interface DatasetMaterial {
  readonly device: Device;
  /** How many images of what. */
  readonly plan: DatasetPlan;
  /** The model set. */
  readonly models: string;
  /** Names of its variants that images are drawn from. */
  readonly variants: readonly string[];
  /** Folder of the set with a generator outside of `models`. Throws where it is not there. */
  readonly outsider: (name: string) => string;
  /** Crops of photographs that nothing was trained on; one or more splits. */
  readonly unseen: readonly PhotoCrops[];
  /** Crops of photographs that the networks were trained on. */
  readonly train: PhotoCrops;
  readonly out: string;
  /** Folder for what is generated on the way. */
  readonly work: string;
  readonly threads?: number;
  readonly log: (line: string) => void;
}

/** A file of a set. */
interface NamedItem extends Item {
  /** Path below the folder of its split. */
  readonly name: string;
}

/**
 * Writes train/, val/, test/ and processed/ with tables of labels. With `keep`, files that are in `out` already stay
 * what they are; throws where its table of labels says something else than the recipe.
 */
export async function writeDataset(options: DatasetMaterial & { readonly keep?: boolean }): Promise<void> {
  const { out, log, keep = false, plan } = options;
  const { val, test } = plan;
  const photographs = datasetPhotographs(options);
  const forVal = material(options, "val", val.seed, { unseen: photographs.val });
  const forTest = material(options, "test", test.seed, { unseen: photographs.test, seen: datasetSeen(options) });
  const valItems = numbered([...members(options, forVal, val.each), ...outliersOf(forVal, val.outliers)]);
  const first = shuffled([...members(options, forTest, test.each), ...outliersOf(forTest, test.outliers)], test.seed);
  const added = shuffled(outliersOf(forTest, test.added ?? {}, test.outliers), test.seed);
  const testItems = listed([...first, ...added]);
  if (keep) await expectSame(join(out, "test_labels.csv"), testItems);
  // Only when everything is there does it take the former dataset's place.
  const next = `${out}.new`, old = keep ? out : undefined;
  await removeFolder(next);
  await writeItems(next, "train", numbered(trainItems(options)), old);
  await writeItems(next, "val", valItems, old);
  await writeItems(next, "test", testItems, old);
  await writeProcessed(next, testItems.slice(0, first.length), plan);
  const pictures = valItems.filter(({ photo }) => photo !== undefined).map(({ name, picture }) => [name, picture]);
  await Deno.writeTextFile(join(next, "val", "pictures.csv"), stringify([["image_name", "picture"], ...pictures]));
  await writeTable(join(next, "test_labels.csv"), testItems);
  await Deno.writeTextFile(join(next, "CREDITS.md"), credits([...valItems, ...testItems], options));
  await removeFolder(out);
  await Deno.rename(next, out);
  log(`${out}: ${testItems.length} test images`);
}

/**
 * Writes train/, val/ and test/ with images of variants that the dataset does not have, as many of each as it has of its
 * own, and the table of test. Seeds are the dataset's: variants have random numbers of their own.
 */
export async function writeAddition(options: DatasetMaterial): Promise<void> {
  const { out, log } = options, { train, val, test } = options.plan;
  const of = (split: string, { seed, each }: SplitPlan) => members(options, material(options, split, seed), each);
  // The dataset's own test images have lower numbers, so that both folders can be evaluated at once.
  const testItems = listed(shuffled([...of("test", test)], test.seed), addedFrom);
  const next = `${out}.new`;
  await removeFolder(next);
  await writeItems(next, "train", numbered(of("train", train)));
  await writeItems(next, "val", numbered(of("val", val)));
  await writeItems(next, "test", testItems);
  await writeTable(join(next, "test_labels.csv"), testItems);
  await removeFolder(out);
  await Deno.rename(next, out);
  log(`${out}: ${testItems.length} test images`);
}

/** How a set is drawn anew. */
export interface DrawOptions {
  /** Of everything that is drawn; other than those of the dataset. */
  readonly seed: number;
  /** Images of each variant. */
  readonly each: number;
  /** Images of each source of outliers. */
  readonly outliers: number;
  /** Sources of outliers to leave out, such as those whose generator is not there. Default: none. */
  readonly without?: readonly string[];
}

/**
 * Writes test/ and test_labels.csv with images that the dataset does not have: of all variants and of all sources of
 * outliers. Crops are of the photographs in the dataset's test and of those that may not be given on, so neither may
 * the set.
 */
export async function writeDraw(
  options: DatasetMaterial,
  { seed, each, outliers, without = [] }: DrawOptions,
): Promise<void> {
  const { out, train, plan } = options;
  const used = [plan.train, plan.val, plan.test].map((split) => split.seed);
  if (used.some((taken) => taken === seed)) {
    throw new RangeError(
      `zoo dataset --seed: expected another seed than the dataset's ${used.join(", ")}, got ${seed}`,
    );
  }
  const { given, kept } = photosOf([train]);
  const wanted = testOutliers(plan), taken = datasetSeen(options).take(wanted["trained-on"] ?? 0);
  const from = material(options, `draw${seed}`, seed, {
    unseen: drawPhotographs(options, seed),
    seen: new CropQueue([train], shuffled([...given, ...kept], seed), seed, taken),
  });
  const sources = drawnSources(plan).filter((source) => !without.includes(source));
  const counts = Object.fromEntries(sources.map((source) => [source, outliers]));
  const items = listed(shuffled([...members(options, from, each), ...outliersOf(from, counts)], seed));
  const table = join(out, "test_labels.csv");
  await Deno.mkdir(out, { recursive: true });
  if (await readIfThere(table) === undefined) await writeTable(table, items);
  else await expectSame(table, items);
  await writeItems(out, "test", items, out);
  options.log(`${out}: ${items.length} images; not to be given on`);
}

/** What sources of a split draw on. */
function material(
  options: DatasetMaterial,
  split: string,
  seed: number,
  { unseen, seen }: Partial<Pick<Material, "unseen" | "seen">> = {},
): Material {
  const { device, models, outsider, train, work, threads, log } = options;
  const none = new CropQueue([], [], seed);
  return {
    ...{ device, models, outsider, train, seed, threads, log },
    sharpness: lazily(() => generatedSharpness(options)),
    work: join(work, "dataset", split),
    unseen: unseen ?? none,
    seen: seen ?? none,
  };
}

/** The deciles that the plan has, or else those of the images in train. */
async function generatedSharpness(options: DatasetMaterial): Promise<readonly number[]> {
  if (options.plan.sharpness !== undefined) return options.plan.sharpness;
  const values: number[] = [];
  for (const { png } of trainItems(options)) values.push(sharpness(await decodeImage(await png())));
  return sharpnessDeciles(values);
}

/** The images of the split train. */
function trainItems(options: DatasetMaterial): readonly Item[] {
  const { seed, each } = options.plan.train;
  return members(options, material(options, "train", seed), each);
}

/**
 * The photographs of val and of test: every second one of those that nothing was trained on and that may be taken. In
 * what is given on, these are the ones whose copyright file has an entry of their own.
 */
function datasetPhotographs({ unseen, plan: { val, test, isGivenOn } }: DatasetMaterial): {
  readonly val: CropQueue;
  readonly test: CropQueue;
} {
  const { given, kept } = photosOf(unseen);
  const usable = isGivenOn ? given : [...given, ...kept];
  const every = (parity: 0 | 1) => usable.filter((_, rank) => rank % 2 === parity);
  return {
    val: new CropQueue(unseen, every(0), val.seed),
    test: new CropQueue(unseen, every(1), test.seed),
  };
}

/** Photographs of the split train that may be given on, in the order in which test takes one crop of each. */
function datasetSeen({ train, plan: { test: { seed } } }: DatasetMaterial): CropQueue {
  return new CropQueue([train], shuffled(photosOf([train]).given, seed), seed);
}

/** Crops for a set drawn anew: none of those in the dataset, and none of val's photographs. */
function drawPhotographs(options: DatasetMaterial, seed: number): CropQueue {
  const { unseen, plan } = options, { given, kept } = photosOf(unseen);
  const taken = datasetPhotographs(options).test.take(
    Object.entries(testOutliers(plan)).reduce((sum, [source, n]) => unseenSources.includes(source) ? sum + n : sum, 0),
  );
  const odd = (photos: readonly number[]) => photos.filter((_, rank) => rank % 2 === 1);
  const usable = plan.isGivenOn ? [...odd(given), ...kept] : odd([...given, ...kept]);
  return new CropQueue(unseen, shuffled(usable, seed), seed, taken);
}

/** The sources of outliers in a set drawn anew, in the order of the plan. */
function drawnSources({ test: { outliers, added } }: DatasetPlan): readonly string[] {
  return Object.keys(added ?? outliers);
}

/** The sources that take crops of photographs that nothing was trained on. */
const unseenSources = ["photograph", "reconstruction-rar", "reconstruction-var", "blurred-photograph"];

/** Images of all variants of the set. */
function members({ variants }: DatasetMaterial, from: Material, count: number): readonly Item[] {
  return drawn(from, from.models, { variants, count }, from.work);
}

/** Outliers, source after source, behind those that `before` counts. */
function outliersOf(from: Material, counts: Counts, before: Counts = {}): readonly Item[] {
  return (Object.entries(counts) as [NonmemberSource, number][])
    .flatMap(([source, count]) => nonmembers(from, source, count, before[source]));
}

/** More than the dataset has test images. */
const addedFrom = 2000;

/** Items under numbers that say nothing, behind `before` others. */
function listed(items: readonly Item[], before = 0): NamedItem[] {
  return items.map((item, i) => ({ ...item, name: `${String(before + i + 1).padStart(4, "0")}.png` }));
}

/** Items in folders of their labels. */
function numbered(items: readonly Item[]): NamedItem[] {
  const counts = new Map<string, number>();
  return items.map((item) => {
    const number = (counts.get(item.label) ?? 0) + 1;
    counts.set(item.label, number);
    return { ...item, name: `${item.label}/${String(number).padStart(3, "0")}.png` };
  });
}

/** Throws where a table of labels, as far as it goes, names other images than `items`. */
async function expectSame(path: string, items: readonly NamedItem[]): Promise<void> {
  const rows: string[][] = parse(await Deno.readTextFile(path), { from_line: 2 });
  rows.forEach((row, i) => {
    const { name, label, source, picture } = items[i] ?? {};
    const expected = [name, label, source, picture].slice(0, row.length);
    if (expected.join() === row.join()) return;
    throw new Error(`${path}: line ${i + 2}: expected ${expected}, got ${row}: belongs to a set of another recipe`);
  });
}

/** Writes the files of a split; those that the dataset `old` has are copied from there. */
async function writeItems(out: string, split: string, items: readonly NamedItem[], old?: string): Promise<void> {
  for (const { name, png } of items) {
    const path = join(out, split, name);
    await Deno.mkdir(dirname(path), { recursive: true });
    const former = old === undefined ? undefined : await readIfThere(join(old, split, name));
    if (former === undefined || old !== out) await Deno.writeFile(path, former ?? await png());
  }
}

async function readIfThere(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function removeFolder(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Who made the photographs of a dataset, and under which licences their crops are given on. */
function credits(items: readonly Item[], { train: { side }, plan: { isGivenOn } }: DatasetMaterial): string {
  const used = [...new Set(items.flatMap(({ photo }) => photo ?? []))].sort((a, b) => a - b).map((at) =>
    photoTable[at]
  );
  const about =
    `The outliers called \`photograph\` and \`trained-on\` are ${side}x${side} crops, reduced in size, of ` +
    "the photographs below; those called\n`blurred-photograph`, `reconstruction-rar` and `reconstruction-var` were made " +
    "from such crops. Each is under the licence\nof its photograph, which the column `picture` of the tables names. " +
    `Everything else in this folder was generated by the\nnetworks in ${
      isGivenOn ? "weights/tiny" : "the set"
    } and by others of the zoo, or made from these images.\n`;
  const limits = isGivenOn
    ? ""
    : "\nSome photographs have no entry of their own in their package's copyright file, so " +
      "that the package's applies:\nthis folder is for measurements, and is not to be given on.\n";
  const rows = used.map(({ id, package: source, author, licence }) => `| ${id} | ${source} | ${licence} | ${author} |`);
  const head = ["| photograph | Debian package | licence | authors |", "| --- | --- | --- | --- |"];
  return `# Photographs\n\n${about}${limits}\n${[...head, ...rows].join("\n")}\n`;
}

/**
 * Copies of test images after each of the seven transforms at its usual strength; labels are those of the originals.
 */
async function writeProcessed(out: string, test: readonly NamedItem[], plan: DatasetPlan): Promise<void> {
  if (plan.processed === undefined) return;
  const { processed: { each }, test: { seed } } = plan;
  await Deno.mkdir(join(out, "processed"), { recursive: true });
  const rows: string[][] = [];
  const draws = uniforms(seed, processStream, transformNames.length * each);
  for (const [t, transform] of transformNames.entries()) {
    for (let i = 0; i < each; i++) {
      const original = test[Math.floor(draws[t * each + i] * test.length)];
      const name = `${transform}_${original.name}`;
      if (rows.some(([other]) => other === name)) continue;
      const source = await decodeImage(await Deno.readFile(join(out, "test", original.name)));
      await Deno.writeFile(join(out, "processed", name), writePng(await augment8(source, strength(transform, i))));
      rows.push([name, original.label, original.source, transform, original.name]);
    }
  }
  const columns = ["image_name", "label", "source", "transform", "original"];
  await Deno.writeTextFile(join(out, "processed_labels.csv"), stringify([columns, ...rows]));
}

function strength(name: TransformName, seed: number): Augmentation {
  const value = defaultStrengths[name];
  if (name === "noise") return { name, strength: value, seed };
  if (name === "kernel") return { name, strength: value, sigma: 1 };
  return { name, strength: value };
}

async function writeTable(path: string, items: readonly NamedItem[]): Promise<void> {
  const rows = items.map(({ name, label, source, picture }) => [name, label, source, picture]);
  await Deno.writeTextFile(path, stringify([["image_name", "label", "source", "picture"], ...rows]));
}
