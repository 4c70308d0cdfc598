/** Reads a table of known classes, a CSV file with the columns image_name,class. */
import { parseNameTable } from "../images/name_table.ts";
import { sha256Hex } from "../../util/hash.ts";
import { NameMap, printable } from "../../util/names.ts";

/** Known classes of images. */
export interface ClassTable {
  /** By image name. */
  readonly byName: NameMap<number>;
  /** sha256 of the file. */
  readonly sha256: string;
}

/**
 * Reads a table. Throws, naming file and line, unless it has the two columns, one row per image, and classes from 0 to
 * classes - 1.
 */
export async function readClassTable(path: string, classes: number): Promise<ClassTable> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    throw new Error(`--classes ${path}: ${(cause as Error).message}`, { cause });
  }
  const rows = parseNameTable(new TextDecoder().decode(bytes), `--classes ${path}`, "class");
  const byName = new NameMap<number>();
  rows.forEach(({ image_name: name, class: text }, i) => {
    const wrong = (problem: string) => new Error(`--classes ${path}: line ${i + 2}: ${problem}`);
    const value = Number(text);
    if (!/^\d+$/.test(text) || value >= classes) throw wrong(`expected a class from 0 to ${classes - 1}, got ${text}`);
    if (byName.has(name)) throw wrong(`${printable(name)} has a row already`);
    byName.set(name, value);
  });
  return { byName, sha256: await sha256Hex(bytes) };
}

/** The images with their classes. Throws if the table lacks an image. `path` is for the message. */
export function withClasses<T extends { readonly imageName: string }>(
  images: readonly T[],
  path: string,
  { byName }: ClassTable,
): (T & { readonly class: number })[] {
  const missing = images.filter(({ imageName }) => byName.get(imageName) === undefined)
    .map(({ imageName }) => printable(imageName));
  if (missing.length > 0) {
    const some = missing.slice(0, 3).join(", ") + (missing.length > 3 ? ", ..." : "");
    throw new Error(`--classes ${path}: expected a row for every image, ${missing.length} have none (${some})`);
  }
  return images.map((image) => ({ ...image, class: byName.get(image.imageName)! }));
}
