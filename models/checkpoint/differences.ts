/**
 * Fine-tuned encoders that are stored as differences to the one they began with. Source: sprintml/DataProvenanceIAR,
 * scripts/prep_release_checkpoint.py ("delta").
 */
import { median } from "../../util/median.ts";
import type { ParamSpec } from "./load.ts";
import type { TensorSource } from "./source.ts";

/** Weights of norms, which lie near 1 in every network, and near 0 in differences. */
const normWeight = /norm[^.]*\.weight$/;
/** Between the two. */
const limit = 0.25;

/** Whether an encoder's tensors are differences. False for a network without norms, where it cannot be told. */
export async function areDifferences(source: TensorSource, specs: readonly ParamSpec[]): Promise<boolean> {
  const medians: number[] = [];
  for (const { name } of specs) {
    if (normWeight.test(name) && source.tensors.has(name)) {
      medians.push(median((await source.readF32(name)).map(Math.abs)));
    }
  }
  return medians.length > 0 && median(medians) < limit;
}

/**
 * The encoder `original` + `differences`, for the tensors that both have; others are those of `differences`. Closing it
 * closes both. Throws a TypeError where shapes differ.
 */
export function withDifferences(original: TensorSource, differences: TensorSource): TensorSource {
  for (const [name, { shape }] of differences.tensors) {
    const expected = original.tensors.get(name)?.shape;
    if (expected !== undefined && expected.join() !== shape.join()) {
      throw new TypeError(`${differences.label}: ${name}: ${original.label} expects [${expected}], got [${shape}]`);
    }
  }
  const readF32 = async (name: string) => {
    const values = await differences.readF32(name);
    if (!original.tensors.has(name)) return values;
    const before = await original.readF32(name);
    return values.map((value, i) => value + before[i]) as Float32Array<ArrayBuffer>;
  };
  return {
    label: `${original.label} + ${differences.label}`,
    tensors: differences.tensors,
    readF32,
    readF16: () => Promise.reject(new Error("withDifferences: read as float32, sums are not stored in half precision")),
    readI32: (name) => differences.readI32(name),
    close: () => {
      original.close();
      differences.close();
    },
  };
}
