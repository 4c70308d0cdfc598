/**
 * Parts of a checkpoint under other names: removes the prefix of files that wrap a network (`module.`,
 * `trainer.vae_local.`).
 */

import type { TensorInfo, TensorSource } from "./source.ts";

/** Which tensors a part has, and their names. */
export interface SubSourceOptions {
  /** Takes only tensors whose names begin with this, and removes it (default "": all). */
  readonly strip?: string;
  /** Put in front of the rest of the name (default ""). */
  readonly add?: string;
}

/**
 * Tensors of `source` under other names: `originals` maps each new name to the one in `source`; others are left out.
 * Closing the result closes `source`.
 */
export function renamed(source: TensorSource, originals: ReadonlyMap<string, string>): TensorSource {
  const tensors = new Map<string, TensorInfo>();
  for (const [name, original] of originals) tensors.set(name, { ...source.tensors.get(original)!, name });
  // async, so that an unknown name rejects as in every other source
  // deno-lint-ignore require-await
  const originalOf = async (operation: string, name: string): Promise<string> => {
    const original = originals.get(name);
    if (original === undefined) {
      throw new Error(`${source.label}: ${operation}: no tensor is named ${JSON.stringify(name)}`);
    }
    return original;
  };
  return {
    label: source.label,
    tensors,
    readF32: async (name) => source.readF32(await originalOf("readF32", name)),
    readF16: async (name) => source.readF16(await originalOf("readF16", name)),
    readI32: async (name) => source.readI32(await originalOf("readI32", name)),
    close: () => source.close(),
  };
}

/**
 * The part of a source under one prefix, for example `{ strip: "trainer.var_wo_ddp." }`. With
 * `{ strip: "module0.", add: "encoder." }` a fine-tuned encoder has the names of its tokenizer.
 * Closing the part closes the source. Throws when no name begins with the prefix.
 */
export function subSource(source: TensorSource, options: SubSourceOptions): TensorSource {
  const { strip = "", add = "" } = options;
  const originals = new Map<string, string>();
  for (const original of source.tensors.keys()) {
    if (original.startsWith(strip)) originals.set(add + original.slice(strip.length), original);
  }
  if (originals.size === 0) {
    const some = [...source.tensors.keys()].slice(0, 3).join(", ");
    throw new Error(`${source.label}: no tensor's name begins with ${JSON.stringify(strip)}; it has ${some || "none"}`);
  }
  return renamed(source, originals);
}

/** The part of a source under one prefix, which is removed. Errors as in `subSource`. */
export function withPrefix(source: TensorSource, prefix: string): TensorSource {
  return subSource(source, { strip: prefix });
}

/**
 * Finds the prefix under which a source has most of the expected names, and returns the part under it and the number of
 * names it matched. The shortest prefix wins a tie. When no name fits, the result is the source itself, prefix "".
 */
export function autoUnwrap(
  source: TensorSource,
  expectedNames: Iterable<string>,
): { source: TensorSource; prefix: string; matched: number } {
  const expected = new Set(expectedNames);
  const counts = new Map<string, number>();
  for (const name of source.tensors.keys()) {
    // The prefix may end at any dot, if the rest of the name is an expected one.
    for (let start = 0;; start = name.indexOf(".", start) + 1) {
      if (expected.has(name.slice(start))) {
        const prefix = name.slice(0, start);
        counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
      }
      if (name.indexOf(".", start) < 0) break;
    }
  }
  let prefix = "", matched = counts.get("") ?? 0;
  for (const [candidate, count] of counts) {
    if (count > matched || (count === matched && candidate.length < prefix.length)) {
      prefix = candidate;
      matched = count;
    }
  }
  return { source: prefix === "" ? source : subSource(source, { strip: prefix }), prefix, matched };
}
