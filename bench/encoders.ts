/**
 * Measures the encoder of a family on processed images: the true tokens it finds, and how well single signals tell the
 * family's images from others. The reconstruction is compared as it is, and after the same edits as the image:
 * deno run -A bench/encoders.ts --data DIR --draws DIR --family NAME [options]
 *
 * All images, generated ones and others, are processed alike. Nothing is timed.
 *   --data DIR          a set that `deno task zoo dataset --seed N --out DIR` drew
 *   --draws DIR         its generated images with their tokens: WORK/dataset/drawN
 *   --family NAME       whose tokenizer reads the images
 *   --models DIR        the set of the tokenizer (default weights/tiny)
 *   --encoder FILE      a fine-tuned encoder in place of the set's
 *   --each N            images of every variant of the family (default 20), half as many of the others
 *   --outliers N        images of every source of outliers (default 12); those of the family's own tokenizer are left out
 *   --edits TEXT        edits as `attribute --edits` has them; may be given more than once (default: the standard ones
 *                       that leave an image in its place)
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { decodeImage } from "../attribution/images/decode.ts";
import { applyEdits, type Edit, parseEdits, standardProcessings } from "../attribution/images/edits/mod.ts";
import type { RgbImage } from "../attribution/images/image.ts";
import { toValueRange } from "../attribution/images/load.ts";
import { parseNameTable } from "../attribution/images/name_table.ts";
import { preprocess } from "../attribution/images/preprocess.ts";
import { auc, tprAtFpr } from "../attribution/metrics/mod.ts";
import { openQuantizer } from "../attribution/quantisation/quantizers.ts";
import { encLoss, invert, meanSquaredError, quantLoss, reconstruct } from "../attribution/signals/reconstruction.ts";
import { openDevice } from "../core/open_device.ts";
import { type Device, disposeAll, fromArray, keep, mul, scope } from "../core/tensor/mod.ts";
import { openCheckpoint } from "../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../models/family.ts";
import { openModelSet } from "../models/model_set.ts";
import { withEncoder } from "../models/overlay.ts";
import { familyNamed } from "../models/registry.ts";
import type { Quantize } from "../attribution/quantisation/quantize.ts";

const batch = 16;

interface Item {
  readonly image: RgbImage;
  /** The true tokens of an image of the family; undefined for others. */
  readonly tokens?: readonly number[];
}

/** The numbers of an image; those that end in `alike` compare it with a reconstruction that was edited like it. */
type Signals = Readonly<Record<string, number>>;

interface Limits {
  readonly each: number;
  readonly outliers: number;
}

/** The images to measure. Sources are the variants, and those of outliers that the family's tokenizer did not make. */
async function readItems(
  data: string,
  draws: string,
  variants: readonly string[],
  family: string,
  { each, outliers }: Limits,
): Promise<Item[]> {
  const table = join(data, "test_labels.csv");
  const rows = parseNameTable(await Deno.readTextFile(table), table, "picture");
  const counts = new Map<string, number>(), items: Item[] = [];
  for (const { image_name: name, label, source, picture } of rows) {
    if (source === `twin-${family}` || source === `reconstruction-${family}`) continue;
    const isOwn = variants.includes(label), count = (counts.get(source) ?? 0) + 1;
    counts.set(source, count);
    if (count > (isOwn ? each : label === "outlier" ? outliers : Math.ceil(each / 2))) continue;
    const image = await decodeImage(await Deno.readFile(join(data, "test", name)));
    if (!isOwn) {
      items.push({ image });
      continue;
    }
    const pair = join(draws, label, `${picture.split("/")[2]}.json`);
    items.push({ image, tokens: JSON.parse(await Deno.readTextFile(pair)).tokens });
  }
  return items;
}

/** The tokens that the encoder finds in edited images, and the signals. */
async function measure(
  device: Device,
  tokenizer: ImageTokenizer,
  quantize: Quantize,
  images: readonly RgbImage[],
  edits: readonly Edit[],
): Promise<{ tokens: Int32Array[]; signals: Signals[] }> {
  const size = tokenizer.imageSize, length = size * size * 3;
  const pixels: Float32Array[] = [];
  for (const image of images) pixels.push(preprocess((await applyEdits(image, edits)).image, size));
  const x = fromArray(device, toValueRange(pixels, tokenizer.valueRange), [images.length, size, size, 3]);
  const results = scope(() => {
    const inversion = invert(tokenizer, x);
    const { tokens, fHat } = quantize(inversion.latent);
    const rebuilt = reconstruct(tokenizer, fHat);
    const quant = quantLoss(inversion.latent, fHat), enc = encLoss(tokenizer, x, inversion);
    return keep({
      ...{ tokens, first: inversion.first, rebuilt, quantLoss: quant },
      ...{ encLoss: enc.calibrated, combined: mul(quant, enc.calibrated) },
      ...{ uncalibrated: enc.uncalibrated, reconstruction: meanSquaredError(rebuilt, x) },
    });
  });
  const { tokens, first, rebuilt, ...signals } = results;
  const ids = await tokens.ints(), values = await Promise.all(Object.values(signals).map((tensor) => tensor.data()));
  const passes = { "uncalibrated, alike": await first.data(), "reconstruction, alike": await rebuilt.data() };
  disposeAll(results);
  const rows = images.map(async (_, i): Promise<Signals> => {
    const row = Object.fromEntries(Object.keys(signals).map((name, k) => [name, values[k][i]]));
    for (const [name, all] of Object.entries(passes)) {
      const bytes = toBytes(all.subarray(i * length, (i + 1) * length), tokenizer);
      const edited = preprocess((await applyEdits(bytes, edits)).image, size);
      row[name] = edited.reduce((sum, value, k) => sum + (value - pixels[i][k]) ** 2, 0) / length;
    }
    return row;
  });
  const { tokenCount } = tokenizer;
  return {
    tokens: images.map((_, i) => ids.subarray(i * tokenCount, (i + 1) * tokenCount)),
    signals: await Promise.all(rows),
  };
}

/** Pixels in the value range as bytes, cut off as the samplers do; a thousandth of a level makes up for rounding. */
function toBytes(values: Float32Array, { imageSize: side, valueRange: [low, high] }: ImageTokenizer): RgbImage {
  const byte = (value: number) => Math.min(255, Math.max(0, Math.floor((value - low) / (high - low) * 255 + 1e-3)));
  return { width: side, height: side, data: Uint8Array.from(values, byte) };
}

/** A line for images after edits: the share of true tokens, then AUC and TPR at 1 % FPR of every signal. */
async function compare(
  device: Device,
  tokenizer: ImageTokenizer,
  quantize: Quantize,
  items: readonly Item[],
  edits: readonly Edit[],
): Promise<string> {
  const members: Signals[] = [], others: Signals[] = [];
  let right = 0, all = 0;
  for (let at = 0; at < items.length; at += batch) {
    const part = items.slice(at, at + batch);
    const { tokens, signals } = await measure(device, tokenizer, quantize, part.map(({ image }) => image), edits);
    part.forEach(({ tokens: truth }, i) => {
      (truth === undefined ? others : members).push(signals[i]);
      truth?.forEach((token, k) => right += Number(token === tokens[i][k]));
      all += truth?.length ?? 0;
    });
  }
  const shown = Object.keys(members[0]).map((name) => {
    const [own, other] = [members, others].map((side) => side.map((row) => row[name]));
    return `${name} ${auc(own, other).toFixed(3)} ${(100 * tprAtFpr(own, other)).toFixed(0)}%`;
  });
  return `tokens ${(100 * right / all).toFixed(1)}%, ${shown.join(", ")}`;
}

async function loadTokenizer(
  device: Device,
  models: string,
  family: string,
  encoder: string | undefined,
): Promise<{ tokenizer: ImageTokenizer; variants: readonly string[] }> {
  const set = await openModelSet(models), variants = set.variants(family);
  if (encoder === undefined) return { tokenizer: await set.loadTokenizer(device, family), variants };
  const source = withEncoder(await set.openNetwork({ family }), await openCheckpoint(encoder));
  try {
    const { config } = set.manifest.families[family].tokenizer;
    return { tokenizer: await familyNamed(family).loadTokenizer(device, source, config), variants };
  } finally {
    source.close();
  }
}

/** Standard processings that neither move the picture nor put it into a canvas. */
const inPlace = standardProcessings.filter(({ edits }) =>
  edits.every(({ name }) => !["mirror", "turn", "crop", "canvas"].includes(name))
);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      draws: { type: "string" },
      family: { type: "string" },
      models: { type: "string", default: "weights/tiny" },
      encoder: { type: "string" },
      each: { type: "string", default: "20" },
      outliers: { type: "string", default: "12" },
      edits: { type: "string", multiple: true },
    },
  });
  const { data, draws, family } = values;
  if (data === undefined || draws === undefined || family === undefined) {
    throw new Error("encoders: expected --data DIR, --draws DIR and --family NAME");
  }
  const device = await openDevice("cpu", { threads: 1 });
  const { tokenizer, variants } = await loadTokenizer(device, values.models, family, values.encoder);
  const quantizer = await openQuantizer("search", tokenizer);
  const limits = { each: Number(values.each), outliers: Number(values.outliers) };
  const items = await readItems(data, draws, variants, family, limits);
  const own = items.filter(({ tokens }) => tokens !== undefined).length;
  console.log(`${own} images of ${family}, ${items.length - own} others`);
  const rows = values.edits?.map((text) => ({ title: text, edits: parseEdits(text) })) ?? inPlace;
  for (const { title, edits } of rows) {
    console.log(`${title}: ${await compare(device, tokenizer, (f) => quantizer.quantize(f), items, edits)}`);
  }
  quantizer.dispose();
  device.close();
}

if (import.meta.main) await main();
