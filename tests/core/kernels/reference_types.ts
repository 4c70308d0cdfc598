/**
 * The kernels' arguments with arrays of numbers where a device has storages, for the reference implementations.
 * Nothing here computes or knows a device.
 */
import type { KernelName, Kernels, Storage } from "../../../core/tensor/kernels.ts";

/** What a storage holds, on the host. The kind of array says the element type; `f16` is `Float16Array`. */
export type HostArray = Float32Array | Float16Array | Int32Array | Uint32Array;

/** What a reference returns: `Float64Array` stands for f32, which a device can only approximate. */
export type HostResult = Float64Array | Float16Array | Int32Array | Uint32Array;

type OnHost<T> = T extends Storage ? HostArray
  : T extends readonly unknown[] ? T
  : T extends object ? { readonly [P in keyof T]: OnHost<T[P]> }
  : T;

/** Kernels whose result has a meaning outside the device. The packing kernels are tested through their users. */
export type CheckedKernel = Exclude<KernelName, "packLinear" | "packConv">;

/** Buffers that a kernel writes completely; they are results, not arguments. */
type WrittenWhole<K> = K extends "stridedCopy" ? never
  : "out" | "values" | "indices" | "scores" | "guided" | "dx" | "dGamma" | "dBeta" | "dScale" | "dq" | "dk" | "dv";

/**
 * Arguments of kernel `K` on the host. Packed weights are given as they were before packing: [n, k] for a matmul,
 * [cOut, cIn, kh, kw] for a convolution. `out` of stridedCopy is its content before the copy.
 */
export type HostArgs<K extends KernelName> = Omit<OnHost<Kernels[K]>, WrittenWhole<K>>;

/** One reference per kernel: the content of every buffer that it writes, by the buffer's name. */
export type References = { readonly [K in CheckedKernel]: (args: HostArgs<K>) => Readonly<Record<string, HostResult>> };
