/**
 * Downloads one file from the hub: several connections fetch ranges until all bytes are there and the sha256 is right;
 * only then the file gets its name.
 */
import { basename } from "node:path";
import { explainFull } from "./disk.ts";
import { ExpiredAddress, type HubEntry, type HubFile, type HubOptions, lookUp, openRange } from "./hub.ts";
import { PartFile } from "./part.ts";
import type { Range } from "./ranges.ts";
import { defaultRetryPolicy, Gate, type OnRetry, type RetryPolicy, TemporaryError } from "./retry.ts";
import { writeAll } from "../../util/files.ts";
import { hashFile } from "../../util/hash.ts";

/** Options of `downloadFile`. */
export interface DownloadOptions {
  /** Connections at once (default 4). */
  readonly connections?: number;
  readonly policy?: RetryPolicy;
  readonly signal?: AbortSignal;
  /** Called with the bytes present and their total; `hashing` counts the bytes of the final check. */
  readonly onProgress?: (bytes: number, total: number, phase: "download" | "hashing") => void;
  /** Called with remarks for the user. */
  readonly onNote?: (text: string) => void;
  readonly onRetry?: OnRetry;
  /** Expected sha256 (default: the hub's). */
  readonly sha256?: string;
  /** Opens the handles that bytes are written to; for tests of failing disks. */
  readonly openWriter?: (part: PartFile) => Promise<Pick<Deno.FsFile, "seek" | "write" | "close">>;
}

/** What `downloadFile` did. */
export interface Downloaded {
  /** Size of the file. */
  readonly bytes: number;
  /** Of the bytes on the disk. */
  readonly sha256: string;
  /** Bytes left by an earlier run. */
  readonly resumed: number;
  /** Bytes received over the network now. */
  readonly received: number;
}

/** Sizes of ranges are between these, so that all connections end at about the same time. */
const shortestPiece = 1 << 18;
const longestPiece = 1 << 24;

/** Asks the hub about a file, with retries; see {@link lookUp}. */
export async function lookUpPatiently(
  hub: HubOptions,
  file: HubFile,
  { policy = defaultRetryPolicy, signal, onRetry }: Pick<DownloadOptions, "policy" | "signal" | "onRetry"> = {},
): Promise<HubEntry> {
  const gate = new Gate(policy, signal, onRetry);
  for (let failures = 1;; failures++) {
    await gate.pass();
    try {
      return await lookUp(hub, file, signal, policy.idle);
    } catch (error) {
      await gate.failed(error, failures);
    }
  }
}

/**
 * Downloads a file to `path`, starting from the bytes of an earlier run in `path + ".part"`. The file gets its name
 * when its size and sha256 are right. Rejects when retries do not help; the received bytes stay for the next run,
 * unless their sha256 is wrong. If it is wrong and some bytes are of an earlier run, everything is fetched once more.
 */
export async function downloadFile(
  hub: HubOptions,
  file: HubFile,
  entry: HubEntry,
  path: string,
  options: DownloadOptions = {},
): Promise<Downloaded> {
  const expected = options.sha256 ?? entry.sha256;
  const label = basename(path);
  const download = { hub, file, entry, path, label, options };
  for (let again = false;; again = true) {
    const result = await fetchAll(download, expected ?? entry.etag ?? "");
    const { part, resumed, received } = result;
    try {
      const sha256 = await hashFile(`${path}.part`, {
        signal: options.signal,
        onProgress: (bytes) => options.onProgress?.(bytes, entry.bytes, "hashing"),
      });
      if (expected === undefined || sha256 === expected) {
        await part.finish();
        return { bytes: entry.bytes, sha256, resumed, received };
      }
      await PartFile.discard(path);
      const problem = `${label}: expected the sha256 ${expected}, got ${sha256}`;
      if (again || resumed === 0) {
        throw new Error(
          `${problem}: the bytes were changed on the way, or the file at ${new URL(entry.url).host} is another one; ` +
            "they were removed, pull again or try another endpoint",
        );
      }
      options.onNote?.(`${problem}; fetching it again, without what an earlier run left`);
    } finally {
      part.close();
    }
  }
}

/** One file to download. */
interface Download {
  readonly hub: HubOptions;
  readonly file: HubFile;
  readonly entry: HubEntry;
  readonly path: string;
  /** For messages. */
  readonly label: string;
  readonly options: DownloadOptions;
}

/** Fetches the missing bytes. The caller closes the returned part. `tag` identifies the version of the file. */
async function fetchAll(
  download: Download,
  tag: string,
): Promise<{ part: PartFile; resumed: number; received: number }> {
  const { file, entry, path, label, options } = download;
  const source = `${file.repo}/${file.file}@${entry.commit ?? file.revision}`;
  const part = await PartFile.open(path, { source, bytes: entry.bytes, tag }, (note) => {
    options.onNote?.(`${label}: ${note}`);
  });
  const resumed = part.done;
  try {
    try {
      await new Fetcher(download, part).run();
    } catch (error) {
      if (!(error instanceof NoRanges)) throw error;
      options.onNote?.(`${label}: the server has no ranges: one connection, and a cut costs a new beginning`);
      await new Fetcher(download, part, true).run();
    }
    await part.save();
    return { part, resumed, received: part.done - resumed };
  } catch (error) {
    const kept = await part.save().then(() => part.kept, () => "what came last is not kept");
    part.close();
    throw explainFull(error, label, `${kept}: make room and run the same command again`);
  }
}

/** The server answers a range with the whole file. */
class NoRanges extends Error {}

/** The connections of one download. */
class Fetcher {
  #entry: HubEntry;
  #renewal: Promise<HubEntry> | undefined;
  #queue: Range[];
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #gate: Gate;

  constructor(
    readonly download: Download,
    readonly part: PartFile,
    /** One connection that fetches the whole file at once, for servers without ranges. */
    readonly whole = false,
  ) {
    const { entry, options } = download;
    this.#entry = entry;
    const { connections = 4, policy = defaultRetryPolicy, signal } = options;
    const piece = Math.min(longestPiece, Math.max(shortestPiece, Math.ceil(entry.bytes / (4 * connections))));
    const gaps = part.have.gaps(entry.bytes, piece);
    this.#queue = whole && gaps.length > 0 ? [[gaps[0][0], entry.bytes]] : gaps;
    this.#signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
    this.#gate = new Gate(policy, this.#signal, options.onRetry);
  }

  /** Resolves when every byte is there. The first failure of a connection ends the others. */
  async run(): Promise<void> {
    const { connections = 4, onProgress, signal } = this.download.options;
    onProgress?.(this.part.done, this.#entry.bytes, "download");
    const workers = Array.from(
      { length: Math.min(connections, this.#queue.length) },
      () =>
        this.#work().catch((error) => {
          this.#stop.abort(error);
          throw error;
        }),
    );
    const results = await Promise.allSettled(workers);
    signal?.throwIfAborted();
    if (this.#stop.signal.aborted) throw this.#stop.signal.reason;
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** One connection: takes ranges from the queue until it is empty. */
  async #work(): Promise<void> {
    const writer = await (this.download.options.openWriter?.(this.part) ?? this.part.writer());
    try {
      for (let range = this.#queue.shift(); range !== undefined; range = this.#queue.shift()) {
        let [start, end] = range;
        for (let failures = 0; start < end;) {
          await this.#gate.pass();
          this.#signal.throwIfAborted();
          const before = start;
          try {
            start = await this.#fetch(writer, start, end, (at) => start = at);
            if (start < end) throw this.#endedEarly(end - start);
          } catch (error) {
            failures = start > before ? 1 : failures + 1;
            if (error instanceof ExpiredAddress) await this.#renew();
            await this.#gate.failed(error, failures);
          }
        }
      }
    } finally {
      writer.close();
    }
  }

  #endedEarly(bytes: number): Error {
    return new TemporaryError(`${this.download.label}: the connection ended ${bytes} bytes early`);
  }

  /** Fetches `start .. end`; `advance` is called with the end of the bytes on the disk, which is also the result. */
  async #fetch(
    writer: Pick<Deno.FsFile, "seek" | "write">,
    start: number,
    end: number,
    advance: (at: number) => void,
  ): Promise<number> {
    const entry = this.#entry;
    const { hub, label, options } = this.download;
    const body = await openRange(hub, entry, [start, end], label, { signal: this.#signal, gate: this.#gate });
    if (!body.partial && !this.whole && end - start < entry.bytes) throw new NoRanges();
    // A server without ranges sends the whole file: bytes before the range are skipped.
    let skip = body.partial ? 0 : start;
    let at = start;
    await writer.seek(start, Deno.SeekMode.Start);
    for await (const whole of body.pieces()) {
      const piece = whole.subarray(Math.min(skip, whole.length), Math.min(whole.length, skip + end - at));
      skip = Math.max(0, skip - whole.length);
      await writeAll(writer, piece);
      if (piece.length > 0) {
        await this.part.wrote(at, at + piece.length);
        at += piece.length;
        advance(at);
        options.onProgress?.(this.part.done, entry.bytes, "download");
      }
      if (at === end) break;
    }
    return at;
  }

  /** Asks the hub for the address again, once for all connections whose address expired. */
  async #renew(): Promise<void> {
    const { hub, file, label, options: { policy } } = this.download;
    const old = this.#entry;
    this.#renewal ??= lookUpPatiently(hub, file, { policy, signal: this.#signal })
      .finally(() => this.#renewal = undefined);
    const entry = await this.#renewal;
    if (entry.bytes !== old.bytes || entry.sha256 !== old.sha256) {
      throw new Error(`${label}: the file at the hub changed during the download: run the same command again`);
    }
    this.#entry = entry;
  }
}
