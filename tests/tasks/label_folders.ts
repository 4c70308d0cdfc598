/** Label folders of small images, and a set of networks to calibrate, for calibrate and evaluate. */
import { dirname, join } from "node:path";
import { encodePng } from "../../attribution/images/decode.ts";
import { withFolder } from "../attribution/files.ts";
import { goldenImage } from "../attribution/golden_image.ts";
import { copyStandIns, standIns } from "../sets.ts";

const manifest = JSON.parse(await Deno.readTextFile(join(standIns, "manifest.json")));
const size: number = manifest.families.rar.tokenizer.config.resolution;

/** Writes an image of its own for each name; the n-th of all is test image n. */
export async function writeAll(dir: string, names: readonly string[], first = 0): Promise<void> {
  for (const [i, name] of names.entries()) {
    await Deno.mkdir(dirname(join(dir, name)), { recursive: true });
    await Deno.writeFile(join(dir, name), await encodePng(goldenImage(first + i, size, size)));
  }
}

export const numbered = (folder: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${folder}/${i}.png`);

/** Label folders train and val, and a copy of the stand-ins without calibration in `models`. */
export async function withData(body: (dir: string) => Promise<void>): Promise<void> {
  await withFolder(async (dir) => {
    await writeAll(join(dir, "train"), [...numbered("rarb", 3), ...numbered("var16", 3)]);
    await writeAll(
      join(dir, "val"),
      [
        ...numbered("rarl", 3),
        ...numbered("var20", 3),
        ...numbered("outlier/photos", 2),
        ...numbered("outlier/art", 2),
      ],
      20,
    );
    await copyStandIns(join(dir, "models"));
    const { calibration: _, ...rest } = manifest;
    await Deno.writeTextFile(join(dir, "models", "manifest.json"), JSON.stringify(rest));
    await body(dir);
  });
}

export const names = async (dir: string) => (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
export const models = ["--models", "models", "--device", "cpu"];
export const both = ["--train", "train", "--val", "val", ...models];
