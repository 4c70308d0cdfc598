/**
 * The description of a set of weights: `manifest.json`, its fields, its checks and its hash.
 * Opening files and loading networks is in model_set.ts; nothing here touches a file.
 */
import * as v from "npm:valibot@1.5.0";
import type { RarConfig, RarTokenizerConfig } from "./rar/config.ts";
import type { VarConfig, VqvaeConfig } from "./var/config.ts";
import { canonicalJson } from "../util/json.ts";
import { sha256Hex } from "../util/hash.ts";

const count = v.pipe(v.number(), v.integer("a whole number"), v.minValue(1, "at least 1"));
const counts = v.pipe(v.array(count), v.minLength(1, "at least one number"));
const positive = v.pipe(v.number(), v.gtValue(0, "a number above 0"));
const name = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]*$/, "lower-case letters, digits, `.`, `_` and `-`"));
/** Inside the set's folder: a manifest must not make the program read files elsewhere. */
const path = v.pipe(
  v.string(),
  v.check(
    (text) => text !== "" && !/^([/\\]|[a-z]:)|(^|[/\\])\.\.([/\\]|$)/i.test(text),
    "a path inside the set's folder",
  ),
);

/** A checkpoint file beside the manifest; `prefix` is cut off the names of its tensors, the others are not looked at. */
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

const rarTokenizerConfig = v.strictObject({
  hiddenChannels: count,
  channelMult: counts,
  resBlocks: count,
  zChannels: count,
  codes: count,
  resolution: count,
  normGroups: v.optional(count),
});
const rarConfig = v.strictObject({
  hiddenSize: count,
  layers: count,
  heads: count,
  intermediateSize: count,
  tokenCount: count,
  classes: count,
  codes: count,
  spareRows: v.optional(v.pipe(count, v.minValue(2, "at least 2"))),
});
const rarSampler = v.strictObject({ guidance: v.number(), power: v.number(), temperature: positive });
const vqvaeConfig = v.strictObject({
  ch: count,
  chMult: counts,
  resBlocks: count,
  zChannels: count,
  codes: count,
  sharedPhi: count,
  patchNums: counts,
  resolution: count,
  normGroups: v.optional(count),
});
const varConfig = v.strictObject({
  depth: count,
  embedDim: count,
  heads: count,
  sharedAdaLn: v.boolean(),
  attnL2Norm: v.boolean(),
  classes: count,
  patchNums: counts,
  mlpRatio: positive,
  codeChannels: count,
  codes: count,
});
const varSampler = v.strictObject({ guidance: v.number(), topK: count, topP: positive });

const manifest = v.strictObject({
  format: v.literal("model-tracer-weights/1"),
  name,
  description: v.optional(v.string()),
  /** Thresholds for this set (attribution/decision/calibration_file.ts). */
  calibration: v.optional(path),
  families: v.strictObject({
    rar: v.strictObject({
      tokenizer: network({ config: rarTokenizerConfig }),
      encoder,
      variants: v.record(name, network({ config: rarConfig, sampler: rarSampler })),
    }),
    var: v.strictObject({
      tokenizer: network({ config: vqvaeConfig }),
      encoder,
      variants: v.record(name, network({ config: varConfig, sampler: varSampler })),
    }),
  }),
});

export type Manifest = v.InferOutput<typeof manifest>;

/** Where the weights of one network come from. */
export type WeightEntry =
  | { readonly file: string; readonly bytes: number; readonly sha256: string; readonly prefix?: string }
  | { readonly synthetic: { readonly salt: string } };

/**
 * Reads a manifest. Throws one error that lists every problem, one per line, with the place in the file, what was expected
 * and what was found; also when the networks of a family do not fit each other.
 */
export function parseManifest(text: string, label = "manifest.json"): Manifest {
  return parseJson(manifest, text, label, inconsistencies);
}

/**
 * Parses JSON text by a schema. Throws one error whose lines read `label: place: expected ..., got ...`; `check` may find
 * more, as `place: expected ..., got ...`.
 */
export function parseJson<T>(
  schema: v.GenericSchema<unknown, T>,
  text: string,
  label: string,
  check: (value: T) => string[] = () => [],
): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${label}: is not JSON: ${(cause as Error).message}`, { cause });
  }
  const result = v.safeParse(schema, json);
  const problems = result.success ? check(result.output) : result.issues.map(describeIssue);
  if (problems.length > 0) throw new Error(problems.map((problem) => `${label}: ${problem}`).join("\n"));
  return result.output as T;
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  const place = v.getDotPath(issue) ?? "the whole file";
  if (issue.type === "strict_object" && issue.received === "undefined") return `${place}: is missing`;
  if (issue.expected === "never") return `${place}: is not a known field`;
  const expected = issue.kind === "schema" ? issue.expected : issue.message;
  return `${place}: expected ${expected}, got ${issue.received}`;
}

/** What a schema cannot say: sizes that must agree between a tokenizer and its transformers. */
function inconsistencies({ families }: Manifest): string[] {
  const problems: string[] = [];
  const expect = (place: string, what: string, expected: unknown, got: unknown) => {
    const same = JSON.stringify(expected) === JSON.stringify(got);
    if (!same) problems.push(`${place}: expected ${what} ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
  };
  const rarTokens =
    (families.rar.tokenizer.config.resolution / 2 ** (families.rar.tokenizer.config.channelMult.length - 1)) ** 2;
  for (const [variant, { config }] of Object.entries(families.rar.variants)) {
    const place = `families.rar.variants.${variant}.config`;
    expect(`${place}.tokenCount`, "the tokenizer's", rarTokens, config.tokenCount);
    expect(`${place}.codes`, "the tokenizer's", families.rar.tokenizer.config.codes, config.codes);
    expect(`${place}.hiddenSize`, "a multiple of heads, remainder", 0, config.hiddenSize % config.heads);
  }
  const vae = families.var.tokenizer.config;
  const side = vae.resolution / 2 ** (vae.chMult.length - 1);
  expect("families.var.tokenizer.config.patchNums", "a last number of", side, vae.patchNums.at(-1));
  for (const [variant, { config }] of Object.entries(families.var.variants)) {
    const place = `families.var.variants.${variant}.config`;
    expect(`${place}.patchNums`, "the tokenizer's", vae.patchNums, config.patchNums);
    expect(`${place}.codes`, "the tokenizer's", vae.codes, config.codes);
    expect(`${place}.codeChannels`, "the tokenizer's zChannels", vae.zChannels, config.codeChannels);
    expect(`${place}.embedDim`, "a multiple of heads, remainder", 0, config.embedDim % config.heads);
  }
  for (const family of ["rar", "var"] as const) {
    const { variants } = families[family];
    if (Object.keys(variants).length === 0) {
      problems.push(`families.${family}.variants: expected at least one, got none`);
    }
  }
  return problems;
}

/**
 * Identifies the networks of a set: sha256 of the manifest's format and families as canonical JSON, which holds the sha256
 * of every file. Name, description and calibration do not change it, since they do not change what is computed.
 */
export async function modelSetHash({ format, families }: Manifest): Promise<string> {
  return await sha256Hex(new TextEncoder().encode(canonicalJson({ format, families })));
}

// The configurations that a manifest holds are those that the networks take.
type Same<A, B extends A> = B;
export type ManifestConfigs = [
  Same<RarTokenizerConfig, v.InferOutput<typeof rarTokenizerConfig>>,
  Same<RarConfig, v.InferOutput<typeof rarConfig>>,
  Same<VqvaeConfig, v.InferOutput<typeof vqvaeConfig>>,
  Same<VarConfig, v.InferOutput<typeof varConfig>>,
];
