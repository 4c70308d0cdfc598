/**
 * Measures quantisers on a trained set: true tokens found, errors, and how well QuantLoss tells VAR's images from
 * others: deno run -A bench/quantisation_zoo.ts --models DIR --members DIR --others rar=DIR [--crops DIR] [options]
 *
 * Members are folders that `deno task generate` wrote (0.png with 0.json, ...). Nothing is timed.
 *   --others NAME=DIR   a folder of images of a source of nonmembers; may be given more than once, as --members may
 *   --crops DIR         photographs as a source: --count crops each of the splits val and outlier (zoo/crops.ts)
 *   --encoder FILE      a fine-tuned encoder in place of the set's
 *   --count N           images of every folder (default 100)
 *   --quantizer NAME    default: all; may be given more than once
 *   --shares LIST       parts of the members' encoder errors to keep (default 1): with 0 the latents are those of the
 *                       true tokens, with 0.6 those of an encoder with 0.36 of the error
 *   --stop N            where the schedule of `gradient` stops: 0 for a call of 200 iterations per scale
 *   --out FILE          results as JSON
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { decodePixels, readImageFile, toValueRange } from "../attribution/images/load.ts";
import { auc, tprAtFpr } from "../attribution/metrics/mod.ts";
import { OptimisedQuantizer, referenceSchedule } from "../attribution/quantisation/mod.ts";
import { latentOf, meanSquaredError } from "../attribution/signals/reconstruction.ts";
import {
  openQuantizer,
  type Quantizer,
  type QuantizerName,
  quantizerNames,
} from "../attribution/quantisation/quantizers.ts";
import { openDevice } from "../core/open_device.ts";
import { type Device, disposeAll, fromArray, keep, scope } from "../core/tensor/mod.ts";
import { openCheckpoint } from "../models/checkpoint/mod.ts";
import { withEncoder } from "../models/overlay.ts";
import { openModelSet } from "../models/model_set.ts";
import type { VqvaeConfig } from "../models/var/config.ts";
import { loadVarTokenizer, VarImageTokenizer } from "../models/var/family.ts";
import { loadCrops } from "../zoo/crops.ts";

const batch = 20;

/** Images of one source by their latents, [side, side, c] each, and for members their true tokens. */
interface Source {
  readonly name: string;
  readonly latents: readonly Float32Array[];
  readonly tokens?: readonly (readonly number[])[];
}

interface Result {
  readonly quantizer: QuantizerName;
  readonly share: number;
  /** Share of the members' tokens that were found, in all and by scale. */
  readonly recovery: number;
  readonly recoveryByScale: readonly number[];
  /** Mean QuantLoss by source. */
  readonly errors: Readonly<Record<string, number>>;
  /** AUC of QuantLoss, members against every source and against all of them; TPR at 1 % FPR against all. */
  readonly auc: Readonly<Record<string, number>>;
  readonly tpr: number;
}

async function encode(
  device: Device,
  family: VarImageTokenizer,
  pixels: readonly Float32Array[],
): Promise<Float32Array[]> {
  const size = family.imageSize, latents: Float32Array[] = [];
  for (let at = 0; at < pixels.length; at += batch) {
    const part = pixels.slice(at, at + batch);
    const f = scope(() =>
      latentOf(family, fromArray(device, toValueRange(part, family.valueRange), [part.length, size, size, 3]))
    );
    const values = await f.data(), n = values.length / part.length;
    f.dispose();
    for (let i = 0; i < part.length; i++) latents.push(values.slice(i * n, (i + 1) * n));
  }
  return latents;
}

/** [size, size, 3] in [0, 1] of the first images of a folder. */
async function readFolder(dir: string, count: number, size: number): Promise<Float32Array[]> {
  return await Promise.all(Array.from({ length: count }, async (_, i) => {
    const { bytes } = await readImageFile(join(dir, `${i}.png`));
    return (await decodePixels(bytes, [size])).bySize.get(size)!;
  }));
}

/** True tokens of the first images of a folder. */
async function readTokens(dir: string, count: number): Promise<number[][]> {
  return await Promise.all(
    Array.from({ length: count }, async (_, i) => JSON.parse(await Deno.readTextFile(join(dir, `${i}.json`))).tokens),
  );
}

/** Crops at equal distances in the list, so that all photographs contribute. */
async function readCrops(dir: string, count: number): Promise<Float32Array[]> {
  const crops: Float32Array[] = [];
  for (const split of ["val", "outlier"] as const) {
    const { pixels, count: all, side } = await loadCrops(dir, split, { withoutClasses: true });
    const n = side * side * 3;
    for (let i = 0; i < count; i++) {
      const at = Math.floor((i + 0.5) * all / count) * n;
      crops.push(Float32Array.from(pixels.subarray(at, at + n), (byte) => byte / 255));
    }
  }
  return crops;
}

async function loadTokenizer(device: Device, models: string, encoder: string | undefined): Promise<VarImageTokenizer> {
  const set = await openModelSet(models);
  if (encoder === undefined) {
    const family = await set.loadTokenizer(device, "var");
    if (!(family instanceof VarImageTokenizer)) throw new Error(`${models}: expected a VAR tokenizer`);
    return family;
  }
  const tokenizer = set.manifest.families.var.tokenizer;
  const source = withEncoder(await set.openNetwork({ family: "var" }), await openCheckpoint(encoder));
  try {
    return await loadVarTokenizer(device, source, tokenizer.config as VqvaeConfig);
  } finally {
    source.close();
  }
}

/** The members' latents with a part of the encoder's error only. */
async function nearer(device: Device, family: VarImageTokenizer, source: Source, share: number): Promise<Source> {
  if (share === 1) return source;
  const tokens = fromArray(device, Int32Array.from(source.tokens!.flat()), [source.latents.length, family.tokenCount]);
  const clean = family.dequantize(tokens);
  const values = await clean.data();
  disposeAll([tokens, clean]);
  const latents = source.latents.map((f, i) => {
    const at = i * f.length;
    return f.map((value, k) => values[at + k] + share * (value - values[at + k]));
  });
  return { ...source, latents };
}

async function quantLosses(
  device: Device,
  family: VarImageTokenizer,
  quantizer: Pick<Quantizer, "quantize">,
  { latents }: Source,
) {
  const { config } = family;
  const side = config.patchNums[config.patchNums.length - 1];
  const losses: number[] = [], tokens: Int32Array[] = [];
  for (let at = 0; at < latents.length; at += batch) {
    const part = latents.slice(at, at + batch), n = part[0].length;
    const values = new Float32Array(part.length * n);
    part.forEach((f, i) => values.set(f, i * n));
    const result = scope(() => {
      const f = fromArray(device, values, [part.length, side, side, config.zChannels]);
      const { tokens, fHat } = quantizer.quantize(f);
      return keep({ tokens, losses: meanSquaredError(f, fHat) });
    });
    losses.push(...await result.losses.data());
    tokens.push(await result.tokens.ints());
    disposeAll(result);
  }
  return { losses, tokens };
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

async function compare(
  device: Device,
  family: VarImageTokenizer,
  { name, share, stop }: { name: QuantizerName; share: number; stop?: number },
  members: readonly Source[],
  others: readonly Source[],
): Promise<Result> {
  const quantizer = name === "gradient" && stop !== undefined
    ? await OptimisedQuantizer.open(family, { method: "gradient", schedule: { ...referenceSchedule, stop } })
    : await openQuantizer(name, family);
  const { patchNums } = family.config;
  const scaleOf = patchNums.flatMap((pn, s) => new Array<number>(pn * pn).fill(s));
  const memberLosses: number[] = [], hits = patchNums.map(() => 0);
  let images = 0;
  for (const source of members) {
    const { losses, tokens } = await quantLosses(
      device,
      family,
      quantizer,
      await nearer(device, family, source, share),
    );
    memberLosses.push(...losses);
    const truth = source.tokens!.flat();
    let at = 0;
    for (const part of tokens) {
      for (const token of part) if (token === truth[at++]) hits[scaleOf[(at - 1) % scaleOf.length]]++;
    }
    images += losses.length;
  }
  const bySource: Record<string, number[]> = {};
  for (const source of others) {
    const { losses } = await quantLosses(device, family, quantizer, source);
    (bySource[source.name] ??= []).push(...losses);
  }
  quantizer.dispose();
  const all = Object.values(bySource).flat();
  return {
    quantizer: name,
    share,
    recovery: hits.reduce((a, b) => a + b, 0) / (images * family.tokenCount),
    recoveryByScale: hits.map((count, s) => count / (images * patchNums[s] ** 2)),
    errors: Object.fromEntries([
      ["var", mean(memberLosses)],
      ...Object.entries(bySource).map(([k, v]) => [k, mean(v)]),
    ]),
    auc: Object.fromEntries([
      ["all", auc(memberLosses, all)],
      ...Object.entries(bySource).map(([k, v]) => [k, auc(memberLosses, v)]),
    ]),
    tpr: tprAtFpr(memberLosses, all),
  };
}

async function main(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      models: { type: "string", default: "weights/tiny" },
      members: { type: "string", multiple: true, default: [] },
      others: { type: "string", multiple: true, default: [] },
      crops: { type: "string" },
      encoder: { type: "string" },
      count: { type: "string", default: "100" },
      quantizer: { type: "string", multiple: true, default: [...quantizerNames] },
      shares: { type: "string", default: "1" },
      stop: { type: "string" },
      out: { type: "string" },
    },
  });
  const count = Number(options.count);
  if (options.members.length === 0 || options.others.length === 0 && options.crops === undefined) {
    throw new Error("quantisation_zoo: expected --members DIR and --others NAME=DIR or --crops DIR");
  }
  const device = await openDevice("cpu");
  const { hash: modelSet } = await openModelSet(options.models);
  const family = await loadTokenizer(device, options.models, options.encoder);
  const size = family.imageSize;
  const members = await Promise.all(options.members.map(async (dir): Promise<Source> => ({
    name: "var",
    latents: await encode(device, family, await readFolder(dir, count, size)),
    tokens: await readTokens(dir, count),
  })));
  const others: Source[] = [];
  for (const text of options.others) {
    const [name, dir] = text.split("=", 2);
    others.push({ name, latents: await encode(device, family, await readFolder(dir, count, size)) });
  }
  if (options.crops !== undefined) {
    others.push({ name: "photo", latents: await encode(device, family, await readCrops(options.crops, count)) });
  }
  const results: Result[] = [];
  const stop = options.stop === undefined ? undefined : Number(options.stop);
  for (const share of options.shares.split(",").map(Number)) {
    for (const name of options.quantizer as QuantizerName[]) {
      const result = await compare(device, family, { name, share, stop }, members, others);
      results.push(result);
      const shown = (record: Readonly<Record<string, number>>, digits: (x: number) => string) =>
        Object.entries(record).map(([key, x]) => `${key} ${digits(x)}`).join(" ");
      console.log(
        `share ${share} ${name.padEnd(9)} tokens ${(100 * result.recovery).toFixed(1)} %`.padEnd(36),
        `error ${shown(result.errors, (x) => x.toExponential(2))}`,
        `AUC ${shown(result.auc, (x) => x.toFixed(3))} TPR ${(100 * result.tpr).toFixed(1)} %`,
      );
    }
  }
  if (options.out !== undefined) {
    const settings = { count, members: members.length, shares: options.shares, stop: options.stop, modelSet };
    await Deno.writeTextFile(options.out, JSON.stringify({ format: 1, settings, results }, null, 1) + "\n");
  }
  family.dispose();
  device.close();
}

if (import.meta.main) await main();
