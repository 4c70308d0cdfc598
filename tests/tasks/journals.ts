/** Folders of embedded images, and how far a journal is. */
import { join } from "node:path";
import { compareNaturally } from "../../attribution/images/natural_order.ts";
import { Journal } from "../../attribution/run/journal/mod.ts";
import { root } from "./processes.ts";

const dataset = join(root, "examples", "Dataset", "test");

/** Copies the first images of the dataset's test set, those from `first` on. */
export async function copyImages(to: string, count: number, first = 0): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  const names = await Array.fromAsync(Deno.readDir(dataset), ({ name }) => name);
  for (const name of names.sort(compareNaturally).slice(first, first + count)) {
    await Deno.copyFile(join(dataset, name), join(to, name));
  }
}

/** Changes with everything that is kept. */
export function progressOf(path: string): string {
  using journal = Journal.open(path);
  const count = (table: string) => journal.sql(`SELECT count(*) AS n FROM ${table}`).get()!.n;
  return `${count("evidence")} ${count("pending")}`;
}
