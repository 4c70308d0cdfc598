/** The folders that tasks take when none are named: those of a dataset in the working folder. */
import { join } from "node:path";

/** Where the dataset of the working folder lies. */
const datasetFolder = "Dataset";

/** `Dataset/train`, `Dataset/val` or `Dataset/test` in the working folder; undefined where there is no such folder. */
export async function datasetPart(part: "train" | "val" | "test"): Promise<string | undefined> {
  const path = join(datasetFolder, part);
  const isFolder = await Deno.stat(path).then((info) => info.isDirectory, () => false);
  return isFolder ? path : undefined;
}

/** What is named, else that part of the dataset, which the user is then told. Undefined where there is neither. */
export async function folderOr<T>(
  named: T | undefined,
  part: "train" | "val" | "test",
  progress: { note(text: string): void },
): Promise<T | string | undefined> {
  if (named !== undefined) return named;
  const folder = await datasetPart(part);
  if (folder !== undefined) progress.note(`no folder of ${part} images was named: using ${folder}`);
  return folder;
}
