/**
 * Records of a folder's pulled and converted files (`pulled.json`), and the manifest made from them (`manifest.json`).
 */
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import { parseJson } from "../../util/json.ts";
import type { FamilyName } from "../family.ts";
import { readTextIfThere, writeFileAtomically } from "../../util/files.ts";
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
  /** What the sha256 was compared with; `nothing` where the server gave none: then it is that of the received bytes. */
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

/** Record of a pulled file. */
export type PulledFile = v.InferOutput<typeof pulled>;
/** Record of a converted file. */
export type ConvertedFile = v.InferOutput<typeof converted>;
/** The contents of `pulled.json`. */
export type Records = v.InferOutput<typeof schema>;

const empty: Records = { format: "model-tracer-pulled/1", pulled: {}, converted: {} };

/** The records of a folder; empty ones when there are none. Throws when they cannot be read. */
export async function readRecords(dir: string): Promise<Records> {
  const path = join(dir, "pulled.json");
  const text = await readTextIfThere(path);
  return text === null ? empty : parseJson(schema, text, path);
}

/** Throws when a folder has a set of weights that was not pulled: it must not be overwritten. */
export async function requireOwnFolder(dir: string): Promise<void> {
  const isThere = (file: string) => Deno.stat(join(dir, file)).then(() => true, () => false);
  if (!await isThere("manifest.json") || await isThere("pulled.json")) return;
  throw new Error(`${dir}: holds a set of weights that was not pulled here: name another folder with --out`);
}

/**
 * Changes the records and writes the manifest made from them. A lock lets several processes do so, one after the other.
 * Returns what is missing for a manifest; an empty list when it was written.
 */
export async function updateRecords(
  dir: string,
  list: FileList,
  change: (records: Records) => Records,
  manifestChange: (manifest: Manifest) => Manifest = (manifest) => manifest,
): Promise<readonly string[]> {
  return await withLock(join(dir, ".records.lock"), {}, async () => {
    const records = change(await readRecords(dir));
    await writeFileAtomically(join(dir, "pulled.json"), JSON.stringify(records, null, 2) + "\n");
    const path = join(dir, "manifest.json");
    const old = await readManifest(path);
    const made = await makeManifest(dir, list, records, old);
    if ("missing" in made) return made.missing; // an older manifest stays: it also names an encoder and a calibration
    const text = JSON.stringify(manifestChange(made.manifest), null, 2) + "\n";
    parseManifest(text, path); // throws what loading would throw
    await writeFileAtomically(path, text);
    return [];
  });
}

async function readManifest(path: string): Promise<Manifest | undefined> {
  const text = await readTextIfThere(path);
  return text === null ? undefined : parseManifest(text, path);
}

/** The file that a network is loaded from: the converted one, else the pulled one; undefined where both are missing. */
export async function fileOf(
  dir: string,
  row: ListedFile,
  records: Records,
): Promise<{ file: string; bytes: number; sha256: string; prefix?: string } | undefined> {
  const name = storedName(row.file);
  const conversion = records.converted[row.network];
  const original = records.pulled[name];
  if (conversion !== undefined && await hasSize(join(dir, conversion.file), conversion.bytes)) {
    // An original that was pulled after the conversion takes precedence.
    if (original === undefined || original.sha256 === conversion.fromSha256) {
      return { file: conversion.file, bytes: conversion.bytes, sha256: conversion.sha256 };
    }
  }
  if (original === undefined || !await hasSize(join(dir, name), original.bytes)) return undefined;
  const entry = { file: name, bytes: original.bytes, sha256: original.sha256 };
  return row.prefix === undefined ? entry : { ...entry, prefix: row.prefix };
}

/** Whether `path` is a regular file of that size. */
export async function hasSize(path: string, bytes: number): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile && info.size === bytes, () => false);
}

/**
 * The manifest of what is there. Of every family in the list a manifest needs the tokenizer and at least one variant.
 */
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
    const rows = list.files.filter((row) => row.family === name);
    // A family of extra files belongs to the set once one of them was pulled.
    const isAsked = rows.some(({ extra = false, file }) => !extra || storedName(file) in records.pulled);
    if (isAsked) families[name] = await family(name);
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
