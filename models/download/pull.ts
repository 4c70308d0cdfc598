/**
 * Pulls the files of a list into a folder: asks the hub about all of them, checks the disk, then downloads one after
 * the other. Complete files are kept, and files of other origin are never overwritten.
 */
import { join } from "node:path";
import { requireSpace } from "./disk.ts";
import { downloadFile, type DownloadOptions, lookUpPatiently } from "./download.ts";
import type { HubEntry, HubOptions } from "./hub.ts";
import { type FileList, type ListedFile, storedName } from "./list.ts";
import { openOriginal } from "./local.ts";
import { withLock } from "./lock.ts";
import { PartFile } from "./part.ts";
import { fileOf, hasSize, type PulledFile, readRecords, requireOwnFolder, updateRecords } from "./records.ts";
import { hashFile } from "../../util/hash.ts";

/** Callbacks of `pullFiles`. */
export interface PullEvents {
  /** Called with remarks for the user. */
  readonly onNote?: (text: string) => void;
  /** Called with the bytes present of all files to pull, and their total. */
  readonly onProgress?: (bytes: number, total: number, file: string, phase: "download" | "hashing") => void;
  /** Called when a file is complete. */
  readonly onFile?: (result: PulledResult) => void | Promise<void>;
}

/** Options of `pullFiles`. */
export interface PullOptions extends Pick<DownloadOptions, "connections" | "policy" | "signal" | "openWriter"> {
  readonly dir: string;
  readonly list: FileList;
  /** The files to pull, of the list. */
  readonly files: readonly ListedFile[];
  readonly hub: HubOptions;
  /** Pulls the current file even if an earlier pull recorded another sha256. */
  readonly update?: boolean;
  /** Bytes that must be free besides the files themselves, such as for their conversion. */
  readonly extraBytes?: (row: ListedFile) => number;
  /** Free bytes of a folder; for tests. */
  readonly free?: (folder: string) => Promise<number>;
}

/** A pulled file. */
export interface PulledResult {
  readonly network: string;
  readonly file: string;
  /** `present`: complete already. `adopted`: was in the folder, without a record, with the right sha256. */
  readonly status: "pulled" | "present" | "adopted";
  readonly bytes: number;
  readonly sha256: string;
  readonly checkedAgainst: PulledFile["checkedAgainst"];
  /** Bytes left by an earlier run, and bytes received over the network now. */
  readonly resumed: number;
  readonly received: number;
}

interface Wanted {
  readonly row: ListedFile;
  readonly entry: HubEntry;
  /** Expected sha256, and its origin. */
  readonly sha256?: string;
  readonly checkedAgainst: PulledFile["checkedAgainst"];
}

/**
 * Pulls files into `dir`, and returns what is still missing for a manifest there. Rejects at the first file that fails;
 * the same call then continues where this one stopped.
 */
export async function pullFiles(options: PullOptions, events: PullEvents = {}): Promise<readonly string[]> {
  const { dir, list, files, signal } = options;
  await Deno.mkdir(dir, { recursive: true });
  await requireOwnFolder(dir);
  const wanted: Wanted[] = [];
  for (const row of files) {
    const present = options.update ? undefined : await presentFile(dir, row);
    if (present !== undefined) await events.onFile?.(present);
    else wanted.push(await lookUpWanted(options, row, events));
  }
  const missing = [];
  for (const { row, entry } of wanted) {
    const allocated = await PartFile.allocated(join(dir, storedName(row.file)));
    missing.push(Math.max(0, entry.bytes - allocated) + (options.extraBytes?.(row) ?? 0));
  }
  const needed = missing.reduce((sum, bytes) => sum + bytes, 0);
  if (needed > 0) await requireSpace("pull", dir, needed, options.free);

  const total = wanted.reduce((sum, { entry }) => sum + entry.bytes, 0);
  let before = 0;
  for (const one of wanted) {
    signal?.throwIfAborted();
    const result = await pullOne(options, one, {
      ...events,
      onProgress: (bytes, _, file, phase) => events.onProgress?.(before + bytes, total, file, phase),
    });
    before += one.entry.bytes;
    await events.onFile?.(result);
  }
  return await updateRecords(dir, list, (records) => records);
}

/** The result for a file that needs no pulling: it is present, or the file converted from it is. */
async function presentFile(dir: string, row: ListedFile): Promise<PulledResult | undefined> {
  const records = await readRecords(dir);
  if (await fileOf(dir, row, records) === undefined) return undefined;
  const file = storedName(row.file);
  const { bytes, sha256, checkedAgainst } = records.pulled[file];
  if (row.sha256 !== undefined && row.sha256 !== sha256) return undefined; // the list has moved on
  return { network: row.network, file, status: "present", bytes, sha256, checkedAgainst, resumed: 0, received: 0 };
}

/** Asks the hub about a file, and compares the answer with the list and with an earlier pull. */
async function lookUpWanted(options: PullOptions, row: ListedFile, { onNote }: PullEvents): Promise<Wanted> {
  const { hub, policy, signal, dir } = options;
  const name = storedName(row.file);
  const entry = await lookUpPatiently(hub, row, { policy, signal, onRetry: retryNote(onNote) });
  const earlier = options.update ? undefined : (await readRecords(dir)).pulled[name]?.sha256;
  const [sha256, checkedAgainst] = row.sha256 !== undefined
    ? [row.sha256, "list"] as const
    : earlier !== undefined
    ? [earlier, "earlier pull"] as const
    : entry.sha256 !== undefined
    ? [entry.sha256, "hub"] as const
    : [undefined, "nothing"] as const;
  if (row.bytes !== undefined && row.bytes !== entry.bytes) {
    throw new Error(`${name}: expected ${row.bytes} bytes, the hub has a file of ${entry.bytes}`);
  }
  if (sha256 !== undefined && entry.sha256 !== undefined && sha256 !== entry.sha256) {
    const origin = checkedAgainst === "list" ? "the list of files" : "an earlier pull (pulled.json)";
    const hint = checkedAgainst === "list" ? "" : "; --update takes the new file";
    throw new Error(`${name}: expected the sha256 ${sha256} of ${origin}, the hub has ${entry.sha256}${hint}`);
  }
  if (sha256 === undefined) onNote?.(`${name}: the server gives no sha256; that of the bytes that come is noted`);
  return { row, entry, sha256, checkedAgainst };
}

function retryNote(onNote: PullEvents["onNote"]) {
  return (message: string, pause: number) =>
    onNote?.(`${message}; trying again${pause < 1000 ? "" : ` in ${Math.round(pause / 1000)} s`}`);
}

/** Pulls one file while holding its lock; another process may have done it meanwhile. */
async function pullOne(options: PullOptions, wanted: Wanted, events: PullEvents): Promise<PulledResult> {
  const { dir, hub, signal } = options;
  const { row, entry, sha256, checkedAgainst } = wanted;
  const file = storedName(row.file);
  const path = join(dir, file);
  const onWait = () => events.onNote?.(`${file}: another process is pulling it; waiting until that one is done`);
  return await withLock(join(dir, `.${file}.lock`), { signal, onWait }, async () => {
    const records = await readRecords(dir);
    const known = records.pulled[file];
    const current = sha256 ?? known?.sha256;
    if (known !== undefined && known.sha256 === current) {
      const present = await presentFile(dir, row);
      if (present !== undefined) return present;
    }
    const result = { network: row.network, file, bytes: entry.bytes, checkedAgainst };
    const record = async (found: string) => {
      const entryOf: PulledFile = {
        repo: row.repo,
        path: row.file,
        revision: row.revision,
        commit: entry.commit,
        bytes: entry.bytes,
        sha256: found,
        checkedAgainst,
      };
      await updateRecords(dir, options.list, (all) => ({ ...all, pulled: { ...all.pulled, [file]: entryOf } }));
      await noteOddities(path, row, found, events.onNote);
    };
    const onProgress = (bytes: number, total: number, phase: "download" | "hashing") =>
      events.onProgress?.(bytes, total, file, phase);
    if (known === undefined && await Deno.stat(path).then(() => true, () => false)) {
      const adopted = await adopt(path, entry, sha256, signal, onProgress);
      await record(adopted);
      return { ...result, status: "adopted", sha256: adopted, resumed: 0, received: 0 };
    }
    const { connections, policy, openWriter } = options;
    const onRetry = retryNote(events.onNote);
    const done = await downloadFile(hub, row, entry, path, {
      ...{ connections, policy, openWriter, signal, sha256, onRetry, onProgress },
      onNote: events.onNote,
    });
    await record(done.sha256);
    return { ...result, status: "pulled", ...done };
  });
}

/** Notes what a user should know of a file that came: how its network was found in it, and whether texts know another. */
async function noteOddities(
  path: string,
  row: ListedFile,
  sha256: string,
  onNote: PullEvents["onNote"],
): Promise<void> {
  const file = storedName(row.file);
  if (row.hint !== undefined && row.hint !== sha256) {
    onNote?.(
      `${file}: its sha256 is ${sha256.slice(0, 12)}..., public texts give ${
        row.hint.slice(0, 12)
      }...: the authors may ` +
        "have replaced it, or this hub has another file; compare it with the page of the repository",
    );
  }
  try {
    const { source, notes } = await openOriginal(path, row);
    source.close();
    for (const note of notes) onNote?.(`${file}: ${note}`);
  } catch (error) {
    onNote?.((error as Error).message); // begins with the file's name
  }
}

/** sha256 of a file of unknown origin, if it is the wanted file; else rejects with what to do. */
async function adopt(
  path: string,
  entry: HubEntry,
  sha256: string | undefined,
  signal: AbortSignal | undefined,
  onProgress: (bytes: number, total: number, phase: "download" | "hashing") => void,
): Promise<string> {
  const refuse = (what: string): never => {
    throw new Error(`${path}: is there and is not the file of the hub (${what}): move it away and pull again`);
  };
  if (!await hasSize(path, entry.bytes)) {
    refuse(`expected ${entry.bytes} bytes, got ${(await Deno.stat(path)).size}`);
  }
  const actual = await hashFile(path, { signal, onProgress: (bytes) => onProgress(bytes, entry.bytes, "hashing") });
  if (sha256 !== undefined && actual !== sha256) refuse(`expected the sha256 ${sha256}, got ${actual}`);
  return actual;
}
