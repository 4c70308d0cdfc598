/**
 * Strict checking of names: a checkpoint must have exactly the tensors of a network, in their shapes. No values are
 * read.
 */

import { sameShape } from "../../core/tensor/shape.ts";
import { autoUnwrap } from "./prefix.ts";
import type { TensorSource } from "./source.ts";

/** A parameter of a network. */
export interface ParamSpec {
  /** As in the checkpoint. */
  readonly name: string;
  /** As in the checkpoint, row-major. */
  readonly shape: readonly number[];
  /** Use of the parameter, which decides its layout on a device. */
  readonly role: "vector" | "linear" | "conv" | "embedding" | "tensor";
}

/** Options of `checkNames`. */
export interface CheckOptions {
  /** What the file should fit, for messages: `var-d16`. */
  readonly what: string;
  /** Buffers that may be present: full names, name endings after a dot, or patterns. */
  readonly ignored?: readonly (string | RegExp)[];
  /** Parameters of other variants by name, so that the message can say which variant the file fits. */
  readonly alternatives?: ReadonlyMap<string, readonly ParamSpec[]>;
  /** Files that are known and not read, by a tensor that they have, so that the message can say what they are. */
  readonly strangers?: readonly Stranger[];
}

/** A kind of checkpoint that no network here is loaded from. */
export interface Stranger {
  /** The name of a tensor that only such files have. */
  readonly tensor: RegExp;
  /** For messages: what it is, and what to take in its place. */
  readonly what: string;
}

interface Problems {
  readonly missing: string[];
  readonly unused: string[];
  readonly misshaped: string[];
}

/** How many problems of each kind a message lists. */
const SHOWN = 3;

/**
 * Throws one error when a source does not have exactly the tensors `specs`. It names the file, counts missing, unused
 * and mis-shaped tensors and lists the first of each, and says which variant or prefix would fit.
 */
export function checkNames(source: TensorSource, specs: readonly ParamSpec[], options: CheckOptions): void {
  const ignored = options.ignored ?? [];
  const problems = findProblems(source, specs, ignored);
  if (isFree(problems)) return;
  const lines = [
    list("missing", problems.missing),
    list("unused", problems.unused),
    list("with another shape", problems.misshaped),
  ].filter((line) => line !== "");
  throw new Error(
    `${source.label}: does not fit ${options.what}: ${lines.join("; ")}${suggestion(source, specs, options, ignored)}`,
  );
}

function findProblems(
  source: TensorSource,
  specs: readonly ParamSpec[],
  ignored: readonly (string | RegExp)[],
): Problems {
  const problems: Problems = { missing: [], unused: [], misshaped: [] };
  const known = new Set<string>();
  for (const { name, shape } of specs) {
    known.add(name);
    const info = source.tensors.get(name);
    if (info === undefined) problems.missing.push(name);
    else if (!sameShape(info.shape, shape)) problems.misshaped.push(`${name} expects [${shape}], got [${info.shape}]`);
  }
  for (const name of source.tensors.keys()) {
    if (!known.has(name) && !ignored.some((rule) => matches(name, rule))) problems.unused.push(name);
  }
  return problems;
}

function matches(name: string, rule: string | RegExp): boolean {
  // search() ignores a pattern's lastIndex, which test() would carry from name to name for /g patterns
  if (typeof rule !== "string") return name.search(rule) >= 0;
  return name === rule || name.endsWith(`.${rule}`);
}

function isFree({ missing, unused, misshaped }: Problems): boolean {
  return missing.length + unused.length + misshaped.length === 0;
}

function list(kind: string, items: readonly string[]): string {
  if (items.length === 0) return "";
  const more = items.length > SHOWN ? ", ..." : "";
  return `${items.length} ${kind} (${items.slice(0, SHOWN).map((item) => item || '""').join(", ")}${more})`;
}

function suggestion(
  source: TensorSource,
  specs: readonly ParamSpec[],
  options: CheckOptions,
  ignored: readonly (string | RegExp)[],
): string {
  const stranger = options.strangers?.find(({ tensor }) =>
    [...source.tensors.keys()].some((name) => tensor.test(name))
  );
  if (stranger !== undefined) return `; the file is ${stranger.what}`;
  for (const [variant, others] of options.alternatives ?? []) {
    if (variant !== options.what && isFree(findProblems(source, others, ignored))) {
      return `; the file fits ${variant}`;
    }
  }
  const { prefix, matched } = autoUnwrap(source, specs.map((spec) => spec.name));
  if (prefix !== "") return `; ${matched} of ${specs.length} names match under the prefix ${JSON.stringify(prefix)}`;
  return "";
}
