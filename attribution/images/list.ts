// From the files and folders that a user names to the list of images to work on, in the order of the result file. It
// opens no image: what turns out not to be one gets its `unreadable` row later.

import { basename, join, resolve } from "node:path";
import { compareNaturally } from "./natural_order.ts";

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
  /** Where to open it: the input as the user wrote it, joined with the path below it. */
  readonly path: string;
  /** How the results name it, with "/" on every system: the base name of a file input, the path below a folder input. */
  readonly imageName: string;
  /** The folder that directly contains it, if that lies below a folder input: "rarb" for train/rarb/1.png of train/. */
  readonly labelFolder?: string;
}

/**
 * What lies beside images and is not one: metadata, tables, texts, tensors. Anything else in a folder is listed, whatever
 * its extension or lack of one, because a damaged or misnamed image must show up as a row and not vanish.
 */
const SIDECAR = new RegExp(
  "\\.(json|jsonl|ndjson|txt|csv|tsv|md|ya?ml|toml|xml|html?|css|js|ts|py|ipynb|log|pdf|lock|sha256|md5|" +
    "pt|pth|bin|npy|npz|pkl|safetensors|parquet|sqlite|db|zip|tar|gz|tgz|ini)$",
  "i",
);

/**
 * Lists the images of files and folders (searched with all folders below them) in natural order of their names.
 *
 * A file that is named directly is always listed. In a folder every regular file is, except hidden ones (".x", and
 * everything in hidden folders) and sidecars (SIDECAR above). Symbolic links are followed; a folder is visited once per
 * input. A file that is reached twice is listed once.
 *
 * Throws Error, before any work starts: no inputs; a path that does not exist or cannot be read; a folder without images;
 * two files with the same image name, whose rows could not be told apart.
 *
 * @example
 * ```ts
 * import { listImages } from "@model-tracer/model-tracer";
 *
 * const images = await listImages(["examples/Dataset/val"]);
 * console.log(images.length, images[0].imageName); // for tracer.attribute(images)
 * ```
 */
export async function listImages(inputs: readonly string[]): Promise<ListedImage[]> {
  if (inputs.length === 0) throw new Error("no input: expected image files, or folders that contain some");
  const images: ListedImage[] = [];
  const seen = new Set<string>();
  const add = (image: ListedImage) => {
    const path = resolve(image.path);
    if (!seen.has(path)) images.push(image);
    seen.add(path);
  };
  for (const input of inputs) {
    const info = await stat(input);
    if (!info.isDirectory) {
      add({ path: input, imageName: basename(input) });
      continue;
    }
    const { listed, skipped } = await walk(input, "", undefined, new Set(), add);
    if (listed === 0) {
      const found = skipped === 0 ? "an empty folder" : `${skipped} hidden or other files`;
      throw new Error(`${input}: expected PNG, JPEG or WebP files in this folder or below it, got ${found}`);
    }
  }
  images.sort((a, b) => compareNaturally(a.imageName, b.imageName) || (a.path < b.path ? -1 : 1));
  for (let i = 1; i < images.length; i++) {
    const { imageName, path } = images[i];
    if (images[i - 1].imageName === imageName) {
      throw new Error(
        `${images[i - 1].path} and ${path} would both be called ${imageName} in the results: ` +
          "name a folder that contains both, or run them separately",
      );
    }
  }
  return images;
}

/** Adds the images below `folder` and counts them and the files left out. `visited` has real paths, against cycles. */
async function walk(
  folder: string,
  prefix: string,
  label: string | undefined,
  visited: Set<string>,
  add: (image: ListedImage) => void,
): Promise<{ listed: number; skipped: number }> {
  const total = { listed: 0, skipped: 0 };
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
      // A link whose target is missing stays in the list: its row says what is wrong.
      const target = entry.isSymlink
        ? await Deno.stat(path).catch(() => ({ isDirectory: false, isFile: true }))
        : entry;
      if (target.isDirectory) {
        const below = await walk(path, `${prefix}${name}/`, name, visited, add);
        total.listed += below.listed;
        total.skipped += below.skipped;
      } else if (!target.isFile || SIDECAR.test(name)) total.skipped++;
      else {
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
    if (cause instanceof Deno.errors.NotFound) {
      throw new Error(`${input}: expected an image file or a folder, found nothing at this path`, { cause });
    }
    throw new Error(`${input}: ${(cause as Error).message}`, { cause });
  }
}
