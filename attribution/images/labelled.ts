/**
 * Lists images whose labels are known, from label folders (`val/rarb/1.png`) or from a folder and a table. Every image
 * also gets a source, which tells outliers of different origin apart. Images are not opened.
 */
import { basename, join } from "node:path";
import { type ListedImage, listImages } from "./list.ts";
import { parseNameTable } from "./name_table.ts";
import { type Label, type Labels, outlierLabel } from "../labels.ts";
import { NameMap, printable } from "../../util/names.ts";

/** An image file whose label is known. */
export interface LabelledImage extends ListedImage {
  /** The true label. */
  readonly label: Label;
  /** The label; `outlier/<folder>` for an outlier in a subfolder; or the table's source. */
  readonly source: string;
  /**
   * The photograph or other original that the image was made from, by the table's column. Images of one picture say as
   * much about errors as one image. For label folders, pictures.csv in the folder names it (columns image_name, the
   * path below the folder, and picture). Absent where no table names one: a picture of its own.
   */
  readonly picture?: string;
}

/**
 * The images of label folders, in natural order. `option` begins the error messages. Throws if an image lies outside of
 * label folders, listing the folders whose names are not labels.
 */
export async function listLabelFolders(option: string, dir: string, labels: Labels): Promise<LabelledImage[]> {
  const images = await listFolder(option, dir);
  const pictures = await readPictures(option, dir);
  const unknown = new Map<string, number>();
  const labelled: LabelledImage[] = [];
  for (const image of images) {
    const parts = image.imageName.split("/");
    const folder = parts.length > 1 ? parts[0] : "";
    if (labels.all.includes(folder)) {
      const source = folder === outlierLabel ? parts.slice(0, -1).join("/") : folder;
      const picture = pictures.get(image.imageName);
      labelled.push({ ...image, label: folder, source, ...picture && { picture } });
    } else unknown.set(folder, (unknown.get(folder) ?? 0) + 1);
  }
  if (unknown.size > 0) {
    const folders = [...unknown].map(([folder, n]) =>
      folder === ""
        ? `${n} ${n === 1 ? "image" : "images"} outside of them`
        : `${printable(folder)} (${n})${suggestion(folder, labels)}`
    );
    const hint = labelled.length === 0 ? "; for one folder of images of all kinds give a table with --labels FILE" : "";
    throw new Error(`${option} ${dir}: expected folders named ${labels.all.join(", ")}, got ${some(folders)}${hint}`);
  }
  return labelled;
}

/**
 * The images of a folder that a table labels. The table is CSV with the columns image_name and label, and optionally
 * source and picture. image_name is the path below the folder, or just the file name if it is unique. Images without a
 * row are left out and counted. Throws on missing columns, unknown labels, two rows for one image, and rows without an
 * image.
 */
export async function listWithTable(
  option: string,
  dir: string,
  table: string,
  labels: Labels,
): Promise<{ images: LabelledImage[]; unlabelled: number }> {
  const images = await listFolder(option, dir);
  const byName = new NameMap<ListedImage | null>();
  for (const image of images) byName.set(image.imageName, image);
  for (const image of images) {
    const name = basename(image.imageName);
    if (name !== image.imageName) byName.set(name, byName.has(name) ? null : image);
  }
  const rows = await readTable(table);
  const seen = new Map<string, number>();
  const problems: string[] = [];
  const labelled: LabelledImage[] = [];
  rows.forEach(({ image_name: name, label, source, picture }, i) => {
    const line = i + 2;
    const image = byName.get(name);
    if (!labels.all.includes(label)) {
      problems.push(unknownLabel(line, label, labels));
    } else if (image === undefined) problems.push(`line ${line}: no image called ${printable(name)} in ${dir}`);
    else if (image === null) {
      problems.push(`line ${line}: ${printable(name)}: several images are called so; give the path below ${dir}`);
    } else if (seen.has(image.path)) {
      problems.push(`line ${line}: ${printable(name)}: has a row already, in line ${seen.get(image.path)}`);
    } else {
      seen.set(image.path, line);
      labelled.push({ ...image, label, source: source || label, ...picture && { picture } });
    }
  });
  if (problems.length > 0) throw new Error(`--labels ${table}: ${some(problems, 5, "; ")}`);
  if (labelled.length === 0) throw new Error(`--labels ${table}: expected a row per image, got none`);
  const order = new Map(images.map(({ path }, i) => [path, i]));
  labelled.sort((a, b) => order.get(a.path)! - order.get(b.path)!);
  return { images: labelled, unlabelled: images.length - labelled.length };
}

/**
 * Labels by image name from a CSV table with the columns image_name and label. Throws on unknown labels and double
 * rows.
 */
export async function readLabels(table: string, labels: Labels): Promise<NameMap<Label>> {
  const byName = new NameMap<Label>();
  const problems: string[] = [];
  (await readTable(table)).forEach(({ image_name: name, label }, i) => {
    if (!labels.all.includes(label)) problems.push(unknownLabel(i + 2, label, labels));
    else if (byName.has(name)) problems.push(`line ${i + 2}: ${printable(name)}: has a row already`);
    byName.set(name, label);
  });
  if (problems.length > 0) throw new Error(`--labels ${table}: ${some(problems, 5, "; ")}`);
  if (byName.size === 0) throw new Error(`--labels ${table}: expected a row per image, got none`);
  return byName;
}

/** One or more folders of labelled images. */
export type Folders = string | readonly string[];

/**
 * The images of all folders: label folders, or those that the table at the same place labels. `unlabelled` counts
 * images without a row. Throws as the functions above, where there is not a table per folder, and where two folders
 * have an image of the same name.
 */
export async function listLabelled(
  option: string,
  folders: Folders,
  tables: Folders | undefined,
  labels: Labels,
): Promise<{ images: LabelledImage[]; unlabelled: number }> {
  const dirs = [folders].flat(), files = tables === undefined ? undefined : [tables].flat();
  if (files !== undefined && files.length !== dirs.length) {
    throw new Error(`--labels: expected a table for each of ${dirs.join(", ")}, got ${files.join(", ")}`);
  }
  const lists = await Promise.all(dirs.map(async (dir, i) => {
    if (files !== undefined) return await listWithTable(option, dir, files[i], labels);
    return { images: await listLabelFolders(option, dir, labels), unlabelled: 0 };
  }));
  const images = lists.flatMap((list) => list.images), seen = new Set<string>();
  for (const { imageName } of images) {
    if (seen.has(imageName)) throw new Error(`${option}: ${printable(imageName)} is in two of ${dirs.join(", ")}`);
    seen.add(imageName);
  }
  return { images, unlabelled: lists.reduce((sum, { unlabelled }) => sum + unlabelled, 0) };
}

/** At most `limit` images of every label, spread evenly over their order. */
export function limitPerLabel(images: readonly LabelledImage[], limit: number): LabelledImage[] {
  const byLabel = Map.groupBy(images, ({ label }) => label);
  const kept = new Set<LabelledImage>();
  for (const sameLabel of byLabel.values()) {
    const n = Math.min(limit, sameLabel.length);
    for (let i = 0; i < n; i++) kept.add(sameLabel[Math.floor(i * sameLabel.length / n)]);
  }
  return images.filter((image) => kept.has(image));
}

/** Number of images by label, in the order of the labels. Labels without images are left out. */
export function countLabels(images: readonly { readonly label: Label }[], labels: Labels): Record<Label, number> {
  const counts: Record<Label, number> = {};
  for (const label of labels.all) {
    const n = images.filter((image) => image.label === label).length;
    if (n > 0) counts[label] = n;
  }
  return counts;
}

async function listFolder(option: string, dir: string): Promise<ListedImage[]> {
  const info = await Deno.stat(dir).catch(() => null);
  if (info === null) throw new Error(`${option} ${dir}: expected a folder, found nothing at this path`);
  if (!info.isDirectory) throw new Error(`${option} ${dir}: expected a folder, this is a file`);
  return await listImages([join(dir)]);
}

/** The pictures of a folder's images, if its pictures.csv names any. */
async function readPictures(option: string, dir: string): Promise<NameMap<string>> {
  const path = join(dir, "pictures.csv");
  const pictures = new NameMap<string>();
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return pictures;
    throw new Error(`${option} ${path}: ${(error as Error).message}`, { cause: error });
  }
  for (const { image_name: name, picture } of parseNameTable(text, `${option} ${path}`, "picture")) {
    pictures.set(name, picture);
  }
  return pictures;
}

/** A row of a table of labels. Cells that are not filled are empty. */
interface LabelRow {
  readonly image_name: string;
  readonly label: string;
  readonly source?: string;
  readonly picture?: string;
}

async function readTable(path: string): Promise<LabelRow[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    throw new Error(`--labels ${path}: ${(cause as Error).message}`, { cause });
  }
  return parseNameTable(text, `--labels ${path}`, "label") as unknown as LabelRow[];
}

/**
 * The label that a user may have meant, as a question: the longest one that is left of the text when characters are
 * left out, such as `rarxl` of `RAR-XL` and `var16` of `VAR-d16`. Empty if there is none.
 */
function suggestion(text: string, labels: Labels): string {
  const lower = text.toLowerCase();
  const isLeft = (label: string) => {
    let at = -1;
    return Array.from(label).every((character) => (at = lower.indexOf(character, at + 1)) >= 0);
  };
  const [longest] = labels.all.filter(isLeft).sort((a, b) => b.length - a.length);
  return longest === undefined ? "" : `; did you mean ${longest}?`;
}

function unknownLabel(line: number, label: string, labels: Labels): string {
  return `line ${line}: label: expected one of ${labels.all.join(", ")}, got ${printable(label) || "nothing"}${
    suggestion(label, labels)
  }`;
}

/** The first few items, and how many more there are. */
function some(items: readonly string[], shown = 3, separator = ", "): string {
  const more = items.length - shown;
  return items.slice(0, shown).join(separator) + (more > 0 ? ` and ${more} more` : "");
}
