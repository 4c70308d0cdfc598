/**
 * Tensors from host data, constants and random numbers.
 */
import type { Device } from "./device.ts";
import type { DType } from "./kernels.ts";
import { empty } from "./op.ts";
import { normals, uniforms } from "./random.ts";
import { formatShape, type Shape, sizeOf } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/**
 * A tensor with the given elements, row-major. The type follows the array: f32, i32, u32, or f16 bits for Uint16Array;
 * plain numbers become i32 if `dtype` says so, else f32. Throws TypeError when type or number of elements do not fit.
 */
export function fromArray(
  device: Device,
  data: Float32Array | Int32Array | Uint32Array | Uint16Array | readonly number[],
  shape: Shape,
  dtype?: DType,
): Tensor {
  const array = ArrayBuffer.isView(data) ? data : dtype === "i32" ? Int32Array.from(data) : Float32Array.from(data);
  const arrayType: DType = array instanceof Int32Array
    ? "i32"
    : array instanceof Uint32Array
    ? "u32"
    : array instanceof Uint16Array
    ? "f16"
    : "f32";
  if (dtype !== undefined && dtype !== arrayType) {
    throw new TypeError(`fromArray: expected data for ${dtype}, got ${array.constructor.name}`);
  }
  if (array.length !== sizeOf(shape)) {
    throw new TypeError(`fromArray: shape ${formatShape(shape)} needs ${sizeOf(shape)} elements, got ${array.length}`);
  }
  const tensor = empty(device, shape, arrayType);
  device.write(tensor.storage, array);
  return tensor;
}

/** A tensor filled with one value. */
export function full(device: Device, shape: Shape, value: number, dtype: DType = "f32"): Tensor {
  if (dtype === "f16") {
    const [bits] = new Uint16Array(Float16Array.of(value).buffer);
    return fromArray(device, new Uint16Array(sizeOf(shape)).fill(bits), shape);
  }
  const tensor = empty(device, shape, dtype);
  device.run("fill", { out: tensor.storage, n: tensor.size, value, dtype });
  return tensor;
}

/** A tensor of zeros. */
export function zeros(device: Device, shape: Shape, dtype: DType = "f32"): Tensor {
  return full(device, shape, 0, dtype);
}

/** [0, 1, ..., n - 1] as i32. */
export function arange(device: Device, n: number): Tensor {
  return fromArray(device, Int32Array.from({ length: n }, (_, i) => i), [n]);
}

/** Uniform in [0, 1), f32; the same numbers on every device. Different `stream`s of one seed are independent. */
export function randomUniform(device: Device, shape: Shape, seed: number, stream: number = 0): Tensor {
  return fromArray(device, uniforms(seed, stream, sizeOf(shape)), shape);
}

/** Standard normal, f32; the same numbers on every device. Streams as in `randomUniform`. */
export function randomNormal(device: Device, shape: Shape, seed: number, stream: number = 0): Tensor {
  return fromArray(device, normals(seed, stream, sizeOf(shape)), shape);
}
