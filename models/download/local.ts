/**
 * Work on pulled files without network: list, verify, convert, add an inverse decoder. Files without a record in
 * pulled.json are not used.
 */
import { basename, join } from "node:path";
import { convertCheckpoint, encoderSource, encoderSpecs, type StoredFloat } from "../checkpoint/convert.ts";
import type { ParamSpec } from "../checkpoint/load.ts";
import { openCheckpoint } from "../checkpoint/open.ts";
import type { TensorSource } from "../checkpoint/source.ts";
import { withPrefix } from "../checkpoint/prefix.ts";
import { unwrapNetwork, type Unwrapped } from "../checkpoint/unwrap.ts";
import { areDifferences, withDifferences } from "../checkpoint/differences.ts";
import type { FamilyName } from "../family.ts";
import { parseManifest } from "../manifest.ts";
import { latentNames } from "../latent_statistics.ts";
import { families, familyNamed, officialSpecs, strangers } from "../registry.ts";
import { requireSpace } from "./disk.ts";
import { expectedBytes, type FileList, type ListedFile, specsOf, storedName } from "./list.ts";
import { withLock } from "./lock.ts";
import { PartFile } from "./part.ts";
import { fileOf, readRecords, requireOwnFolder, updateRecords } from "./records.ts";
import { readTextIfThere, removeLeftovers } from "../../util/files.ts";
import { hashFile } from "../../util/hash.ts";

/** Buffers of checkpoints that no network reads. */
const buffers = families.flatMap((family) => family.buffers);

/** State of a network's file on the disk. */
export interface FileStatus {
  readonly network: string;
  readonly family: FamilyName;
  readonly repo: string;
  readonly file: string;
  /** `converted`: a safetensors file replaces it; the original may still be there. */
  readonly status: "absent" | "partial" | "present" | "converted" | "damaged";
  /** Size of the published file; estimated from the network's parameters while it is unknown. */
  readonly bytes: number;
  readonly estimated: boolean;
  /** Bytes on the disk: of all its files, or the received part of an incomplete one. */
  readonly onDisk: number;
  readonly sha256?: string;
  /** What the sha256 was compared with when the file was pulled. */
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

/** Result of verifying a file. */
export interface VerifiedFile {
  readonly file: string;
  readonly result: "ok" | "damaged" | "missing";
  /** Expected and actual size or sha256. */
  readonly problem?: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Signal and callbacks of work on files. */
export interface WorkEvents {
  readonly signal?: AbortSignal;
  /** Called with bytes done, and their total. */
  readonly onProgress?: (bytes: number, total: number, file: string) => void;
  /** Called with remarks for the user. */
  readonly onNote?: (text: string) => void;
}

/** Hashes every file that the manifest and pulled.json name. The original of a converted network may be missing. */
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
      const actual = await hashFile(path, { signal, onProgress: (done) => onProgress?.(before + done, total, file) });
      results.push(
        actual === sha256
          ? { ...row, result: "ok" }
          : { ...row, result: "damaged", problem: `expected the sha256 ${sha256}, got ${actual}` },
      );
    }
    before += bytes;
  }
  return results;
}

/** The files of the folder's manifest; none when there is no manifest. */
async function manifestFiles(dir: string): Promise<{ file: string; bytes: number; sha256: string }[]> {
  const path = join(dir, "manifest.json");
  const text = await readTextIfThere(path);
  if (text === null) return [];
  return Object.values(parseManifest(text, path).families).flatMap(({ tokenizer, encoder, variants }) =>
    [tokenizer, ...encoder === undefined ? [] : [encoder], ...Object.values(variants)]
      .flatMap((entry) => "file" in entry ? [{ file: entry.file, bytes: entry.bytes, sha256: entry.sha256 }] : [])
  );
}

/** Options of `convertFiles`. */
export interface ConvertSetOptions {
  readonly dir: string;
  readonly list: FileList;
  readonly files: readonly ListedFile[];
  /** Type of the tokenizers' kernels (default f32). */
  readonly tokenizers?: StoredFloat;
  /** Removes an original once the converted file is complete and was read back. */
  readonly removeOriginals?: boolean;
}

/** Result of converting a network's file. */
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

/** Size of the converted file in bytes, without its header. */
export function convertedBytes(row: ListedFile): number {
  return Math.ceil(expectedBytes(row) / (row.isTokenizer ? 1 : 2));
}

/**
 * Converts the pulled files among `files` to safetensors; the manifest then names those. Missing files are skipped with
 * a note. Returns what is still missing for a manifest.
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
  // The caller holds the lock of this file, so no other process is converting it.
  await removeLeftovers(join(dir, file));
  const type: StoredFloat = row.isTokenizer ? tokenizers : "f16";
  await requireSpace("convert", dir, expectedBytes(row) / (type === "f16" ? 2 : 1));
  await writeConverted(join(dir, from), join(dir, file), { row, list, type, sourceSha256: original.sha256 }, events);
  // Hashing reads the file back, which also checks the disk.
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

/** What a transformer's file may be instead: a published one of the family, or another one of the list. */
function alternativesTo(
  { family, network }: ListedFile,
  { files }: FileList,
): ReadonlyMap<string, readonly ParamSpec[]> {
  const others = files.filter((row) => row.family === family && row.network !== network && !row.isTokenizer);
  return new Map([...officialSpecs(family), ...others.map((row) => [row.network, specsOf(row)] as const)]);
}

/** Converts the file `from` to `to`. */
async function writeConverted(
  from: string,
  to: string,
  { row, list, type, sourceSha256 }: { row: ListedFile; list: FileList; type: StoredFloat; sourceSha256: string },
  events: WorkEvents,
): Promise<void> {
  const { source, notes } = await openOriginal(from, row);
  for (const note of notes) events.onNote?.(`${basename(from)}: ${note}`);
  try {
    const { tooLarge } = await convertCheckpoint(source, specsOf(row), to, {
      what: row.network,
      alternatives: row.isTokenizer ? undefined : alternativesTo(row, list),
      ignored: buffers,
      strangers,
      ...type === "f32" ? { type: () => "f32" as const } : {},
      metadata: {
        format: "model-tracer-network/1",
        network: row.network,
        source: `${row.repo}/${row.file}`,
        sourceSha256,
      },
      signal: events.signal,
      onProgress: (bytes, total) => events.onProgress?.(bytes, total, basename(to)),
    });
    for (const name of tooLarge) {
      events.onNote?.(`${row.network}: ${name} has values beyond half precision; stays float32`);
    }
  } finally {
    source.close();
  }
}

/** Opens a listed network's file, and says how the network was found in it. */
export async function openOriginal(path: string, row: ListedFile): Promise<Unwrapped> {
  const source = await openCheckpoint(path);
  try {
    return unwrapNetwork(row.prefix === undefined ? source : withPrefix(source, row.prefix), specsOf(row));
  } catch (error) {
    source.close();
    throw error;
  }
}

/** Which encoder is added to which set. */
export interface AddEncoderOptions {
  readonly dir: string;
  readonly list: FileList;
  readonly path: string;
  readonly family: FamilyName;
  /** Whether the file has differences to the tokenizer's own encoder. */
  readonly delta?: boolean;
}

/**
 * Adds a fine-tuned encoder (inverse decoder) to the folder's set: converts `path` to `<family>_encoder.safetensors`,
 * float32, and names it in the manifest. Rejects without a manifest, when the encoder does not fit the tokenizer, and
 * when its norms show differences where a whole encoder was expected, or the other way round.
 */
export async function addEncoder(
  { dir, list, path, family, delta = false }: AddEncoderOptions,
  events: WorkEvents = {},
): Promise<{ file: string; bytes: number; sha256: string }> {
  await requireOwnFolder(dir);
  const row = list.files.find((one) => one.family === family && one.isTokenizer);
  if (row === undefined) throw new Error(`--family ${family}: the list of files has no tokenizer of this family`);
  if (!await Deno.stat(join(dir, "manifest.json")).then((info) => info.isFile, () => false)) {
    throw new Error(`${dir}: has no manifest.json yet, to which the encoder would be added: pull both families first`);
  }
  const file = `${family}_encoder.safetensors`;
  const opened = await openCheckpoint(path);
  const statistics = [...opened.tensors.values()].filter(({ name }) => latentNames.test(name))
    .map(({ name, shape }): ParamSpec => ({ name, shape, role: "tensor" }));
  const specs = [...encoderSpecs<ParamSpec>(familyNamed(family).encoderModules, specsOf(row)), ...statistics];
  let source = opened;
  try {
    source = encoderSource(opened, familyNamed(family), specs);
    await expectStored(source, specs, delta);
    if (delta) source = withDifferences(await openTokenizer(dir, row), source);
    await convertCheckpoint(source, specs, join(dir, file), {
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
    source.close();
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

/** Throws unless an encoder is stored as `delta` says. */
async function expectStored(source: TensorSource, specs: readonly ParamSpec[], delta: boolean): Promise<void> {
  if (await areDifferences(source, specs) === delta) return;
  throw new Error(
    delta
      ? `${source.label}: --delta: expected differences to the tokenizer's own encoder, got a whole one: the weights of ` +
        "its norms lie near 1; leave --delta out"
      : `${source.label}: expected an encoder, got differences to one: the weights of its norms lie near 0; add them to ` +
        "the tokenizer's own encoder with --delta",
  );
}

/** The tokenizer's published file, or what it was converted to. */
async function openTokenizer(dir: string, row: ListedFile): Promise<TensorSource> {
  const current = await fileOf(dir, row, await readRecords(dir));
  if (current === undefined) {
    throw new Error(`${dir}: --delta: the ${row.family} tokenizer is not there; pull it first`);
  }
  return (await openOriginal(join(dir, current.file), { ...row, prefix: current.prefix })).source;
}
