/**
 * What was pulled and converted into a folder, and the manifest that follows from it: `pulled.json` beside `manifest.json`.
 * It deliberately neither fetches nor converts; it only remembers, and holds a lock while it writes.
 */
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import { parseJson } from "../../util/json.ts";
import type { FamilyName } from "../family.ts";
import { type Manifest, parseManifest } from "../manifest.ts";
import { familyNames } from "../registry.ts";
import { type FileList, type ListedFile, storedName } from "./list.ts";
import { withLock } from "./lock.ts";

const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits"));
const bytes = v.pipe(v.number(), v.integer("a whole number"), v.minValue(1, "at least 1"));

const pulled = v.strictObject({
  repo: v.string(),
  path: v.string(),
  revision: v.string(),
  /** The commit that the revision stood for. */
  commit: v.optional(v.string()),
  bytes,
  sha256,
  /** What the sha256 was compared with; `nothing` where the server gave none, and what came was taken down. */
  checkedAgainst: v.picklist(["hub", "list", "earlier pull", "nothing"]),
});
const converted = v.strictObject({ file: v.string(), bytes, sha256, fromSha256: sha256 });

const schema = v.strictObject({
  format: v.literal("model-tracer-pulled/1"),
  /** By file name. */
  pulled: v.record(v.string(), pulled),
  /** By network. */
  converted: v.record(v.string(), converted),
});

export type PulledFile = v.InferOutput<typeof pulled>;
export type ConvertedFile = v.InferOutput<typeof converted>;
export type Records = v.InferOutput<typeof schema>;

const empty: Records = { format: "model-tracer-pulled/1", pulled: {}, converted: {} };

/** The records of a folder; empty ones when there are none. Throws when they cannot be read. */
export async function readRecords(dir: string): Promise<Records> {
  const path = join(dir, "pulled.json");
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  });
  return text === null ? empty : parseJson(schema, text, path);
}

/** Throws when a folder holds a set of weights that was put there by other means, which must not be overwritten. */
export async function requireOwnFolder(dir: string): Promise<void> {
  const isThere = (file: string) => Deno.stat(join(dir, file)).then(() => true, () => false);
  if (!await isThere("manifest.json") || await isThere("pulled.json")) return;
  throw new Error(`${dir}: holds a set of weights that was not pulled here: name another folder with --out`);
}

/**
 * Changes the records and writes the manifest that follows. Several processes may do so at once; each sees what the others
 * wrote. Returns what is missing for a manifest, or nothing when it was written.
 */
export async function updateRecords(
  dir: string,
  list: FileList,
  change: (records: Records) => Records,
  manifestChange: (manifest: Manifest) => Manifest = (manifest) => manifest,
): Promise<readonly string[]> {
  return await withLock(join(dir, ".records.lock"), {}, async () => {
    const records = change(await readRecords(dir));
    await replaceFile(join(dir, "pulled.json"), JSON.stringify(records, null, 2) + "\n");
    const path = join(dir, "manifest.json");
    const old = await readManifest(path);
    const made = await makeManifest(dir, list, records, old);
    if ("missing" in made) return made.missing; // an older manifest stays: it also names an encoder and a calibration
    const text = JSON.stringify(manifestChange(made.manifest), null, 2) + "\n";
    parseManifest(text, path); // as whoever loads the set will
    await replaceFile(path, text);
    return [];
  });
}

async function readManifest(path: string): Promise<Manifest | undefined> {
  try {
    return parseManifest(await Deno.readTextFile(path), path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The file that a network is loaded from: the converted one, else the pulled one; undefined where neither is there. */
export async function fileOf(
  dir: string,
  row: ListedFile,
  records: Records,
): Promise<{ file: string; bytes: number; sha256: string; prefix?: string } | undefined> {
  const name = storedName(row.file);
  const conversion = records.converted[row.network];
  const original = records.pulled[name];
  if (conversion !== undefined && await hasSize(join(dir, conversion.file), conversion.bytes)) {
    // A newer original, pulled after the conversion, counts more than an old conversion.
    if (original === undefined || original.sha256 === conversion.fromSha256) {
      return { file: conversion.file, bytes: conversion.bytes, sha256: conversion.sha256 };
    }
  }
  if (original === undefined || !await hasSize(join(dir, name), original.bytes)) return undefined;
  const entry = { file: name, bytes: original.bytes, sha256: original.sha256 };
  return row.prefix === undefined ? entry : { ...entry, prefix: row.prefix };
}

/** Whether a regular file of that size is there. */
export async function hasSize(path: string, bytes: number): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile && info.size === bytes, () => false);
}

/** The manifest of what is there. Of every family in the list a manifest needs the tokenizer and at least one variant. */
async function makeManifest(
  dir: string,
  list: FileList,
  records: Records,
  old: Manifest | undefined,
): Promise<{ manifest: Manifest } | { missing: readonly string[] }> {
  const missing: string[] = [];
  const family = async (name: FamilyName) => {
    const rows = list.files.filter((row) => row.family === name);
    let tokenizer: unknown;
    const variants: Record<string, unknown> = {};
    for (const row of rows) {
      const file = await fileOf(dir, row, records);
      if (file === undefined) continue;
      if (row.isTokenizer) tokenizer = { ...file, config: row.config };
      else variants[row.network] = { ...file, config: row.config, sampler: row.sampler };
    }
    if (tokenizer === undefined) missing.push(`the ${name} tokenizer (${name})`);
    if (Object.keys(variants).length === 0) {
      missing.push(
        `a ${name} variant (${rows.filter((row) => !row.isTokenizer).map((row) => row.network).join(", ")})`,
      );
    }
    const encoder = old?.families[name]?.encoder;
    return { tokenizer, ...(encoder === undefined ? {} : { encoder }), variants };
  };
  const families: Record<FamilyName, unknown> = {};
  for (const name of familyNames) {
    if (list.files.some((row) => row.family === name)) families[name] = await family(name);
  }
  if (missing.length > 0) return { missing };
  const manifest = {
    format: "model-tracer-weights/1",
    name: list.name,
    ...(list.description === undefined ? {} : { description: list.description }),
    ...(old?.calibration === undefined ? {} : { calibration: old.calibration }),
    families,
  } as Manifest;
  return { manifest };
}

async function replaceFile(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(`${path}.new`, text);
  await Deno.rename(`${path}.new`, path);
}
