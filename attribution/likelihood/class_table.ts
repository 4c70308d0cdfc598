/** Reads a table of known classes, a CSV file with the columns image_name,class. */
import { parse } from "npm:csv-parse@6.1.0/sync";
import { sha256Hex } from "../../util/hash.ts";

/** Known classes of images. */
export interface ClassTable {
  /** By image name. */
  readonly byName: ReadonlyMap<string, number>;
  /** sha256 of the file. */
  readonly sha256: string;
}

/**
 * Reads a table. Throws, naming file and line, unless it has the two columns, one row per image, and classes from 0 to
 * classes - 1.
 */
export async function readClassTable(path: string, classes: number): Promise<ClassTable> {
  let bytes: Uint8Array<ArrayBuffer>;
  let rows: Record<string, string>[];
  try {
    bytes = await Deno.readFile(path);
    rows = parse(new TextDecoder().decode(bytes), { columns: true, bom: true, skip_empty_lines: true, trim: true });
  } catch (cause) {
    throw new Error(`--classes ${path}: ${(cause as Error).message}`, { cause });
  }
  const columns = Object.keys(rows[0] ?? {});
  for (const column of ["image_name", "class"]) {
    if (!columns.includes(column)) {
      throw new Error(
        `--classes ${path}: expected the columns image_name,class, got ${columns.join(",") || "nothing"}`,
      );
    }
  }
  const byName = new Map<string, number>();
  rows.forEach(({ image_name: name, class: text }, i) => {
    const wrong = (problem: string) => new Error(`--classes ${path}: line ${i + 2}: ${problem}`);
    const value = Number(text);
    if (!/^\d+$/.test(text) || value >= classes) throw wrong(`expected a class from 0 to ${classes - 1}, got ${text}`);
    if (byName.has(name)) throw wrong(`${name} has a row already`);
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
  const missing = images.filter(({ imageName }) => !byName.has(imageName)).map(({ imageName }) => imageName);
  if (missing.length > 0) {
    const some = missing.slice(0, 3).join(", ") + (missing.length > 3 ? ", ..." : "");
    throw new Error(`--classes ${path}: expected a row for every image, ${missing.length} have none (${some})`);
  }
  return images.map((image) => ({ ...image, class: byName.get(image.imageName)! }));
}
