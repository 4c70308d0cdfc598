/**
 * Chooses the model set of a run: the one that is named, else the official one if it is complete, else the embedded
 * one.
 */
import { join } from "node:path";
import { type ModelSet, openModelSet } from "../../models/model_set.ts";

/** The folder of the embedded and the downloaded sets. */
const weightsFolder = join(import.meta.dirname ?? ".", "..", "..", "weights");

/**
 * Opens the set in folder `dir`; a set that is open already is returned as it is. Without `dir`: weights/official if it
 * is complete, else weights/tiny, with a call of `onNote` that says so and why. Throws as `openModelSet` does.
 */
export async function chooseModels(
  dir: string | ModelSet | undefined,
  { onNote }: { readonly onNote?: (text: string) => void } = {},
): Promise<ModelSet> {
  if (typeof dir === "object") return dir;
  if (dir !== undefined) return await openModelSet(dir);
  const official = join(weightsFolder, "official");
  const isThere = await Deno.stat(join(official, "manifest.json")).then(() => true, () => false);
  if (isThere) {
    try {
      return await openModelSet(official);
    } catch (error) {
      onNote?.(`weights/official cannot be used: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  const set = await openModelSet(join(weightsFolder, "tiny"));
  const reason = isThere ? "" : " (no --models, and weights/official is not there)";
  onNote?.(`using weights/tiny${reason}: ${set.manifest.description ?? "no description"}`);
  return set;
}
