/**
 * What can be done with pulled files without the network: list them, verify them, convert them, add an inverse decoder.
 * It deliberately trusts no file that pulled.json does not know.
 */
import { basename, join } from "node:path";
import { convertCheckpoint, encoderSource, encoderSpecs, type StoredFloat } from "../checkpoint/convert.ts";
import type { ParamSpec } from "../checkpoint/load.ts";
import { openCheckpoint } from "../checkpoint/open.ts";
import type { TensorSource } from "../checkpoint/source.ts";
import { withPrefix } from "../checkpoint/prefix.ts";
import type { FamilyName } from "../family.ts";
import { parseManifest } from "../manifest.ts";
import { latentNames } from "../latent_statistics.ts";
import { families, familyNamed } from "../registry.ts";
import { requireSpace } from "./disk.ts";
import { expectedBytes, type FileList, type ListedFile, specsOf, storedName } from "./list.ts";
import { withLock } from "./lock.ts";
import { PartFile } from "./part.ts";
import { fileOf, hasSize, readRecords, requireOwnFolder, updateRecords } from "./records.ts";
import { hashFile } from "../../util/hash.ts";

/** Buffers of checkpoints that no network reads. */
const buffers = families.flatMap((family) => family.buffers);

/** How a network of a list stands on the disk. */
export interface FileStatus {
  readonly network: string;
  readonly family: FamilyName;
  readonly repo: string;
  readonly file: string;
  /** `converted`: a safetensors file takes its place, the original may be there or not. */
  readonly status: "absent" | "partial" | "present" | "converted" | "damaged";
  /** Of the published file; estimated from the network's size as long as nothing is known. */
  readonly bytes: number;
  readonly estimated: boolean;
  /** On the disk: all of its files, or what is there of an incomplete one. */
  readonly onDisk: number;
  readonly sha256?: string;
  /** What the sha256 was compared with when the file came. */
  readonly checkedAgainst?: string;
}

/** The state of every file of a list, without reading their contents. */
export async function listFiles(dir: string, files: readonly ListedFile[]): Promise<FileStatus[]> {
  const records = await readRecords(dir);
  return await Promise.all(files.map(async (row): Promise<FileStatus> => {
    const name = storedName(row.file);
    const { pulled: { [name]: original }, converted: { [row.network]: conversion } } = records;
    const current = await fileOf(dir, row, records);
    const sizes = await Promise.all(
      [name, conversion?.file].map((file) =>
        file === undefined ? 0 : Deno.stat(join(dir, file)).then((info) => info.size, () => 0)
      ),
    );
    const partial = await PartFile.bytesOf(join(dir, name));
    const isThere = sizes[0] + sizes[1] > 0;
    const status = current !== undefined
      ? current.file === name ? "present" : "converted"
      : partial > 0
      ? "partial"
      : isThere
      ? "damaged"
      : "absent";
    return {
      ...{ network: row.network, family: row.family, repo: row.repo, file: row.file, status },
      bytes: original?.bytes ?? row.bytes ?? expectedBytes(row),
      estimated: (original?.bytes ?? row.bytes) === undefined,
      onDisk: sizes[0] + sizes[1] + partial,
      sha256: original?.sha256 ?? row.sha256,
      checkedAgainst: original?.checkedAgainst,
    };
  }));
}

export interface VerifiedFile {
  readonly file: string;
  readonly result: "ok" | "damaged" | "missing";
  /** What is wrong. */
  readonly problem?: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface WorkEvents {
  readonly signal?: AbortSignal;
  readonly onProgress?: (bytes: number, total: number, file: string) => void;
  readonly onNote?: (text: string) => void;
}

/** Hashes every file that the manifest and pulled.json name. A converted network's original may be gone. */
export async function verifyFiles(dir: string, { signal, onProgress }: WorkEvents = {}): Promise<VerifiedFile[]> {
  const expected = new Map<string, { bytes: number; sha256: string; optional: boolean }>();
  const records = await readRecords(dir);
  const replaced = new Set(Object.values(records.converted).map(({ fromSha256 }) => fromSha256));
  for (const [file, { bytes, sha256 }] of Object.entries(records.pulled)) {
    expected.set(file, { bytes, sha256, optional: replaced.has(sha256) });
  }
  for (const { file, bytes, sha256 } of Object.values(records.converted)) {
    expected.set(file, { bytes, sha256, optional: false });
  }
  for (const { file, bytes, sha256 } of await manifestFiles(dir)) {
    expected.set(file, { bytes, sha256, optional: false });
  }
  if (expected.size === 0) throw new Error(`${dir}: has neither manifest.json nor pulled.json: nothing to verify`);
  const total = [...expected.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  const results: VerifiedFile[] = [];
  let before = 0;
  for (const [file, { bytes, sha256, optional }] of expected) {
    const path = join(dir, file);
    const info = await Deno.stat(path).catch(() => null);
    const row = { file, bytes, sha256 };
    if (info === null) {
      if (!optional) results.push({ ...row, result: "missing" });
    } else if (info.size !== bytes) {
      results.push({ ...row, result: "damaged", problem: `expected ${bytes} bytes, got ${info.size}` });
    } else {
      const found = await hashFile(path, { signal, onProgress: (done) => onProgress?.(before + done, total, file) });
      results.push(
        found === sha256
          ? { ...row, result: "ok" }
          : { ...row, result: "damaged", problem: `expected the sha256 ${sha256}, got ${found}` },
      );
    }
    before += bytes;
  }
  return results;
}

/** The files of the folder's manifest; none when there is no manifest. */
async function manifestFiles(dir: string): Promise<{ file: string; bytes: number; sha256: string }[]> {
  const path = join(dir, "manifest.json");
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  });
  if (text === null) return [];
  return Object.values(parseManifest(text, path).families).flatMap(({ tokenizer, encoder, variants }) =>
    [tokenizer, ...encoder === undefined ? [] : [encoder], ...Object.values(variants)]
      .flatMap((entry) => "file" in entry ? [{ file: entry.file, bytes: entry.bytes, sha256: entry.sha256 }] : [])
  );
}

export interface ConvertSetOptions {
  readonly dir: string;
  readonly list: FileList;
  readonly files: readonly ListedFile[];
  /** Storage of the tokenizers' kernels; default f32, see {@link convertedType}. */
  readonly tokenizers?: StoredFloat;
  /** Remove an original when what was converted from it is complete and has been read back. */
  readonly removeOriginals?: boolean;
}

export interface ConvertedNetwork {
  readonly network: string;
  readonly from: string;
  readonly file: string;
  readonly status: "converted" | "present";
  readonly bytes: number;
  readonly sha256: string;
  readonly seconds: number;
  readonly removedOriginal: boolean;
}

/** Bytes of the converted file, up to its header. */
export function convertedBytes(row: ListedFile): number {
  return Math.ceil(expectedBytes(row) / (row.isTokenizer ? 1 : 2));
}

/**
 * Converts the pulled files among `files` to safetensors; the manifest then names those. Files that are not there are
 * passed over with a note. Returns what is still missing for a manifest.
 */
export async function convertFiles(
  options: ConvertSetOptions,
  events: WorkEvents & { readonly onNetwork?: (result: ConvertedNetwork) => void } = {},
): Promise<readonly string[]> {
  const { dir, list, files } = options;
  await requireOwnFolder(dir);
  for (const row of files) {
    events.signal?.throwIfAborted();
    const result = await withLock(join(dir, `.${row.network}.convert.lock`), {
      signal: events.signal,
      onWait: () => events.onNote?.(`${row.network}: another process is converting it; waiting until that one is done`),
    }, () => convertOne(options, row, events));
    if (result === undefined) events.onNote?.(`${row.network}: ${storedName(row.file)} is not there; pull it first`);
    else events.onNetwork?.(result);
  }
  return await updateRecords(dir, list, (records) => records);
}

async function convertOne(
  { dir, list, tokenizers = "f32", removeOriginals }: ConvertSetOptions,
  row: ListedFile,
  events: WorkEvents,
): Promise<ConvertedNetwork | undefined> {
  const started = performance.now();
  const records = await readRecords(dir);
  const from = storedName(row.file);
  const original = records.pulled[from];
  const current = await fileOf(dir, row, records);
  if (current === undefined || original === undefined) return undefined;
  const file = `${row.network}.safetensors`;
  const done = { network: row.network, from, file };
  const remove = async () => {
    if (!removeOriginals) return false;
    return await Deno.remove(join(dir, from)).then(() => true, () => false);
  };
  if (current.file === file) {
    const { bytes, sha256 } = current;
    return { ...done, status: "present", bytes, sha256, seconds: 0, removedOriginal: await remove() };
  }
  await removeLeftovers(dir, file);
  const type: StoredFloat = row.isTokenizer ? tokenizers : "f16";
  await requireSpace("convert", dir, expectedBytes(row) / (type === "f16" ? 2 : 1));
  const source = await openOriginal(join(dir, from), row);
  const onProgress = (bytes: number, total: number) => events.onProgress?.(bytes, total, file);
  try {
    const { tooLarge } = await convertCheckpoint(source, specsOf(row), join(dir, file), {
      what: row.network,
      ignored: buffers,
      ...type === "f32" ? { type: () => "f32" as const } : {},
      metadata: {
        format: "model-tracer-network/1",
        network: row.network,
        source: `${row.repo}/${row.file}`,
        sourceSha256: original.sha256,
      },
      signal: events.signal,
      onProgress,
    });
    for (const name of tooLarge) {
      events.onNote?.(`${row.network}: ${name} has values beyond half precision; stays float32`);
    }
  } finally {
    source.close();
  }
  // Reading it back is also the check that the disk has what was written.
  const bytes = (await Deno.stat(join(dir, file))).size;
  const sha256 = await hashFile(join(dir, file), { signal: events.signal });
  const conversion = { file, bytes, sha256, fromSha256: original.sha256 };
  await updateRecords(dir, list, (all) => ({ ...all, converted: { ...all.converted, [row.network]: conversion } }));
  const removedOriginal = await remove();
  return {
    ...done,
    status: "converted",
    bytes,
    sha256,
    seconds: (performance.now() - started) / 1000,
    removedOriginal,
  };
}

/** Removes what conversions of this file left that were killed; its lock is held, so none is running. */
async function removeLeftovers(dir: string, file: string): Promise<void> {
  for await (const { name } of Deno.readDir(dir)) {
    if (name.startsWith(`.${file}.`) && name.endsWith(".part")) await Deno.remove(join(dir, name));
  }
}

async function openOriginal(path: string, { prefix }: ListedFile): Promise<TensorSource> {
  const source = await openCheckpoint(path);
  try {
    return prefix === undefined ? source : withPrefix(source, prefix);
  } catch (error) {
    source.close();
    throw error;
  }
}

/**
 * Adds a fine-tuned encoder (inverse decoder) to the folder's set: `path` is converted to `<family>_encoder.safetensors`,
 * float32, and named by the manifest. Throws when there is no manifest yet, or the encoder does not fit the tokenizer.
 */
export async function addEncoder(
  { dir, list, path, family }: { dir: string; list: FileList; path: string; family: FamilyName },
  events: WorkEvents = {},
): Promise<{ file: string; bytes: number; sha256: string }> {
  await requireOwnFolder(dir);
  const row = list.files.find((one) => one.family === family && one.isTokenizer);
  if (row === undefined) throw new Error(`--family ${family}: the list of files has no tokenizer of this family`);
  if (
    !await hasSize(
      join(dir, "manifest.json"),
      (await Deno.stat(join(dir, "manifest.json")).catch(() => null))?.size ?? -1,
    )
  ) {
    throw new Error(`${dir}: has no manifest.json yet, to which the encoder would be added: pull both families first`);
  }
  const file = `${family}_encoder.safetensors`;
  const opened = await openCheckpoint(path);
  const statistics = [...opened.tensors.values()].filter(({ name }) => latentNames.test(name))
    .map(({ name, shape }): ParamSpec => ({ name, shape, role: "tensor" }));
  const specs = [...encoderSpecs<ParamSpec>(familyNamed(family).encoderModules, specsOf(row)), ...statistics];
  try {
    await convertCheckpoint(encoderSource(opened, familyNamed(family), specs), specs, join(dir, file), {
      what: `the encoder of the ${family} tokenizer`,
      type: () => "f32",
      metadata: {
        format: "model-tracer-encoder/1",
        family,
        source: basename(path),
        sourceSha256: await hashFile(path),
      },
      signal: events.signal,
      onProgress: (bytes, total) => events.onProgress?.(bytes, total, file),
    });
  } finally {
    opened.close();
  }
  const bytes = (await Deno.stat(join(dir, file))).size;
  const entry = { file, bytes, sha256: await hashFile(join(dir, file)) };
  const missing = await updateRecords(dir, list, (records) => records, (manifest) => ({
    ...manifest,
    families: { ...manifest.families, [family]: { ...manifest.families[family], encoder: entry } },
  }));
  if (missing.length > 0) throw new Error(`${dir}: the set is not complete: ${missing.join(", ")} missing`);
  return entry;
}
