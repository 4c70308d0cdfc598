/**
 * A file that is not complete yet: its bytes in `NAME.part`, which of them are there in `NAME.part.json`, so that an
 * interrupted download goes on. It deliberately knows no network; it is complete when its sha256 says so.
 */
import { Ranges } from "./ranges.ts";
import { formatBytes } from "../../util/bytes.ts";

/** What is being put together: bytes of anything else are of no use. */
export interface PartIdentity {
  /** Where it comes from, for the reader of the state file: without the host, so that mirrors can take over. */
  readonly source: string;
  readonly bytes: number;
  /** sha256 if it is known, else the entity tag, else nothing. */
  readonly tag: string;
}

const format = "model-tracer-part/1";
/** The state is written at most so often, in milliseconds, and after the bytes that it tells of. */
const saveInterval = 2000;
/** The state is padded to a block, so that it can be replaced in place when the disk is full. */
const stateSize = 4096;

export class PartFile {
  #saved = performance.now();
  #saving: Promise<void> = Promise.resolve();
  readonly #file: Deno.FsFile;

  private constructor(
    readonly path: string,
    readonly identity: PartIdentity,
    readonly have: Ranges,
    file: Deno.FsFile,
  ) {
    this.#file = file;
  }

  /**
   * Opens `path + ".part"`. What is there of the same file is kept; of another one, or without a readable state, it is
   * dropped, and `onNote` says so.
   */
  static async open(path: string, identity: PartIdentity, onNote?: (text: string) => void): Promise<PartFile> {
    const have = await PartFile.#readState(path, identity, onNote);
    const file = await Deno.open(`${path}.part`, { create: true, write: true, truncate: have.bytes === 0 });
    try {
      await file.truncate(identity.bytes); // a sparse file of the final length: connections write anywhere in it
      const part = new PartFile(path, identity, have, file);
      await part.save();
      return part;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Bytes that are there of a file that is not complete; 0 when nothing usable is. */
  static async bytesOf(path: string, identity?: PartIdentity): Promise<number> {
    return (await PartFile.#readState(path, identity)).bytes;
  }

  /** Bytes of disk that an incomplete file takes already: what of it is written, not its final length. */
  static async allocated(path: string): Promise<number> {
    const info = await Deno.stat(`${path}.part`).catch(() => null);
    return info === null ? 0 : info.blocks === null ? await PartFile.bytesOf(path) : info.blocks * 512;
  }

  /** Removes what is there of an incomplete file. */
  static async discard(path: string): Promise<void> {
    for (const file of [`${path}.part.json`, `${path}.part`]) {
      await Deno.remove(file).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
    }
  }

  static async #readState(path: string, identity?: PartIdentity, onNote?: (text: string) => void): Promise<Ranges> {
    try {
      const size = (await Deno.stat(`${path}.part`)).size;
      const state = JSON.parse(await Deno.readTextFile(`${path}.part.json`));
      if (state?.format !== format) throw new Error("another format");
      const same = identity === undefined ||
        (state.bytes === identity.bytes && state.tag === identity.tag && identity.tag !== "");
      if (!same) throw new Error("another version of the file");
      return Ranges.checked(state.have, Math.min(state.bytes, size));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        onNote?.(
          `starts again: what is there of it cannot be used (${error instanceof Error ? error.message : error})`,
        );
      }
      return new Ranges();
    }
  }

  /** Bytes that are there. */
  get done(): number {
    return this.have.bytes;
  }

  /** Another handle on the bytes, with a position of its own. */
  async writer(): Promise<Deno.FsFile> {
    return await Deno.open(`${this.path}.part`, { write: true });
  }

  /** Bytes were written; the state is saved now and then. */
  async wrote(start: number, end: number): Promise<void> {
    this.have.add(start, end);
    if (performance.now() - this.#saved >= saveInterval) await this.save();
  }

  /** Writes the state, after the bytes that it tells of are on the disk. */
  save(): Promise<void> {
    this.#saved = performance.now();
    const { source, bytes, tag } = this.identity;
    const text = JSON.stringify({ format, source, bytes, tag, have: this.have }).padEnd(stateSize);
    this.#saving = this.#saving.catch(() => {}).then(async () => {
      await this.#file.syncData();
      await this.#write(text);
    });
    return this.#saving;
  }

  async #write(text: string): Promise<void> {
    const path = `${this.path}.part.json`;
    try {
      await Deno.writeTextFile(`${path}.new`, text);
      await Deno.rename(`${path}.new`, path);
    } catch (error) {
      // On a full disk there is no room for another file, but there is for the same one with other contents.
      await Deno.remove(`${path}.new`).catch(() => {});
      const bytes = new TextEncoder().encode(text);
      if (bytes.length !== await Deno.stat(path).then(({ size }) => size, () => -1)) throw error;
      using file = await Deno.open(path, { write: true });
      for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
    }
  }

  /** The bytes go under their final name, and the state away. */
  async finish(): Promise<void> {
    await this.#saving.catch(() => {});
    await this.#file.sync();
    await Deno.rename(`${this.path}.part`, this.path);
    await Deno.remove(`${this.path}.part.json`).catch(() => {});
  }

  close(): void {
    this.#file.close();
  }

  /** `1.20 GiB of 7.49 GiB are kept in var_d30.pth.part`, for messages. */
  get kept(): string {
    const name = this.path.split(/[/\\]/).at(-1);
    return `${formatBytes(this.done)} of ${formatBytes(this.identity.bytes)} are kept in ${name}.part`;
  }
}
