/**
 * Lists of published checkpoints, one file per network: weights/official.json or a user's list.
 */
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import type { ConvertSpec } from "../checkpoint/convert.ts";
import type { FamilyName } from "../family.ts";
import { parseJson } from "../../util/json.ts";
import { familyNamed, familyNames } from "../registry.ts";

/** A published file and its network. */
export interface ListedFile {
  /** `rar`, `var` for the tokenizers; the labels of the variants otherwise. */
  readonly network: string;
  readonly family: FamilyName;
  readonly repo: string;
  /** Path inside the repository. */
  readonly file: string;
  readonly revision: string;
  /** Where the list already knows them. */
  readonly bytes?: number;
  readonly sha256?: string;
  /** A sha256 that public texts give: another one is a reason for a warning, not for refusing the file. */
  readonly hint?: string;
  readonly prefix?: string;
  /** Whether it is pulled by name only. Default false. */
  readonly extra?: boolean;
  /** As in a manifest: the official ones, where the list gives none. */
  readonly config: unknown;
  /** Undefined for tokenizers. */
  readonly sampler?: unknown;
  readonly isTokenizer: boolean;
}

/** A list of files. */
export interface FileList {
  readonly name: string;
  readonly description?: string;
  readonly files: readonly ListedFile[];
}

const word = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]*$/, "lower-case letters, digits, `.`, `_` and `-`"));
const schema = v.strictObject({
  format: v.literal("model-tracer-files/1"),
  name: word,
  description: v.optional(v.string()),
  files: v.array(v.strictObject({
    network: word,
    family: v.picklist(familyNames),
    repo: v.pipe(v.string(), v.regex(/^[\w.-]+\/[\w.-]+$/, "owner/name")),
    file: v.pipe(
      v.string(),
      v.regex(/^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/, "a path of letters, digits, `.`, `_` and `-`"),
    ),
    revision: v.optional(v.pipe(v.string(), v.regex(/^[\w./-]+$/, "a branch, tag or commit"))),
    bytes: v.optional(v.pipe(v.number(), v.integer("a whole number"), v.minValue(1, "at least 1"))),
    sha256: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits"))),
    hint: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits"))),
    prefix: v.optional(v.string()),
    extra: v.optional(v.boolean()),
    config: v.optional(v.record(v.string(), v.unknown())),
    sampler: v.optional(v.record(v.string(), v.unknown())),
  })),
});

/** The list that comes with the program. */
export const officialList = join(import.meta.dirname ?? ".", "..", "..", "weights", "official.json");

/** Reads a list of files. Throws one error that lists every problem. */
export async function readFileList(path: string = officialList): Promise<FileList> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    throw new Error(`${path}: ${cause instanceof Deno.errors.NotFound ? "no such file" : (cause as Error).message}`, {
      cause,
    });
  }
  const { name, description, files } = parseJson(schema, text, path, problemsOf);
  return {
    name,
    description,
    files: files.map((row): ListedFile => {
      const known = official(row.family, row.network);
      const isTokenizer = row.network === row.family;
      return {
        ...row,
        revision: row.revision ?? "main",
        config: row.config ?? known!.config,
        sampler: isTokenizer ? undefined : row.sampler ?? known!.sampler,
        isTokenizer,
      };
    }),
  };
}

function official(name: FamilyName, network: string): { config: unknown; sampler?: unknown } | undefined {
  const { officialTokenizer, officialVariants } = familyNamed(name);
  if (network === name) return { config: officialTokenizer };
  return officialVariants.find(({ label }) => label === network);
}

function problemsOf({ files }: v.InferOutput<typeof schema>): string[] {
  const problems: string[] = [];
  const names = new Set<string>(), stored = new Map<string, string>();
  files.forEach(({ network, family, repo, file, config, sampler }, i) => {
    const place = `files.${i}`;
    if (names.has(network)) problems.push(`${place}.network: expected every network once, got ${network} again`);
    names.add(network);
    const name = storedName(file);
    // Networks may share a file, as families share a tokenizer; different files need different names.
    const origin = `${repo}/${file}`, other = stored.get(name) ?? origin;
    if (other !== origin) problems.push(`${place}.file: expected different file names, got ${name} again`);
    stored.set(name, origin);
    const known = official(family, network);
    if (known === undefined && config === undefined) {
      problems.push(`${place}.config: is missing, and ${network} is none of the official ${family} networks`);
    }
    if (known === undefined && sampler === undefined && network !== family) {
      problems.push(`${place}.sampler: is missing`);
    }
  });
  return problems;
}

/** The name under which a file of a repository is stored: its last part. */
export function storedName(file: string): string {
  return file.slice(file.lastIndexOf("/") + 1);
}

/** The parameters of a listed network. */
export function specsOf({ family: name, isTokenizer, config }: ListedFile): readonly ConvertSpec[] {
  const family = familyNamed(name);
  return isTokenizer ? family.tokenizerSpecs(config) : family.variantSpecs(config);
}

/** Size of the file in float32 by its parameters, within a few percent, in bytes. */
export function expectedBytes(row: ListedFile): number {
  return 4 * specsOf(row).reduce((sum, { shape }) => sum + shape.reduce((product, d) => product * d, 1), 0);
}

/**
 * The files of some networks: of one family, of the names given, or all that are not extra. Throws on unknown names,
 * naming the known ones.
 */
export function selectFiles(
  { files }: FileList,
  { family, only }: { readonly family?: FamilyName; readonly only?: readonly string[] },
): readonly ListedFile[] {
  for (const name of only ?? []) {
    const known = files.some(({ network, file }) => network === name || storedName(file) === name);
    if (!known) throw new Error(`--only ${name}: expected ${files.map(({ network }) => network).join(", ")}`);
  }
  return files.filter(({ network, file, family: rowFamily, extra = false }) =>
    (family === undefined ? !extra || only !== undefined : rowFamily === family) &&
    (only === undefined || only.includes(network) || only.includes(storedName(file)))
  );
}
