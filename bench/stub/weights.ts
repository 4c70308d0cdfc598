/** Weights for the stub device, where only their sizes matter. */
import { sizeOf } from "../../core/tensor/mod.ts";
import type { TensorSource } from "../../models/checkpoint/mod.ts";
import type { ParamSpec } from "../../models/checkpoint/load.ts";

/** A checkpoint of zeros, all in the same memory: gigabytes of weights load at once. Nobody may write to them. */
export function zeroSource(specs: readonly ParamSpec[]): TensorSource {
  const sizes = new Map(specs.map(({ name, shape }) => [name, sizeOf(shape)]));
  const zeros = new ArrayBuffer(4 * Math.max(...sizes.values()));
  return {
    label: "zeros",
    tensors: new Map(specs.map(({ name, shape }) => [name, { name, shape, dtype: "f32" }])),
    readF32: (name) => Promise.resolve(new Float32Array(zeros, 0, sizes.get(name))),
    readF16: (name) => Promise.resolve(new Uint16Array(zeros, 0, sizes.get(name))),
    readI32: (name) => Promise.resolve(new Int32Array(zeros, 0, sizes.get(name))),
    close() {},
  };
}
