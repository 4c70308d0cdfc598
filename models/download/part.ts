/**
 * An incomplete file: its bytes in `NAME.part`, and in `NAME.part.json` which of them are written, so that an
 * interrupted download can resume.
 */
import { Ranges } from "./ranges.ts";
import { formatBytes } from "../../util/bytes.ts";
import { removeIfThere, writeAll } from "../../util/files.ts";

/** Which version of which file it is. Bytes of another one are not used. */
export interface PartIdentity {
  /** Origin, for readers of the state file; without the host, so that mirrors can continue a download. */
  readonly source: string;
  readonly bytes: number;
  /** sha256 if known, else the entity tag, else "". */
  readonly tag: string;
}

const format = "model-tracer-part/1";
/** Least time between writes of the state, in milliseconds. */
const saveInterval = 2000;
/** The state is padded to a block, so that it can be overwritten when the disk is full. */
const stateSize = 4096;

/** An open `.part` file. */
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
   * Opens `path + ".part"`. Keeps bytes of the same file. Drops bytes of another one, or without a readable state, and
   * tells `onNote`.
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

  /** Number of usable bytes of an incomplete file. */
  static async bytesOf(path: string, identity?: PartIdentity): Promise<number> {
    return (await PartFile.#readState(path, identity)).bytes;
  }

  /** Bytes of disk that an incomplete file takes: the part that is written, not its final length. */
  static async allocated(path: string): Promise<number> {
    const info = await Deno.stat(`${path}.part`).catch(() => null);
    return info === null ? 0 : info.blocks === null ? await PartFile.bytesOf(path) : info.blocks * 512;
  }

  /** Removes an incomplete file. */
  static async discard(path: string): Promise<void> {
    for (const file of [`${path}.part.json`, `${path}.part`]) await removeIfThere(file);
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

  /** Number of bytes that are written. */
  get done(): number {
    return this.have.bytes;
  }

  /** Another handle on the bytes, with a separate position. */
  async writer(): Promise<Deno.FsFile> {
    return await Deno.open(`${this.path}.part`, { write: true });
  }

  /** Notes that bytes were written, and saves the state from time to time. */
  async wrote(start: number, end: number): Promise<void> {
    this.have.add(start, end);
    if (performance.now() - this.#saved >= saveInterval) await this.save();
  }

  /** Writes the state, after the bytes that it lists are on the disk. */
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
      // On a full disk there is no room for another file, but the old one can be overwritten.
      await Deno.remove(`${path}.new`).catch(() => {});
      const bytes = new TextEncoder().encode(text);
      if (bytes.length !== await Deno.stat(path).then(({ size }) => size, () => -1)) throw error;
      using file = await Deno.open(path, { write: true });
      await writeAll(file, bytes);
    }
  }

  /** Gives the file its final name, and removes the state. */
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
