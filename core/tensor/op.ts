/**
 * Op definitions, and `apply`, which runs them: the only place that allocates outputs and records ops on a tape.
 */
import { bytesPerElement, type Device } from "./device.ts";
import type { DType } from "./kernels.ts";
import { formatShape, type Shape, sizeOf } from "./shape.ts";
import { record } from "./tape.ts";
import { Tensor } from "./tensor.ts";

/** Named inputs of an op; optional ones may be undefined. */
export type Inputs = { readonly [name: string]: Tensor | undefined };

/** Shape and type of an output. */
export interface TensorSpec {
  /** Sizes of all axes. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
}

/** Arguments of a gradient. */
export interface GradientContext<I extends Inputs, P> {
  /** The op's inputs; those that `saves` does not name have a shape, but no values. */
  readonly inputs: I;
  /** The op's outputs, likewise. */
  readonly outputs: readonly Tensor[];
  /** The op's parameters. */
  readonly params: P;
  /** Gradient of the loss with respect to each output. */
  readonly upstream: readonly Tensor[];
  /** Which inputs need a gradient. Others must cost nothing. */
  readonly needs: { readonly [K in keyof I]: boolean };
}

/** Gradients of the loss with respect to the inputs that need one; those of others may be left out. */
export type Gradient<I extends Inputs, P> = (
  context: GradientContext<I, P>,
) => { readonly [K in keyof I]?: Tensor };

/** The definition of an op: shape rule, forward and gradient. `I` are its input tensors, `P` its other parameters. */
export interface Op<I extends Inputs, P> {
  /** For messages. */
  readonly name: string;
  /**
   * Shapes and types of the outputs. Throws on inputs that do not fit, naming the op, what it expected and what it got.
   */
  infer(inputs: I, params: P): TensorSpec[];
  /** Runs kernels that fill `outputs`. */
  forward(device: Device, inputs: I, outputs: readonly Tensor[], params: P): void;
  /** The gradient, or the reason why there is none. */
  readonly gradient: Gradient<I, P> | string;
  /**
   * Inputs whose values the gradient reads, and "out" for the outputs; all when not given. The tape keeps only these.
   */
  readonly saves?: readonly string[] | ((needs: { readonly [K in keyof I]: boolean }, params: P) => readonly string[]);
  /**
   * Rematerialised: the output is dropped and recomputed in the backward pass. For ops with one output that cost little
   * beside what reads it. Their gradient must save every input.
   */
  readonly recomputed?: boolean;
}

/** Returns its argument: gives an op definition its inferred types. */
export function defineOp<I extends Inputs, P>(op: Op<I, P>): Op<I, P> {
  return op;
}

/**
 * Runs an op: checks the inputs, allocates the outputs, runs the forward, and records the op on the open tape, if any.
 * Throws what `infer` throws, and TypeError for inputs on different devices.
 */
export function applyAll<I extends Inputs, P>(op: Op<I, P>, inputs: I, params: P): Tensor[] {
  const outputs = compute(op, inputs, params);
  record(op, inputs, outputs, params, (saved) => compute(op, saved, params)[0]);
  return outputs;
}

function compute<I extends Inputs, P>(op: Op<I, P>, inputs: I, params: P): Tensor[] {
  const device = commonDevice(op.name, inputs);
  const outputs = op.infer(inputs, params).map((spec) => empty(device, spec.shape, spec.dtype));
  op.forward(device, inputs, outputs, params);
  return outputs;
}

/** `applyAll` for ops with one output: returns it. */
export function apply<I extends Inputs, P>(op: Op<I, P>, inputs: I, params: P): Tensor {
  return applyAll(op, inputs, params)[0];
}

/** A tensor with undefined contents. Throws when the device has no memory for it. */
export function empty(device: Device, shape: Shape, dtype: DType = "f32"): Tensor {
  return new Tensor(device, shape, dtype, device.alloc(sizeOf(shape) * bytesPerElement(dtype)));
}

/** Throws unless `tensor` is dense and has one of the given types. */
export function expectType(op: string, name: string, tensor: Tensor, ...dtypes: DType[]): void {
  if (tensor.layout !== "dense") throw new TypeError(`${op}: ${name} must be a dense tensor, got a packed weight`);
  if (!dtypes.includes(tensor.dtype)) {
    throw new TypeError(
      `${op}: ${name} expects ${dtypes.join(" or ")}, got ${tensor.dtype} ${formatShape(tensor.shape)}`,
    );
  }
}

/** Throws unless `tensor` has the given shape (-1 stands for any size). */
export function expectShape(op: string, name: string, tensor: Tensor, shape: Shape): void {
  const fits = tensor.shape.length === shape.length && shape.every((d, i) => d === -1 || d === tensor.shape[i]);
  if (!fits) {
    const wanted = `[${shape.map((d) => d === -1 ? "?" : d).join(", ")}]`;
    throw new TypeError(`${op}: ${name} expects shape ${wanted}, got ${formatShape(tensor.shape)}`);
  }
}

/** Throws unless `tensor` is a dense f32 tensor of the given shape: a bias, a norm's parameters, a residual. */
export function expectParameter(op: string, name: string, tensor: Tensor, shape: Shape): void {
  expectType(op, name, tensor, "f32");
  expectShape(op, name, tensor, shape);
}

function commonDevice(op: string, inputs: Inputs): Device {
  let device: Device | undefined;
  for (const tensor of Object.values(inputs)) {
    if (tensor === undefined) continue;
    void tensor.storage; // throws when it was disposed
    device ??= tensor.device;
    if (tensor.device !== device) throw new TypeError(`${op}: operands live on different devices`);
  }
  if (device === undefined) throw new TypeError(`${op}: needs at least one tensor`);
  return device;
}
