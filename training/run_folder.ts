/** The folder of a training run: one process at a time works in it, and what a killed one left behind is removed. */
import { join } from "node:path";
import { openLocked, removeIfThere, removeLeftovers } from "../util/files.ts";
import { logFile } from "./log.ts";
import { stateFile } from "./state.ts";

/** File of the encoder of the epoch with the lowest held-out loss. */
export const bestFile = "best.safetensors";

/** File of the encoder that a run ends with, if no other path is given. */
export const encoderFile = "encoder.safetensors";

/**
 * Locks the folder of a run until the result is disposed of, and removes the temporary files of killed processes.
 * Undefined if there is no such folder. Rejects, naming `option`, while another process trains there.
 */
export async function lockRun(option: string, dir: string): Promise<AsyncDisposable | undefined> {
  const path = join(dir, ".lock");
  let file: Deno.FsFile | undefined;
  try {
    file = await openLocked(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw new Error(`${option} ${dir}: cannot write to this folder: ${(error as Error).message}`, { cause: error });
  }
  if (file === undefined) {
    throw new Error(`${option} ${dir}: another process is training this run: wait until it ends, or stop it`);
  }
  for (const name of [stateFile, bestFile, encoderFile, logFile]) await removeLeftovers(join(dir, name));
  return {
    async [Symbol.asyncDispose]() {
      await removeIfThere(path);
      file.close();
    },
  };
}
