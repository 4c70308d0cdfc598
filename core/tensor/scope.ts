/**
 * Lifetimes: a `scope` frees every tensor made inside it except those it returns.
 * Scopes are synchronous, because all recording of work is. Results are read back outside.
 */
import type { Tensor } from "./tensor.ts";

const stack: Set<Tensor>[] = [];

/** The innermost open scope, or undefined: tensors made outside any scope live until they are disposed. */
export function currentScope(): Set<Tensor> | undefined {
  return stack[stack.length - 1];
}

/**
 * Runs `body` and frees every tensor made inside, except those in its result (a tensor, or arrays, maps and plain
 * objects of tensors), which move to the enclosing scope. Frees all of them when `body` throws. Throws TypeError when
 * `body` returns a promise: tensors of interleaved tasks could not be told apart.
 */
export function scope<T>(body: () => T): T {
  const made = new Set<Tensor>();
  stack.push(made);
  let kept: Set<Tensor> | null = null;
  try {
    const result = body();
    if (result instanceof Promise) {
      throw new TypeError("scope: the body must not be async; record the work inside and await its data outside");
    }
    kept = new Set();
    collectTensors(result, kept);
    return result;
  } finally {
    stack.pop();
    const parent = currentScope();
    for (const tensor of made) {
      if (kept?.has(tensor)) parent?.add(tensor);
      else tensor.dispose();
    }
  }
}

/** Takes tensors out of all scopes: they live until they are disposed. Returns its argument. */
export function keep<T>(value: T): T {
  const tensors = new Set<Tensor>();
  collectTensors(value, tensors);
  for (const made of stack) for (const tensor of tensors) made.delete(tensor);
  return value;
}

/** Disposes every tensor in a tensor, array, map or plain object. */
export function disposeAll(value: unknown): void {
  const tensors = new Set<Tensor>();
  collectTensors(value, tensors);
  for (const tensor of tensors) tensor.dispose();
}

function collectTensors(value: unknown, into: Set<Tensor>): void {
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return;
  if (isTensor(value)) {
    into.add(value);
  } else if (Array.isArray(value)) {
    for (const item of value) collectTensors(item, into);
  } else if (value instanceof Map) {
    for (const item of value.values()) collectTensors(item, into);
  } else {
    for (const item of Object.values(value)) collectTensors(item, into);
  }
}

// By properties, not by class, because tensor.ts imports this file.
function isTensor(value: object): value is Tensor {
  return "shape" in value && "dtype" in value && "dispose" in value && "storage" in value;
}
