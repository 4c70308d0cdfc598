/**
 * `deno task zoo-photos --out DIR`: from Debian packages to the crops of photographs that the zoo is trained on.
 * Fetches, checks and unpacks packages and calls the library; which photographs and which crops is zoo/photos.ts.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { decodeImage, readImage, type RgbImage } from "../attribution/images/decode.ts";
import { classify, fitClasses } from "../zoo/classes.ts";
import { CropsWriter, loadCrops, writeClasses } from "../zoo/crops.ts";
import {
  cropsOf,
  hashDistance,
  packages,
  perceptualHash,
  type Photo,
  type PhotoPackage,
  photos,
  sameHash,
  splits,
} from "../zoo/photos.ts";
import { readResource } from "../zoo/rcc.ts";
import type { ZooRecipe } from "../zoo/recipe.ts";
import { zooRecipeNames, zooRecipes } from "../zoo/recipes.ts";
import { choice } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { writeStdout } from "./cli/progress.ts";

export const command = defineCommand({
  name: "zoo-photos",
  about: "Writes square crops of freely licensed photographs, in the splits train, val and outlier.",
  usage: ["--out DIR [options]"],
  options: {
    out: {
      value: "DIR",
      required: true,
      help: "where the crops go: train.u8, val.u8, outlier.u8, their classes and index.json",
    },
    recipe: {
      value: "NAME",
      type: choice(zooRecipeNames),
      default: "tiny",
      help: "whose crops and classes: 64x64 pixels and ten classes, or 128x128 and forty",
    },
    debs: { value: "DIR", help: "packages that were downloaded before", unset: "apt-get download fetches them" },
    fit: {
      value: "FILE",
      help: "find the classes again by k-means over the train crops and write them to FILE in the format of " +
        "zoo/tiny/classes.json",
      unset: "use the recipe's classes, zoo/<recipe>/classes.json",
    },
  },
  notes:
    "The photographs come from the Debian 12 packages in zoo/photos.json, which are checked against their sha256 and " +
    "unpacked with dpkg-deb; nothing is installed. The same packages give the same bytes.",
});

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const recipe = zooRecipes[values.recipe];
  const temporary = await Deno.makeTempDir({ prefix: "zoo-photos-" });
  try {
    for (const wanted of packages) {
      progress.line(`${wanted.name} ${wanted.version}`);
      await unpack(await obtain(wanted, values.debs, temporary), join(temporary, wanted.name));
    }
    await writeCrops(temporary, values.out, recipe, progress);
    await writeClassesOf(values.out, recipe, values.fit);
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
  return 0;
}

/** The path of a package's file, fetched unless `debs` has it, with the right checksum. */
async function obtain(wanted: PhotoPackage, debs: string | undefined, temporary: string): Promise<string> {
  // apt writes the colon of an epoch as %3a.
  const name = `${wanted.name}_${wanted.version.replaceAll(":", "%3a")}_${wanted.architecture}.deb`;
  const path = join(debs ?? temporary, name);
  if (debs === undefined) await execute("apt-get", ["download", `${wanted.name}=${wanted.version}`], temporary);
  const sha256 = createHash("sha256").update(await Deno.readFile(path)).digest("hex");
  if (sha256 !== wanted.sha256) throw new Error(`${name}: expected sha256 ${wanted.sha256}, got ${sha256}`);
  return path;
}

async function unpack(deb: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  await execute("dpkg-deb", ["-x", deb, to]);
}

async function execute(name: string, args: string[], cwd?: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(name, { args, cwd, stdout: "null", stderr: "piped" }).output();
  if (!success) throw new Error(`${name} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
}

async function writeCrops(
  unpacked: string,
  out: string,
  { side }: ZooRecipe,
  progress: { line(text: string): void },
): Promise<void> {
  const writer = await CropsWriter.open(out, side);
  const open = opener(unpacked);
  const hashes: bigint[] = [];
  for (const [i, photo] of photos.entries()) {
    const image = await open(photo);
    hashes.push(perceptualHash(image));
    const source = { id: photo.id, held: photo.split !== "train" };
    for (const crop of cropsOf(image, source, side)) writer.add(photo.split, i, crop);
    if (i % 50 === 49) progress.line(`${i + 1} of ${photos.length} photographs`);
  }
  refuseTwins(hashes);
  const index = await writer.close(photos.map(({ id }) => id));
  for (const split of splits) {
    const { count, sha256 } = index.splits[split];
    const used = photos.filter((photo) => photo.split === split).length;
    writeStdout(`${split}: ${count} crops of ${used} photographs, sha256 ${sha256}\n`);
  }
}

/** Seed of the k-means that the classes of all recipes come from. */
const fitSeed = 7;

async function writeClassesOf(dir: string, { side, classes: stored }: ZooRecipe, fit?: string): Promise<void> {
  const crops = await Promise.all(splits.map((split) => loadCrops(dir, split, { withoutClasses: true })));
  let by = stored;
  if (fit !== undefined) {
    const count = stored.centres.length;
    by = fitClasses(crops[splits.indexOf("train")].pixels, side, { count, seed: fitSeed });
    await Deno.writeTextFile(fit, JSON.stringify(by, null, 2) + "\n");
  }
  const classes = crops.map(({ pixels }) => classify(pixels, side, by));
  await writeClasses(dir, { train: classes[0], val: classes[1], outlier: classes[2] });
  for (const [i, split] of splits.entries()) {
    const counts = by.centres.map((_, c) => classes[i].reduce((n, k) => n + (k === c ? 1 : 0), 0));
    writeStdout(`${split}: crops per class ${counts.join(" ")}\n`);
  }
}

/** Reads photographs; a resource is parsed once for all that follow from it. */
function opener(unpacked: string): (photo: Photo) => Promise<RgbImage> {
  const resources = new Map<string, Map<string, Uint8Array>>();
  return async ({ id, package: name, file, entry }) => {
    const path = join(unpacked, name, file);
    if (entry === undefined) return await readImage(path);
    let files = resources.get(path);
    if (files === undefined) {
      files = new Map(readResource(await Deno.readFile(path)).map(({ path, bytes }) => [path, bytes]));
      resources.set(path, files);
    }
    const bytes = files.get(entry);
    if (bytes === undefined) throw new Error(`${id}: ${file} has no ${entry}`);
    return await decodeImage(bytes, { name: id });
  };
}

/** The same picture must not be in two splits. */
function refuseTwins(hashes: readonly bigint[]): void {
  for (let i = 0; i < hashes.length; i++) {
    for (let j = 0; j < i; j++) {
      if (photos[i].split === photos[j].split || hashDistance(hashes[i], hashes[j]) > sameHash) continue;
      throw new Error(
        `${photos[j].id} (${photos[j].split}) and ${photos[i].id} (${photos[i].split}) are the same picture`,
      );
    }
  }
}

if (import.meta.main) await runTask(command, main);
