/**
 * Strict loading: a checkpoint must have exactly the tensors that a network asks for, in exactly their shapes.
 * It deliberately neither reads values nor places them on a device.
 */

import { autoUnwrap } from "./prefix.ts";
import type { TensorSource } from "./source.ts";

/** A parameter of a network. */
export interface ParamSpec {
  readonly name: string;
  /** As in the checkpoint, row-major. */
  readonly shape: readonly number[];
  /** What the parameter is used for, which decides how a device lays it out. */
  readonly role: "vector" | "linear" | "conv" | "embedding" | "tensor";
}

/** How strict {@link checkNames} is, and what it can suggest. */
export interface CheckOptions {
  /** What the file should fit, for messages: `var-d16`. */
  readonly what: string;
  /** Known buffers that may be present: full names, name endings after a dot, or patterns. */
  readonly ignored?: readonly (string | RegExp)[];
  /** Specs by variant name, so that the message can say which variant the file fits instead. */
  readonly alternatives?: ReadonlyMap<string, readonly ParamSpec[]>;
}

interface Problems {
  readonly missing: string[];
  readonly unused: string[];
  readonly misshaped: string[];
}

/** How many of each kind of problem are spelled out. */
const SHOWN = 3;

/**
 * Throws one error that lists missing, unused and mis-shaped tensors (the first few of each, with counts) and names the
 * file, the variant that it fits instead, or the prefix under which the names would match. Returns when all is well.
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
    const found = source.tensors.get(name);
    if (found === undefined) problems.missing.push(name);
    else if (found.shape.length !== shape.length || found.shape.some((size, axis) => size !== shape[axis])) {
      problems.misshaped.push(`${name} expects [${shape}], got [${found.shape}]`);
    }
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
  for (const [variant, others] of options.alternatives ?? []) {
    if (variant !== options.what && isFree(findProblems(source, others, ignored))) {
      return `; the file fits ${variant}`;
    }
  }
  const { prefix, matched } = autoUnwrap(source, specs.map((spec) => spec.name));
  if (prefix !== "") return `; ${matched} of ${specs.length} names match under the prefix ${JSON.stringify(prefix)}`;
  return "";
}
