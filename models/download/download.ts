/**
 * One file from the hub to the disk: several connections, each fetching ranges, until every byte is there and the sha256 is
 * right; only then the file gets its name. It deliberately knows nothing about what files are for.
 */
import { basename } from "node:path";
import { explainFull } from "./disk.ts";
import { ExpiredAddress, type HubEntry, type HubFile, type HubOptions, lookUp, openRange } from "./hub.ts";
import { PartFile } from "./part.ts";
import type { Range } from "./ranges.ts";
import { defaultRetryPolicy, Gate, type OnRetry, type RetryPolicy, TemporaryError } from "./retry.ts";
import { hashFile } from "../../util/hash.ts";

export interface DownloadOptions {
  /** Connections at once; default 4. */
  readonly connections?: number;
  readonly policy?: RetryPolicy;
  readonly signal?: AbortSignal;
  /** Bytes there, of all; `hashing` counts the bytes of the final check. */
  readonly onProgress?: (bytes: number, total: number, phase: "download" | "hashing") => void;
  readonly onNote?: (text: string) => void;
  readonly onRetry?: OnRetry;
  /** Expected sha256; default what the hub says. */
  readonly sha256?: string;
  /** Opens the handles that bytes are written through; for tests of disks that fail. */
  readonly openWriter?: (part: PartFile) => Promise<Pick<Deno.FsFile, "seek" | "write" | "close">>;
}

export interface Downloaded {
  readonly bytes: number;
  /** Of the bytes on the disk. */
  readonly sha256: string;
  /** Bytes that were there from an earlier run. */
  readonly resumed: number;
  /** Bytes that came over the network now. */
  readonly received: number;
}

/** Ranges are requested in pieces between these sizes, so that all connections end at about the same time. */
const shortestPiece = 1 << 18;
const longestPiece = 1 << 24;

/**
 * Asks the hub about a file, with retries; see {@link lookUp}.
 */
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
 * Downloads a file to `path`, going on with what an earlier run left in `path + ".part"`. The file appears under its name
 * only when its size and sha256 are right. Throws what cannot be mended by another try; what is there stays for the next
 * run, except bytes with a wrong sha256. When bytes of an earlier run are among those, everything is fetched once more.
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
  for (let again = false;; again = true) {
    const result = await fetchAll(hub, file, entry, path, expected ?? entry.etag ?? "", options);
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

/** Fetches what is missing; the part that comes back has all bytes, and is closed by the caller. */
async function fetchAll(
  hub: HubOptions,
  file: HubFile,
  entry: HubEntry,
  path: string,
  tag: string,
  options: DownloadOptions,
): Promise<{ part: PartFile; resumed: number; received: number }> {
  const label = basename(path);
  const source = `${file.repo}/${file.file}@${entry.commit ?? file.revision}`;
  const part = await PartFile.open(path, { source, bytes: entry.bytes, tag }, (note) => {
    options.onNote?.(`${label}: ${note}`);
  });
  const resumed = part.done;
  try {
    try {
      await new Fetcher(hub, file, entry, part, label, options).run();
    } catch (error) {
      if (!(error instanceof NoRanges)) throw error;
      options.onNote?.(`${label}: the server has no ranges: one connection, and a cut costs a new beginning`);
      await new Fetcher(hub, file, entry, part, label, options, true).run();
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
    readonly hub: HubOptions,
    readonly file: HubFile,
    entry: HubEntry,
    readonly part: PartFile,
    readonly label: string,
    readonly options: DownloadOptions,
    /** One connection that fetches the whole file at once, for servers without ranges. */
    readonly whole = false,
  ) {
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
    const { connections = 4 } = this.options;
    this.options.onProgress?.(this.part.done, this.#entry.bytes, "download");
    const workers = Array.from(
      { length: Math.min(connections, this.#queue.length) },
      () =>
        this.#work().catch((error) => {
          this.#stop.abort(error);
          throw error;
        }),
    );
    const results = await Promise.allSettled(workers);
    this.options.signal?.throwIfAborted();
    if (this.#stop.signal.aborted) throw this.#stop.signal.reason;
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** One connection: takes ranges from the queue until it is empty. */
  async #work(): Promise<void> {
    const writer = await (this.options.openWriter?.(this.part) ?? this.part.writer());
    try {
      for (let range = this.#queue.shift(); range !== undefined; range = this.#queue.shift()) {
        let [start, end] = range;
        for (let failures = 0; start < end;) {
          await this.#gate.pass();
          this.#signal.throwIfAborted();
          const before = start;
          try {
            start = await this.#fetch(writer, start, end, (at) => start = at);
            if (start < end) throw new TemporaryError(`${this.label}: the connection ended ${end - start} bytes early`);
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

  /** Fetches `start .. end`; `advance` tells how far the bytes on the disk reach, which is also the result. */
  async #fetch(
    writer: Pick<Deno.FsFile, "seek" | "write">,
    start: number,
    end: number,
    advance: (at: number) => void,
  ): Promise<number> {
    const entry = this.#entry;
    const body = await openRange(this.hub, entry, start, end, this.label, { signal: this.#signal, gate: this.#gate });
    if (!body.partial && !this.whole && end - start < entry.bytes) throw new NoRanges();
    // A server without ranges sends everything from the beginning: what lies before is passed over.
    let skip = body.partial ? 0 : start;
    let at = start;
    await writer.seek(start, Deno.SeekMode.Start);
    for await (const whole of body.pieces()) {
      const piece = whole.subarray(Math.min(skip, whole.length), Math.min(whole.length, skip + end - at));
      skip = Math.max(0, skip - whole.length);
      for (let done = 0; done < piece.length;) done += await writer.write(piece.subarray(done));
      if (piece.length > 0) {
        await this.part.wrote(at, at + piece.length);
        at += piece.length;
        advance(at);
        this.options.onProgress?.(this.part.done, entry.bytes, "download");
      }
      if (at === end) break;
    }
    return at;
  }

  /** Asks the hub for the address again; connections that find theirs expired together ask once. */
  async #renew(): Promise<void> {
    const { policy } = this.options;
    const old = this.#entry;
    this.#renewal ??= lookUpPatiently(this.hub, this.file, { policy, signal: this.#signal })
      .finally(() => this.#renewal = undefined);
    const entry = await this.#renewal;
    if (entry.bytes !== old.bytes || entry.sha256 !== old.sha256) {
      throw new Error(`${this.label}: the file at the hub changed during the download: run the same command again`);
    }
    this.#entry = entry;
  }
}
