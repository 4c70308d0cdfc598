/**
 * Runs a kernel on a device and compares the result with the float64 reference; seeded inputs and property runs for that.
 * It holds no expectations of its own: those are in reference.ts and in the tests' tolerances.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../../core/tensor/device.ts";
import type { DType, KernelName, Kernels, Storage } from "../../../core/tensor/kernels.ts";
import { type CheckedKernel, type HostArgs, type HostArray, type HostResult, references } from "./reference.ts";

/** Rounding to nearest float32 changes a number by at most this, relatively. */
export const F32_ROUNDING = 2 ** -24;
const F16_ROUNDING = 2 ** -11;

/**
 * How far an f32 result may be from the reference: `roundings` times 2^-24 (2^-11 for f16 results), relative to the
 * largest magnitude of the whole reference output, or with `each` to the element's own; `floor` is the least magnitude,
 * for results that are small only because their terms cancel. Integer results must be equal.
 */
export interface Tolerance {
  readonly roundings: number;
  readonly floor?: number;
  readonly each?: boolean;
}

/** Roundings allowed, by kind of device. WGSL allows its built-ins more error than IEEE operations have. */
export function byKind(device: Device, roundings: { cpu: number; webgpu: number }): number {
  return roundings[device.info.kind];
}

/**
 * A float32 sum of `terms` products: every partial sum is rounded once. The roundings are independent, so their sum grows
 * with the square root; 8 of them on the CPU and 16 on WebGPU (where the order of summation and fusing are free) is a
 * bound that wrong terms, f16 accumulation or a lost element do not pass.
 */
export function sumTolerance(device: Device, terms: number, floor = 0): Tolerance {
  return { roundings: byKind(device, { cpu: 8, webgpu: 16 }) * Math.sqrt(terms), floor };
}

/** Seeded inputs (mulberry32), the same on every machine. */
export class Inputs {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [low, high]. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  f32(n: number, low = -1, high = 1): Float32Array {
    return this.#fill(new Float32Array(n), () => low + this.next() * (high - low));
  }

  f16(n: number, low = -1, high = 1): Float16Array {
    return this.#fill(new Float16Array(n), () => low + this.next() * (high - low));
  }

  i32(n: number, low: number, high: number): Int32Array {
    return this.#fill(new Int32Array(n), () => this.int(low, high));
  }

  /** Whole numbers as f32: many exact ties, and sums of products without rounding. */
  wholeF32(n: number, low: number, high: number): Float32Array {
    return this.#fill(new Float32Array(n), () => this.int(low, high));
  }

  /** Several times as fast as TypedArray.from(). */
  #fill<T extends HostArray>(array: T, value: () => number): T {
    for (let i = 0; i < array.length; i++) array[i] = value();
    return array;
  }
}

/** Elements behind the end of every buffer, to catch kernels that read or write too far. */
const GUARD = 67;

/** Garbage of the array's type: NaN, or a large integer. */
function garbage<T extends HostArray>(like: T, length: number): T {
  const array = new (like.constructor as new (n: number) => T)(length);
  return array.fill(array instanceof Int32Array || array instanceof Uint32Array ? 0x7fffff01 : NaN) as T;
}

function withGuard<T extends HostArray>(values: T): T {
  const array = garbage(values, values.length + GUARD);
  array.set(values);
  return array;
}

/** The array that a device's bytes hold where the reference has `like`. */
function viewAs(like: HostArray | HostResult, bytes: ArrayBuffer): HostArray {
  if (like instanceof Float64Array) return new Float32Array(bytes);
  return new (like.constructor as new (b: ArrayBuffer) => HostArray)(bytes);
}

interface Upload {
  readonly host: HostArray;
  readonly storage: Storage;
}

/** Replaces every array in `args` by a storage with its content; an array that occurs twice becomes one storage. */
function upload(device: Device, args: object, uploads: Map<HostArray, Upload>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(args)) {
    if (ArrayBuffer.isView(value)) {
      const host = value as HostArray;
      let known = uploads.get(host);
      if (!known) {
        const guarded = withGuard(host);
        known = { host: guarded, storage: device.alloc(guarded.byteLength) };
        device.write(known.storage, guarded);
        uploads.set(host, known);
      }
      out[name] = known.storage;
    } else {
      out[name] = value && typeof value === "object" && !Array.isArray(value) ? upload(device, value, uploads) : value;
    }
  }
  return out;
}

const dtypeOf = (weight: HostArray): "f32" | "f16" => weight instanceof Float16Array ? "f16" : "f32";

/** Packs the weight of a matmul or conv2d and puts the packed storage in its place. */
function pack(
  device: Device,
  kernel: KernelName,
  args: object,
  onDevice: Record<string, unknown>,
): Storage | undefined {
  if (kernel === "matmul" && (args as HostArgs<"matmul">).packed) {
    const { b, n, k, bType } = args as HostArgs<"matmul">;
    const out = device.alloc(device.packedBytes("linear", [n, k], bType));
    device.run("packLinear", { x: onDevice.b as Storage, out, n, k, xType: dtypeOf(b), outType: bType });
    return onDevice.b = out;
  }
  if (kernel === "conv2d") {
    const { weight, cOut, cIn, kh, kw, wType } = args as HostArgs<"conv2d">;
    const out = device.alloc(device.packedBytes("conv", [cOut, cIn, kh, kw], wType));
    const x = onDevice.weight as Storage;
    device.run("packConv", { x, out, cOut, cIn, kh, kw, xType: dtypeOf(weight), outType: wType });
    return onDevice.weight = out;
  }
}

/** Runs `kernel` on the device and returns what it wrote, after checking that nothing else was touched. */
export async function runKernel<K extends CheckedKernel>(
  device: Device,
  kernel: K,
  args: HostArgs<K>,
  expected: Readonly<Record<string, HostResult>>,
): Promise<Record<string, HostArray>> {
  const uploads = new Map<HostArray, Upload>();
  const onDevice = upload(device, args, uploads);
  const packed = pack(device, kernel, args, onDevice);
  const outputs = Object.entries(expected).map(([name, like]) => {
    const ready = onDevice[name] as Storage | undefined; // stridedCopy: uploaded with its content
    if (ready) return { name, like, storage: ready, own: false };
    const blank = garbage(viewAs(like, new ArrayBuffer(0)), like.length + GUARD);
    const storage = device.alloc(blank.byteLength);
    device.write(storage, blank);
    onDevice[name] = storage;
    return { name, like, storage, own: true };
  });
  device.run(kernel, onDevice as unknown as Kernels[K]);

  const written = new Set(outputs.map((o) => o.storage));
  const inputs = [...uploads.values()].filter((u) => !written.has(u.storage));
  const bytesOf = (like: HostResult) => (like.length + GUARD) * (like instanceof Float16Array ? 2 : 4);
  const [outputBytes, inputBytes] = await Promise.all([
    Promise.all(outputs.map((o) => device.read(o.storage, bytesOf(o.like)))),
    Promise.all(inputs.map((u) => device.read(u.storage, u.host.byteLength))),
  ]);
  for (const o of outputs) if (o.own) device.free(o.storage);
  for (const u of uploads.values()) device.free(u.storage);
  if (packed) device.free(packed);

  inputs.forEach((u, i) => {
    assert.deepEqual(new Uint8Array(inputBytes[i]), bytesOfArray(u.host), `${kernel}: changed an input`);
  });
  const results: Record<string, HostArray> = {};
  outputs.forEach((o, i) => {
    const got = viewAs(o.like, outputBytes[i]);
    // f16 elements may be written in pairs, so the guard starts at the next whole word.
    const end = o.like instanceof Float16Array ? Math.ceil(o.like.length / 2) * 2 : o.like.length;
    assert.deepEqual(
      bytesOfArray(got.subarray(end)),
      bytesOfArray(garbage(got, got.length - end)),
      `${kernel}: wrote behind the end of ${o.name}`,
    );
    results[o.name] = got.subarray(0, o.like.length);
  });
  return results;
}

function bytesOfArray(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** What the reference says that `kernel` writes. */
export function expectedOf<K extends CheckedKernel>(
  kernel: K,
  args: HostArgs<K>,
): Readonly<Record<string, HostResult>> {
  return (references[kernel] as (args: HostArgs<K>) => Readonly<Record<string, HostResult>>)(args);
}

/**
 * Runs `kernel` on the device and asserts that it agrees with `expected`, by default the reference's result. Returns what
 * the device gave.
 */
export async function agrees<K extends CheckedKernel>(
  device: Device,
  kernel: K,
  args: HostArgs<K>,
  tolerance: Tolerance = { roundings: 0 },
  expected = expectedOf(kernel, args),
): Promise<Record<string, HostArray>> {
  const got = await runKernel(device, kernel, args, expected);
  for (const [name, values] of Object.entries(expected)) {
    compare(`${kernel}: ${name}`, got[name], values, tolerance, () => describe(args));
  }
  return got;
}

/** Asserts that every element of `got` is within the tolerance of `expected`. */
export function compare(
  what: string,
  got: ArrayLike<number>,
  expected: HostResult,
  { roundings, floor = 0, each = false }: Tolerance,
  context: () => string = () => "",
): void {
  assert.equal(got.length, expected.length, `${what}: number of elements`);
  const integers = expected instanceof Int32Array || expected instanceof Uint32Array;
  const unit = integers ? 0 : roundings * (expected instanceof Float16Array ? F16_ROUNDING : F32_ROUNDING);
  let largest = floor;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]));
  let wrong = 0;
  let worst = -1;
  let worstExcess = 0;
  for (let i = 0; i < expected.length; i++) {
    if (got[i] === expected[i]) continue;
    const excess = Math.abs(got[i] - expected[i]) - unit * (each ? Math.max(floor, Math.abs(expected[i])) : largest);
    if (excess <= 0) continue; // false for NaN
    wrong++;
    if (worst < 0 || !(excess <= worstExcess)) {
      worst = i;
      worstExcess = excess;
    }
  }
  if (wrong === 0) return;
  const allowed = unit * (each ? Math.max(floor, Math.abs(expected[worst])) : largest);
  assert.fail(
    `${what}[${worst}] is ${got[worst]}, reference ${expected[worst]}: off by ${
      Math.abs(got[worst] - expected[worst])
    }, ` +
      `allowed ${allowed}; ${wrong} of ${expected.length} elements are off. ${context()}`,
  );
}

/** The arguments in one line, arrays as their lengths. */
function describe(args: object): string {
  return JSON.stringify(
    args,
    (_, v) => ArrayBuffer.isView(v) ? `${v.constructor.name}(${(v as HostArray).length})` : v,
  );
}

/**
 * Checks `property` on the examples first and on random values after them, with a fixed seed. `runs` counts both; the
 * WebGPU device gets few because a software adapter compiles every variant of a kernel for a good part of a second.
 */
export async function forAll<T>(
  device: Device,
  arbitrary: fc.Arbitrary<T>,
  runs: { cpu: number; webgpu: number },
  property: (value: T) => Promise<unknown>,
  examples: readonly T[] = [],
): Promise<void> {
  await fc.assert(fc.asyncProperty(arbitrary, async (value) => void await property(value)), {
    seed: 2411_00776,
    numRuns: Math.max(runs[device.info.kind], examples.length),
    examples: examples.map((e): [T] => [e]),
    endOnFailure: true, // shrinking would compile more kernels; the message has the arguments
  });
}

/** Sizes at the edges of tiles and vectors: 1, primes, multiples of 4, 6, 8, 16 and their neighbours. */
export const edgeSize: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15, 16, 17, 24, 31, 32, 33),
  fc.integer({ min: 1, max: 48 }),
);

/** The same, and beyond one tile of any device. */
export const tileSize: fc.Arbitrary<number> = fc.oneof(
  edgeSize,
  fc.constantFrom(47, 64, 65, 67, 96, 120, 121, 127, 128, 129, 131),
);

/** Seed for the values of one run. */
export const seed: fc.Arbitrary<number> = fc.nat(0xffff_ffff);

export const dtypes: readonly DType[] = ["f32", "f16", "i32", "u32"];
