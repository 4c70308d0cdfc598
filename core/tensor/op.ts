/**
 * What an op is: its shape rule, its forward and its gradient, side by side in one definition.
 * `apply` is the single place where outputs are allocated and where an op is recorded on a tape.
 */
import { bytesPerElement, type Device } from "./device.ts";
import type { DType } from "./kernels.ts";
import { formatShape, type Shape, sizeOf } from "./shape.ts";
import { record } from "./tape.ts";
import { Tensor } from "./tensor.ts";

/** Named inputs of an op; optional ones may be undefined. */
export type Inputs = { readonly [name: string]: Tensor | undefined };

export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What a gradient gets to see. `needs` says for which inputs a gradient is wanted: the others must cost nothing. */
export interface GradientContext<I extends Inputs, P> {
  readonly inputs: I;
  readonly outputs: readonly Tensor[];
  readonly params: P;
  /** Gradient of the loss with respect to each output. */
  readonly upstream: readonly Tensor[];
  readonly needs: { readonly [K in keyof I]: boolean };
}

/** Gradients of the loss with respect to the inputs that need one; those of others may be left out. */
export type Gradient<I extends Inputs, P> = (
  context: GradientContext<I, P>,
) => { readonly [K in keyof I]?: Tensor };

export interface Op<I extends Inputs, P> {
  readonly name: string;
  /** Shapes and types of the outputs; throws on operands that do not fit, naming the op, what was expected and what came. */
  infer(inputs: I, params: P): TensorSpec[];
  /** Runs kernels that fill `outputs`. */
  forward(device: Device, inputs: I, outputs: readonly Tensor[], params: P): void;
  /** How gradients flow back, or the reason why they do not. Recorded on a tape only where an input depends on a variable. */
  readonly gradient: Gradient<I, P> | string;
  /** Inputs whose values the gradient reads, and "out" for the outputs; all of them when not given. */
  readonly saves?: readonly string[] | ((needs: { readonly [K in keyof I]: boolean }, params: P) => readonly string[]);
  /**
   * Whether its output is computed again on the way back for the ops that read it, and not kept for them: for ops with
   * one output that cost little beside what follows. Their own gradient must save every input.
   */
  readonly recomputed?: boolean;
}

/** Gives an op definition its inferred types. */
export function defineOp<I extends Inputs, P>(op: Op<I, P>): Op<I, P> {
  return op;
}

/** Checks the operands, allocates the outputs, runs the forward and records the op on the open tape, if any. */
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

/** `applyAll` for ops with one output. */
export function apply<I extends Inputs, P>(op: Op<I, P>, inputs: I, params: P): Tensor {
  return applyAll(op, inputs, params)[0];
}

/** A tensor with undefined contents. */
export function empty(device: Device, shape: Shape, dtype: DType = "f32"): Tensor {
  return new Tensor(device, shape, dtype, device.alloc(sizeOf(shape) * bytesPerElement(dtype)));
}

/** Throws unless `tensor` is dense and has one of the given types. */
export function expectType(op: string, name: string, tensor: Tensor, ...dtypes: DType[]): void {
  if (tensor.layout !== "dense") throw new Error(`${op}: ${name} must be a dense tensor, got a packed weight`);
  if (!dtypes.includes(tensor.dtype)) {
    throw new Error(`${op}: ${name} expects ${dtypes.join(" or ")}, got ${tensor.dtype} ${formatShape(tensor.shape)}`);
  }
}

/** Throws unless `tensor` has the given shape (-1 stands for any size). */
export function expectShape(op: string, name: string, tensor: Tensor, shape: Shape): void {
  const fits = tensor.shape.length === shape.length && shape.every((d, i) => d === -1 || d === tensor.shape[i]);
  if (!fits) {
    const wanted = `[${shape.map((d) => d === -1 ? "?" : d).join(", ")}]`;
    throw new Error(`${op}: ${name} expects shape ${wanted}, got ${formatShape(tensor.shape)}`);
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
    if (tensor.device !== device) throw new Error(`${op}: operands live on different devices`);
  }
  if (device === undefined) throw new Error(`${op}: needs at least one tensor`);
  return device;
}
