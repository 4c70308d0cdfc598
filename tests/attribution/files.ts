/** Folders of images for tests. */
import { join } from "node:path";
import { encodePng } from "../../attribution/images/decode.ts";
import { goldenImage } from "./golden_image.ts";

/** Runs `body` with a new folder, which is removed afterwards. */
export async function withFolder<T>(body: (dir: string) => Promise<T>): Promise<T> {
  const dir = await Deno.makeTempDir();
  try {
    return await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Writes images 0.png, 1.png, ... of `size` x `size` pixels; after `distinct` of them, contents repeat. */
export async function writeImages(dir: string, count: number, size: number, distinct = count): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  const files: Uint8Array[] = [];
  for (let k = 0; k < Math.min(count, distinct); k++) files.push(await encodePng(goldenImage(k, size, size)));
  for (let k = 0; k < count; k++) await Deno.writeFile(join(dir, `${k}.png`), files[k % distinct]);
}

/** The lines of a text file as JSON. */
// deno-lint-ignore no-explicit-any -- tests look at what they expect to be there
export async function readJsonLines(path: string): Promise<any[]> {
  return (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) => JSON.parse(line));
}
