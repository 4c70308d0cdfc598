// Lists the image files of the files and folders that a user names, in the order of the results. Images are not opened;
// files that are not images get an `unreadable` row later.

import { basename, join, resolve } from "node:path";
import { compareNaturally } from "./natural_order.ts";
import { explainFileError } from "../../util/file_errors.ts";
import { printable } from "../../util/names.ts";

/**
 * An image file to work on.
 *
 * @example
 * ```ts
 * import { type ListedImage, listImages } from "@model-tracer/model-tracer";
 *
 * const [image]: ListedImage[] = await listImages(["examples/Dataset/val/rarb"]);
 * console.log(image.path, image.imageName, image.labelFolder);
 * ```
 */
export interface ListedImage {
  /** Path to open: the user's input, joined with the path below it. */
  readonly path: string;
  /** Name in the results: the file name of an input, or the path below an input folder, with "/" on every system. */
  readonly imageName: string;
  /** Name of the folder that contains it, if that lies below an input folder: "rarb" for train/rarb/1.png in train/. */
  readonly labelFolder?: string;
}

/**
 * Files that often lie beside images: metadata, tables, texts, tensors. All other files of a folder are listed,
 * whatever their extension, so that a damaged or misnamed image gets a row and does not vanish.
 */
const SIDECAR = new RegExp(
  "\\.(json|jsonl|ndjson|txt|csv|tsv|md|ya?ml|toml|xml|html?|css|js|ts|py|ipynb|log|pdf|lock|sha256|md5|" +
    "pt|pth|bin|npy|npz|pkl|safetensors|parquet|sqlite|db|zip|tar|gz|tgz|ini)$",
  "i",
);

/**
 * Lists images in natural order of their names. Inputs are files, which are always listed, and folders, which are
 * searched with all folders below them.
 *
 * In a folder every regular file is listed, except hidden files and folders (".x") and sidecars (`SIDECAR`). Symbolic
 * links are followed. A folder is visited once per input, and a file is listed once.
 *
 * With `wholePaths`, images are named by their paths as given, without "./" before them, so that files of one name in
 * different folders stay apart.
 *
 * Throws without inputs, on a path that does not exist or cannot be read, on a folder without images, and on two files
 * with the same name in the results.
 *
 * @example
 * ```ts
 * import { listImages } from "@model-tracer/model-tracer";
 *
 * const images = await listImages(["examples/Dataset/val"]);
 * console.log(images.length, images[0].imageName); // for tracer.attribute(images)
 * ```
 */
export async function listImages(
  inputs: readonly string[],
  { wholePaths = false }: { readonly wholePaths?: boolean } = {},
): Promise<ListedImage[]> {
  if (inputs.length === 0) throw new Error("no input: expected image files, or folders that contain some");
  const images: ListedImage[] = [];
  const seen = new Set<string>();
  const add = (image: ListedImage) => {
    const path = resolve(image.path);
    if (!seen.has(path)) images.push(wholePaths ? { ...image, imageName: image.path.replace(/^(\.\/+)+/, "") } : image);
    seen.add(path);
  };
  for (const input of inputs) {
    const info = await stat(input);
    if (!info.isDirectory) {
      add({ path: input, imageName: basename(input) });
      continue;
    }
    const { listed, skipped, archive } = await walk(input, "", undefined, new Set(), add);
    if (listed === 0) {
      const got = skipped === 0 ? "an empty folder" : `${skipped} hidden or other files`;
      const remedy = archive === undefined ? "" : `; unpack ${printable(archive)} first`;
      throw new Error(`${input}: expected PNG, JPEG or WebP files in this folder or below it, got ${got}${remedy}`);
    }
  }
  images.sort((a, b) => compareNaturally(a.imageName, b.imageName) || (a.path < b.path ? -1 : 1));
  for (let i = 1; i < images.length; i++) {
    const { imageName, path } = images[i];
    if (images[i - 1].imageName === imageName) {
      throw new Error(
        `${printable(images[i - 1].path)} and ${printable(path)} would both be called ${
          printable(imageName)
        } in the results: ` +
          "name a folder that contains both, or run them separately",
      );
    }
  }
  return images;
}

/** What a search of a folder gave. */
interface Walk {
  listed: number;
  skipped: number;
  /** Name of a file that may contain images. */
  archive?: string;
}

/** Sidecars that may contain images. */
const ARCHIVE = /\.(zip|tar|gz|tgz)$/i;

/**
 * Adds the images below `folder`; returns how many were listed and how many files were skipped. `visited` has the real
 * paths of folders, which prevents cycles.
 */
async function walk(
  folder: string,
  prefix: string,
  label: string | undefined,
  visited: Set<string>,
  add: (image: ListedImage) => void,
): Promise<Walk> {
  const total: Walk = { listed: 0, skipped: 0 };
  try {
    const real = await Deno.realPath(folder);
    if (visited.has(real)) return total;
    visited.add(real);
    for await (const entry of Deno.readDir(folder)) {
      const { name } = entry;
      const path = join(folder, name);
      if (name.startsWith(".")) {
        total.skipped++;
        continue;
      }
      // A link without a target is listed, so that its row says what is wrong.
      const target = entry.isSymlink
        ? await Deno.stat(path).catch(() => ({ isDirectory: false, isFile: true }))
        : entry;
      if (target.isDirectory) {
        const below = await walk(path, `${prefix}${name}/`, name, visited, add);
        total.listed += below.listed;
        total.skipped += below.skipped;
        total.archive ??= below.archive;
      } else if (!target.isFile || SIDECAR.test(name)) {
        total.skipped++;
        if (ARCHIVE.test(name)) total.archive ??= prefix + name;
      } else {
        const imageName = prefix + name;
        add(label === undefined ? { path, imageName } : { path, imageName, labelFolder: label });
        total.listed++;
      }
    }
  } catch (cause) {
    if (!(cause instanceof Deno.errors.PermissionDenied)) throw cause;
    throw new Error(`${folder}: cannot list this folder: ${cause.message}`, { cause });
  }
  return total;
}

async function stat(input: string): Promise<Deno.FileInfo> {
  try {
    return await Deno.stat(input);
  } catch (cause) {
    const reason = cause instanceof Deno.errors.NotFound
      ? "expected an image file or a folder, found nothing at this path"
      : explainFileError((cause as Error).message);
    throw new Error(`${printable(input)}: ${reason}`, { cause });
  }
}
