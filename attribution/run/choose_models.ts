/**
 * Chooses the model set of a run: the one that is named, else the official one if it is there, else the embedded one.
 * Every task chooses by this and says what it took.
 */
import { join } from "node:path";
import { readFileList } from "../../models/download/list.ts";
import { listFiles } from "../../models/download/local.ts";
import { type ModelSet, openModelSet } from "../../models/model_set.ts";
import { ModelSetError } from "../../util/errors.ts";

/** The folder of the embedded and the downloaded sets. */
const weightsFolder = join(import.meta.dirname ?? ".", "..", "..", "weights");

/**
 * Opens the set in folder `dir`; a set that is open already is returned as it is. Without `dir`: `official` in the
 * folder `weights` if there is one, else `tiny`. A call of `onNote` says which, and what it is. Throws as `openModelSet`
 * does, and a ModelSetError that names what is missing where the official set was pulled in part.
 */
export async function chooseModels(
  dir: string | ModelSet | undefined,
  { onNote }: { readonly onNote?: (text: string) => void } = {},
  weights: string = weightsFolder,
): Promise<ModelSet> {
  if (typeof dir === "object") return dir;
  if (dir !== undefined) return said(await openModelSet(dir), dir, onNote);
  const official = join(weights, "official");
  if (await isUsed(official)) {
    await expectComplete(official);
    return said(await openModelSet(official), "weights/official", onNote);
  }
  const set = await openModelSet(join(weights, "tiny"));
  return said(set, "weights/tiny (no --models, and weights/official is not there)", onNote);
}

/** Says which set a run uses: its image sizes, its variants, whether it is calibrated, and how it describes itself. */
function said(set: ModelSet, where: string, onNote: ((text: string) => void) | undefined): ModelSet {
  const { manifest, families } = set;
  const sizes = [...new Set(families.map((family) => set.tokenizerFacts(family).imageSize))].join(" and ");
  const variants = families.flatMap((family) => set.variants(family)).join(", ");
  const calibrated = manifest.calibration === undefined ? "not calibrated" : "calibrated";
  const description = manifest.description === undefined ? "" : `: ${manifest.description}`;
  onNote?.(`using ${where}, ${calibrated}, ${sizes} px, ${variants}${description}`);
  return set;
}

/** Whether a folder is there and has anything in it. */
async function isUsed(dir: string): Promise<boolean> {
  try {
    for await (const _ of Deno.readDir(dir)) return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return false;
}

/** Throws if the folder has no manifest, which a pull writes as soon as the set is whole. Names what is missing. */
async function expectComplete(dir: string): Promise<void> {
  if (await Deno.stat(join(dir, "manifest.json")).then(() => true, () => false)) return;
  const files = await listFiles(dir, (await readFileList()).files);
  const missing = files.filter(({ status }) => status !== "present" && status !== "converted")
    .map(({ network, file, status, onDisk, bytes }) =>
      status === "partial"
        ? `${network} (${file}, ${Math.floor(100 * onDisk / bytes)} % there)`
        : `${network} (${file})`
    );
  throw new ModelSetError(
    `${dir}: is no whole set: it has no manifest.json, and lacks ${missing.join(", ") || "nothing else"}; go on with ` +
      "`deno task weights pull` (a tokenizer and a variant of each family make a set), or name another set, such as " +
      "--models weights/tiny",
  );
}
