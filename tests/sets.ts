/** Folders of model sets for tests: the embedded one, and untrained stand-ins that are quicker and name every label. */
import { join } from "node:path";

/** The embedded set of trained networks, 64x64 pixels. */
export const tiny = new URL("../weights/tiny", import.meta.url).pathname;

/**
 * Untrained networks of 32x32 pixels: files that PyTorch wrote (links to those of golden/checkpoints), and six variants computed
 * from their names. Thresholds were set by hand so that every label can occur.
 */
export const standIns = new URL("./fixtures/standins", import.meta.url).pathname;

/** Copies the stand-ins into `dir`, which is made where it is missing; without their thresholds unless they are asked for. */
export async function copyStandIns(dir: string, { calibration = false } = {}): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  for await (const { name } of Deno.readDir(standIns)) {
    if (calibration || name !== "calibration.json") await Deno.copyFile(join(standIns, name), join(dir, name));
  }
}
