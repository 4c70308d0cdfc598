/**
 * Parts of a checkpoint under other names: files that wrap a network (`module.`, `trainer.vae_local.`) seen as if they
 * did not.
 * It deliberately renames by prefix only; what a network calls differently inside is its own table.
 */

import type { TensorInfo, TensorSource } from "./source.ts";

/** Which tensors a part has, and what it calls them. */
export interface SubSourceOptions {
  /** Only tensors whose names begin with this, which is cut off. Default: all of them. */
  readonly strip?: string;
  /** Put before what is left of the name. */
  readonly add?: string;
}

/**
 * The part of a source under one prefix, e.g. `{ strip: "trainer.var_wo_ddp." }`; `{ strip: "module0.", add: "encoder." }`
 * reads a fine-tuned encoder under the tokenizer's own names. Closing the part closes the source. An empty part throws.
 */
export function subSource(source: TensorSource, options: SubSourceOptions): TensorSource {
  const { strip = "", add = "" } = options;
  const tensors = new Map<string, TensorInfo>();
  const originals = new Map<string, string>();
  for (const [original, info] of source.tensors) {
    if (!original.startsWith(strip)) continue;
    const name = add + original.slice(strip.length);
    tensors.set(name, { name, shape: info.shape, dtype: info.dtype });
    originals.set(name, original);
  }
  if (tensors.size === 0) {
    const some = [...source.tensors.keys()].slice(0, 3).join(", ");
    throw new Error(`${source.label}: no tensor's name begins with ${JSON.stringify(strip)}; it has ${some || "none"}`);
  }
  // async, so that an unknown name rejects as in every other source
  // deno-lint-ignore require-await
  const original = async (operation: string, name: string): Promise<string> => {
    const found = originals.get(name);
    if (found === undefined) {
      throw new Error(`${source.label}: ${operation}: no tensor is named ${JSON.stringify(name)}`);
    }
    return found;
  };
  return {
    label: source.label,
    tensors,
    readF32: async (name) => source.readF32(await original("readF32", name)),
    readF16: async (name) => source.readF16(await original("readF16", name)),
    readI32: async (name) => source.readI32(await original("readI32", name)),
    close: () => source.close(),
  };
}

/** The same part by its prefix alone: `withPrefix(source, "trainer.var_wo_ddp.")`. */
export function withPrefix(source: TensorSource, prefix: string): TensorSource {
  return subSource(source, { strip: prefix });
}

/**
 * Finds the prefix under which a source has the most of the expected names, and returns the part under it; the shortest
 * prefix wins a tie, and the source itself comes back, with the prefix "", when no name fits.
 */
export function autoUnwrap(
  source: TensorSource,
  expectedNames: Iterable<string>,
): { source: TensorSource; prefix: string; matched: number } {
  const expected = new Set(expectedNames);
  const counts = new Map<string, number>();
  for (const name of source.tensors.keys()) {
    // Every dot may be where the wrapping ends: the rest of the name must then be an expected one.
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
