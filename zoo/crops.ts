/**
 * The crops of photographs on disk: writing a folder of them, and loading one split for training or measuring.
 * It does not choose crops (photos.ts) nor their classes (classes.ts); the files are plain bytes beside one index.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Crops } from "./images.ts";
import { type Crop, type Split, splits } from "./photos.ts";

const bytesOf = (side: number) => side * side * 3;
const format = "zoo-crops-1";

/** `index.json` of a folder of crops; beside it lie `<split>.u8` and `<split>.classes.u8`. */
export interface CropsIndex {
  readonly format: string;
  /** Width and height of every crop. */
  readonly side: number;
  /** Names of the photographs that crops refer to by position. */
  readonly photos: readonly string[];
  readonly splits: Readonly<Record<Split, SplitIndex>>;
}

/** One split of a folder of crops. */
export interface SplitIndex {
  readonly count: number;
  /** Of `<split>.u8`. */
  readonly sha256: string;
  /** Of `<split>.classes.u8`; absent as long as there are no classes. */
  readonly classesSha256?: string;
  /** Per crop: photograph, short side of the reduced photograph, x, y. */
  readonly crops: readonly (readonly [photo: number, scale: number, x: number, y: number])[];
}

/** The crops of one split: `Crops`, and the photograph of each as a position in the table of photographs. */
export interface PhotoCrops extends Crops {
  readonly photo: Uint16Array;
}

/** Writes the three splits crop by crop, so that none of them has to fit into memory. */
export class CropsWriter {
  readonly #streams: Record<Split, Stream>;

  private constructor(readonly dir: string, readonly side: number, streams: Record<Split, Deno.FsFile>) {
    this.#streams = Object.fromEntries(
      splits.map((split) => [split, { file: streams[split], hash: createHash("sha256"), crops: [] as SplitCrops }]),
    ) as Record<Split, Stream>;
  }

  /**
   * Starts anew in `dir`, for crops of `side` pixels. The folder is made if missing; an index from before is removed
   * first.
   */
  static async open(dir: string, side: number): Promise<CropsWriter> {
    await Deno.mkdir(dir, { recursive: true });
    await Deno.remove(join(dir, "index.json")).catch(() => {});
    const files = await Promise.all(splits.map((split) => Deno.create(join(dir, `${split}.u8`))));
    return new CropsWriter(dir, side, Object.fromEntries(splits.map((split, i) => [split, files[i]])) as never);
  }

  add(split: Split, photo: number, { scale, x, y, pixels }: Crop): void {
    const size = bytesOf(this.side);
    if (pixels.length !== size) {
      throw new RangeError(`CropsWriter: a crop expects ${size} bytes, got ${pixels.length}`);
    }
    const { file, hash, crops } = this.#streams[split];
    for (let at = 0; at < size;) at += file.writeSync(pixels.subarray(at));
    hash.update(pixels);
    crops.push([photo, scale, x, y]);
  }

  /** Closes the files and writes the index. */
  async close(photos: readonly string[]): Promise<CropsIndex> {
    const index: CropsIndex = {
      format,
      side: this.side,
      photos,
      splits: Object.fromEntries(splits.map((split) => {
        const { file, hash, crops } = this.#streams[split];
        file.close();
        return [split, { count: crops.length, sha256: hash.digest("hex"), crops }];
      })) as unknown as CropsIndex["splits"],
    };
    await writeIndex(this.dir, index);
    return index;
  }
}

interface Stream {
  readonly file: Deno.FsFile;
  readonly hash: ReturnType<typeof createHash>;
  readonly crops: SplitCrops;
}

type SplitCrops = [photo: number, scale: number, x: number, y: number][];

/** Writes the class of each crop of the splits beside them, and their checksums into the index. */
export async function writeClasses(dir: string, classes: Readonly<Record<Split, Uint8Array>>): Promise<CropsIndex> {
  const index = await readIndex(dir);
  const entries = await Promise.all(splits.map(async (split) => {
    const entry = index.splits[split];
    if (classes[split].length !== entry.count) {
      throw new RangeError(`writeClasses: ${split} expects ${entry.count} classes, got ${classes[split].length}`);
    }
    await Deno.writeFile(join(dir, `${split}.classes.u8`), classes[split]);
    return [split, { ...entry, classesSha256: sha256(classes[split]) }];
  }));
  const updated = { ...index, splits: Object.fromEntries(entries) as CropsIndex["splits"] };
  await writeIndex(dir, updated);
  return updated;
}

/** What is expected of a folder of crops. */
export interface LoadCropsOptions {
  /** Width and height of every crop; any when not given. */
  readonly side?: number;
  /** Classes are zeros, and need not be there. */
  readonly withoutClasses?: boolean;
}

/**
 * One split of a folder that `deno task zoo-photos` wrote, checked against the index's lengths and checksums.
 *
 * Throws Error, naming the file and what to do, where a file is missing, of another length or content, where crops have
 * another size, or where there are no classes yet.
 */
export async function loadCrops(
  dir: string,
  split: Split,
  { side: wanted, withoutClasses = false }: LoadCropsOptions = {},
): Promise<PhotoCrops> {
  const index = await readIndex(dir), { side } = index;
  if (wanted !== undefined && side !== wanted) {
    throw new Error(`loadCrops: ${dir} expects crops of ${wanted} pixels, got ${side}; ${again}`);
  }
  const { count, sha256: expected, classesSha256, crops } = index.splits[split];
  const pixels = await read(join(dir, `${split}.u8`), count * bytesOf(side), expected);
  let classes = new Uint8Array(count);
  if (!withoutClasses) {
    if (classesSha256 === undefined) throw new Error(`loadCrops: ${dir} has no classes; ${again}`);
    classes = await read(join(dir, `${split}.classes.u8`), count, classesSha256);
  }
  return {
    count,
    side,
    pixels,
    classes,
    photo: Uint16Array.from(crops, ([photo]) => photo),
    fingerprint: expected,
  };
}

const again = "write the folder again with `deno task zoo-photos`";

async function readIndex(dir: string): Promise<CropsIndex> {
  const path = join(dir, "index.json");
  let index: CropsIndex;
  try {
    index = JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    throw new Error(`loadCrops: ${path} cannot be read (${(error as Error).message}); ${again}`, { cause: error });
  }
  if (index.format !== format || !Number.isInteger(index.side)) {
    throw new Error(
      `loadCrops: ${path} expects format ${format} with the side of crops, got ${index.format} with ${index.side}; ` +
        again,
    );
  }
  for (const split of splits) {
    const entry = index.splits?.[split];
    if (entry === undefined || entry.crops.length !== entry.count) {
      throw new Error(`loadCrops: ${path} contradicts itself about ${split}; ${again}`);
    }
  }
  return index;
}

async function writeIndex(dir: string, index: CropsIndex): Promise<void> {
  const path = join(dir, "index.json");
  await Deno.writeTextFile(`${path}.part`, JSON.stringify(index) + "\n");
  await Deno.rename(`${path}.part`, path);
}

async function read(path: string, length: number, expected: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await Deno.readFile(path).catch((error) => {
    throw new Error(`loadCrops: ${path} cannot be read (${error.message}); ${again}`, { cause: error });
  });
  if (bytes.length !== length) {
    throw new Error(`loadCrops: ${path} expects ${length} bytes, got ${bytes.length}; ${again}`);
  }
  const hash = sha256(bytes);
  if (hash !== expected) {
    throw new Error(`loadCrops: ${path} expects sha256 ${expected}, got ${hash}; ${again}`);
  }
  return bytes;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
