/**
 * Thresholds and scales that turn signals into decisions, read from the calibration file of a model set.
 * Fitting them is not done here; a set without a file gets thresholds that accept every image.
 */
import { join } from "node:path";
import * as v from "valibot";
import type { FamilyName } from "../models/family.ts";
import { parseJson, sha256Hex } from "../models/manifest.ts";
import type { ModelSet } from "../models/model_set.ts";

const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));

const familySchema = v.strictObject({
  quantLoss: v.strictObject({
    /** Largest QuantLoss of an image of the family; null accepts every image. */
    threshold: v.nullable(positive),
    /** Mean and standard deviation of ln QuantLoss over images of the family. */
    logMean: v.number(),
    logStd: positive,
  }),
});

const schema = v.strictObject({
  format: v.literal("model-tracer-calibration/1"),
  /** The hash of the model set that the numbers were made with. */
  modelSet: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits")),
  description: v.optional(v.string()),
  families: v.strictObject({ rar: familySchema, var: familySchema }),
  variants: v.strictObject({
    /** Mean log-probabilities per token are multiplied by this before the softmax over variants. */
    scale: positive,
  }),
});

export type Calibration = v.InferOutput<typeof schema>;

/** Accepts every image for both families: no outliers are found with it. */
export function uncalibrated(modelSet: string): Calibration {
  const open = { quantLoss: { threshold: null, logMean: 0, logStd: 1 } };
  return {
    format: "model-tracer-calibration/1",
    modelSet,
    families: { rar: open, var: open },
    variants: { scale: 20 },
  };
}

/**
 * The calibration of a set and the sha256 of its file (null when the set names none). Throws when the file is missing, not
 * of the schema, or made for other weights.
 */
export async function loadCalibration(set: ModelSet): Promise<{ calibration: Calibration; sha256: string | null }> {
  const { calibration: file } = set.manifest;
  if (file === undefined) return { calibration: uncalibrated(set.hash), sha256: null };
  const path = join(set.dir, file);
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    throw new Error(
      `${path}: the manifest names this calibration file, it cannot be read: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
  const calibration = parseCalibration(new TextDecoder().decode(bytes), set.hash, path);
  return { calibration, sha256: await sha256Hex(bytes) };
}

/** Reads a calibration for the model set with this hash. Throws when it is not valid, or was made for another set. */
export function parseCalibration(text: string, modelSet: string, label = "calibration.json"): Calibration {
  const calibration = parseJson(schema, text, label);
  if (calibration.modelSet !== modelSet) {
    throw new Error(
      `${label}: was made for the model set ${short(calibration.modelSet)}, these weights are ${short(modelSet)}: ` +
        "thresholds of other weights mean nothing; calibrate again, or remove `calibration` from the manifest",
    );
  }
  return calibration;
}

/** (ln QuantLoss - mean) / standard deviation: 0 for a typical image of the family, larger for a worse fit. */
export function standardise(calibration: Calibration, family: FamilyName, quantLoss: number): number {
  const { logMean, logStd } = calibration.families[family].quantLoss;
  return (Math.log(quantLoss) - logMean) / logStd;
}

function short(hash: string): string {
  return hash.slice(0, 12);
}
