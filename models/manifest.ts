/**
 * The description of a set of weights: `manifest.json`, its fields, its checks and its hash.
 * Opening files and loading networks is in model_set.ts; nothing here touches a file.
 */
import { ModelSetError } from "../util/errors.ts";
import * as v from "npm:valibot@1.5.0";
import { sha256Hex } from "../util/hash.ts";
import { canonicalJson, parseJson } from "../util/json.ts";
import type { Sampler } from "./draw_rule.ts";
import type { ByFamily, Family } from "./family.ts";
import { families, familyNamed, familyNames } from "./registry.ts";
import { count } from "./schema.ts";

const name = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]*$/, "lower-case letters, digits, `.`, `_` and `-`"));
/** Inside the set's folder: a manifest must not make the program read files elsewhere. */
const path = v.pipe(
  v.string(),
  v.check(
    (text) => text !== "" && !/^([/\\]|[a-z]:)|(^|[/\\])\.\.([/\\]|$)/i.test(text),
    "a path inside the set's folder",
  ),
);

/**
 * A checkpoint file beside the manifest; `prefix` is cut off the names of its tensors, the others are not looked at.
 */
const stored = {
  file: path,
  bytes: count,
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits")),
  prefix: v.optional(v.string()),
};
/** Weights computed from their names (models/checkpoint/synthetic.ts), for tests and timing. */
const synthetic = { synthetic: v.strictObject({ salt: v.string() }) };

/** An object of `fields` and of where the weights come from, which of the two kinds it is being told by its keys. */
function network<F extends v.ObjectEntries>(fields: F) {
  const fromFile = v.strictObject({ ...stored, ...fields });
  const computed = v.strictObject({ ...synthetic, ...fields });
  type Either = v.InferOutput<typeof fromFile> | v.InferOutput<typeof computed>;
  const choose = (input: unknown) =>
    typeof input === "object" && input !== null && "synthetic" in input ? computed : fromFile;
  return v.lazy(choose as (input: unknown) => v.GenericSchema<unknown, Either>);
}

/** A fine-tuned encoder (`deno task train`) that takes the place of the tokenizer's own. */
const encoder = v.optional(v.strictObject(stored));

function familySchema({ tokenizerSchema, variantSchema, samplerSchema }: Family) {
  return v.strictObject({
    tokenizer: network({ config: tokenizerSchema }),
    encoder,
    variants: v.record(name, network({ config: variantSchema, sampler: samplerSchema })),
  });
}

const manifest = v.strictObject({
  format: v.literal("model-tracer-weights/1"),
  name,
  description: v.optional(v.string()),
  /** Thresholds for this set (attribution/decision/calibration_file.ts). */
  calibration: v.optional(path),
  families: v.strictObject(
    Object.fromEntries(families.map((family) => [family.name, v.optional(familySchema(family))])),
  ),
});

/** A checkpoint file beside the manifest. */
export interface FileEntry {
  /** Path inside the set's folder. */
  readonly file: string;
  /** Size of the file. */
  readonly bytes: number;
  /** Of the file, 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  /** Cut off the names of its tensors; the others are not looked at. */
  readonly prefix?: string;
}

/** Where the weights of one network come from: a file, or names that values are computed from. */
export type WeightEntry = FileEntry | { readonly synthetic: { readonly salt: string } };

/** The networks of one family. Configurations are of the types that the family's row of the registry says. */
export interface ManifestFamily {
  /** The tokenizer's weights and configuration. */
  tokenizer: WeightEntry & { readonly config: unknown };
  /** A fine-tuned encoder (`deno task train`) that takes the place of the tokenizer's own. */
  encoder?: FileEntry;
  /** The transformers by name, with their samplers. */
  variants: Record<string, WeightEntry & { readonly config: unknown; readonly sampler: Sampler }>;
}

/** The content of `manifest.json`. */
export interface Manifest {
  /** Format and its version. */
  format: "model-tracer-weights/1";
  /** Of the set: lower-case letters, digits, `.`, `_` and `-`. */
  name: string;
  /** For people. */
  description?: string;
  /** File with thresholds and classifiers for this set. */
  calibration?: string;
  /** By name of the family. */
  families: Record<string, ManifestFamily>;
}

/**
 * Reads a manifest. Throws one error that lists every problem, one per line, with the place in the file, what was
 * expected and what was found; also when the networks of a family do not fit each other.
 */
export function parseManifest(text: string, label = "manifest.json"): Manifest {
  return parseJson(manifest as v.GenericSchema<unknown, Manifest>, text, label, inconsistencies, ModelSetError);
}

/** The families of a manifest in the registry's order. */
export function familiesOf({ families }: { readonly families: ByFamily<unknown> }): readonly string[] {
  return familyNames.filter((name) => families[name] !== undefined);
}

/** What a schema cannot say: sizes that must agree between a tokenizer and its transformers, and names. */
function inconsistencies(manifest: Manifest): string[] {
  const problems: string[] = [];
  const names = familiesOf(manifest);
  if (names.length === 0) problems.push(`families: expected at least one of ${familyNames.join(", ")}, got none`);
  const seen = new Map<string, string>();
  for (const familyName of names) {
    const family = familyNamed(familyName);
    const { tokenizer, variants } = manifest.families[familyName];
    const at = `families.${familyName}`;
    const expectAgreement = (place: string, agreements: ReturnType<Family["tokenizerAgreements"]>) => {
      for (const { field, what, expected, got } of agreements) {
        if (JSON.stringify(expected) === JSON.stringify(got)) continue;
        problems.push(
          `${place}.${field}: expected ${what} ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`,
        );
      }
    };
    expectAgreement(`${at}.tokenizer.config`, family.tokenizerAgreements(tokenizer.config));
    if (Object.keys(variants).length === 0) problems.push(`${at}.variants: expected at least one, got none`);
    for (const [variant, { config }] of Object.entries(variants)) {
      expectAgreement(`${at}.variants.${variant}.config`, family.variantAgreements(tokenizer.config, config));
      const other = seen.get(variant) ?? (familyNames.includes(variant) ? "a family" : undefined) ??
        (reservedLabels.includes(variant) ? "a label of images that no variant made" : undefined);
      if (other !== undefined) problems.push(`${at}.variants.${variant}: expected another name, this one is ${other}`);
      seen.set(variant, `a variant of ${familyName}`);
    }
  }
  return problems;
}

/** What results call images that no variant made, or that could not be read. */
export const reservedLabels: readonly string[] = ["outlier", "unreadable"];

/**
 * Identifies the networks of a set: sha256 of the manifest's format and families as canonical JSON, which holds the
 * sha256 of every file. Name, description and calibration do not change it, since they do not change what is computed.
 */
export async function modelSetHash({ format, families }: Manifest): Promise<string> {
  return await sha256Hex(new TextEncoder().encode(canonicalJson({ format, families })));
}
