/**
 * Reverse-mode automatic differentiation. An open tape records the ops that depend on its variables; the backward pass
 * walks the record from its end and computes the gradients of one scalar. Without a tape nothing is recorded. What does
 * not depend on a variable (frozen weights, inputs) costs nothing in the backward pass.
 */
import type { GradientContext, Inputs, Op } from "./op.ts";
import { keep, scope } from "./scope.ts";
import { formatShape, type Shape, sizeOf } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Stands for a variable or one output of a recorded op, whose gradient accumulates in it. Compared by identity. */
type GradientSlot = Record<never, never>;

/** One recorded op. It holds aliases of the tensors its gradient reads, so that scopes may free the tensors. */
interface Node {
  readonly outputs: readonly GradientSlot[];
  /** Slots of the gradients that `backward` returns. */
  readonly parents: readonly GradientSlot[];
  backward(upstream: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[];
  release(): void;
}

class Tape {
  readonly variables: readonly Tensor[];
  readonly slots = new WeakMap<Tensor, GradientSlot>();
  /** How to recompute the outputs of rematerialised ops. */
  readonly recipes = new WeakMap<Tensor, () => Tensor>();
  readonly #nodes: Node[] = [];
  /**
   * For the tape of a checkpoint's forward pass, which records nothing: of `outer`'s tensors only `allowed` may be
   * read.
   */
  readonly #watched: { outer: Tape; allowed: ReadonlySet<Tensor> } | null;

  constructor(variables: readonly Tensor[], watched: { outer: Tape; allowed: ReadonlySet<Tensor> } | null = null) {
    this.variables = variables;
    this.#watched = watched;
    for (const variable of variables) this.slots.set(variable, {});
  }

  get watching(): boolean {
    return this.#watched !== null;
  }

  /** Throws when a checkpointed function reads a tensor it was not given: its gradient would be lost silently. */
  check(op: string, inputs: Inputs): void {
    if (!this.#watched) return;
    const { outer, allowed } = this.#watched;
    for (const [name, tensor] of Object.entries(inputs)) {
      if (tensor && outer.slots.has(tensor) && !allowed.has(tensor)) {
        throw new Error(`checkpoint: ${op} reads ${name}, which depends on a variable but is not an argument`);
      }
    }
  }

  push(node: Node, outputs: readonly Tensor[]): void {
    this.#nodes.push(node);
    outputs.forEach((output, i) => this.slots.set(output, node.outputs[i]));
  }

  /** Whether an op recorded here made this tensor. */
  made(tensor: Tensor): boolean {
    return this.slots.has(tensor) && !this.variables.includes(tensor);
  }

  /** Gradients of the variables, given that of `result`; null for those it does not depend on. Empties the tape. */
  backward(result: Tensor, seed: Tensor): (Tensor | null)[] {
    const gradients = new Map<GradientSlot, Tensor>();
    const accumulate = (slot: GradientSlot, gradient: Tensor) => {
      const before = gradients.get(slot);
      if (before === undefined) {
        gradients.set(slot, gradient);
        return;
      }
      gradients.set(slot, keep(addition(before, gradient)));
      before.dispose();
      gradient.dispose();
    };
    const start = this.slots.get(result);
    if (start) accumulate(start, keep(seed.reshape(...result.shape)));
    for (let node = this.#nodes.pop(); node; node = this.#nodes.pop()) {
      const upstream = node.outputs.map((slot) => gradients.get(slot));
      if (upstream.some((gradient) => gradient !== undefined)) {
        const current = node;
        const results = scope(() => keep(current.backward(upstream)));
        results.forEach((gradient, i) => gradient && accumulate(current.parents[i], gradient));
      }
      for (const slot of node.outputs) {
        gradients.get(slot)?.dispose();
        gradients.delete(slot);
      }
      node.release();
    }
    return this.variables.map((variable) => gradients.get(this.slots.get(variable)!) ?? null);
  }

  release(): void {
    for (const node of this.#nodes) node.release();
    this.#nodes.length = 0;
  }
}

let current: Tape | null = null;
let addition: (a: Tensor, b: Tensor) => Tensor;
let ones: (like: Tensor) => Tensor;

/** Sets the two ops that the tape computes with. It cannot import them, because all ops import this file. */
export function setArithmetic(functions: { add: typeof addition; onesLike: typeof ones }): void {
  ({ add: addition, onesLike: ones } = functions);
}

function withTape<T>(tape: Tape | null, body: () => T): T {
  const before = current;
  current = tape;
  try {
    return body();
  } finally {
    current = before;
  }
}

/** Runs `body` without recording: its result is a constant to the tape. */
export function withoutTape<T>(body: () => T): T {
  return withTape(null, body);
}

/** An alias that outlives scopes. */
function aliasOf(tensor: Tensor): Tensor {
  return withoutTape(() => keep(tensor.alias()));
}

/** What a recorded op keeps for its gradient. */
interface Saved<I> {
  /** The inputs; those that are rematerialised are recomputed by the call. */
  inputs(): I;
  readonly outputs: readonly Tensor[];
  readonly shapes: { readonly [name: string]: Shape | undefined };
  release(): void;
}

/** Keeps aliases of the tensors that the gradient of `op` reads, and recipes of those that are rematerialised. */
function save<I extends Inputs, P>(
  tape: Tape,
  op: Op<I, P>,
  run: Pick<GradientContext<I, P>, "inputs" | "outputs" | "params" | "needs">,
): Saved<I> {
  const reads = typeof op.saves === "function" ? op.saves(run.needs, run.params) : op.saves;
  const recipes: [name: string, recompute: () => Tensor][] = [];
  const aliasFor = (name: string, tensor: Tensor) => {
    const alias = aliasOf(tensor);
    const read = !reads || reads.includes(name);
    const recipe = tape.recipes.get(tensor);
    if (read && recipe) recipes.push([name, recipe]);
    // A disposed tensor still has a shape, which is all that some gradients need.
    if (!read || recipe) alias.dispose();
    return alias;
  };
  const aliases = Object.fromEntries(
    Object.entries(run.inputs).map(([name, tensor]) => [name, tensor && aliasFor(name, tensor)]),
  );
  const outputs = run.outputs.map((output) => aliasFor("out", output));
  return {
    inputs: () =>
      ({
        ...aliases,
        ...Object.fromEntries(recipes.map(([name, recompute]) => [name, recompute()])),
      }) as unknown as I,
    outputs,
    shapes: Object.fromEntries(Object.entries(aliases).map(([name, alias]) => [name, alias?.shape])),
    release: () => {
      for (const alias of Object.values(aliases)) alias?.dispose();
      for (const alias of outputs) alias.dispose();
    },
  };
}

/**
 * Records an op when one of its inputs depends on a variable. `recompute` returns the first output for the same inputs.
 * Called by `applyAll`.
 */
export function record<I extends Inputs, P>(
  op: Op<I, P>,
  inputs: I,
  outputs: readonly Tensor[],
  params: P,
  recompute: (inputs: I) => Tensor,
): void {
  const tape = current;
  if (tape === null) return;
  tape.check(op.name, inputs);
  const names = Object.keys(inputs).filter((name) => inputs[name] && tape.slots.has(inputs[name]!));
  // Integers have no gradient: the result of argmax or of rounding is a constant.
  if (names.length === 0 || outputs.every((output) => output.dtype !== "f32")) return;
  const { gradient } = op;
  if (typeof gradient === "string") throw new Error(`${op.name}: has no gradient (${gradient})`);
  const needs = Object.fromEntries(Object.keys(inputs).map((name) => [name, names.includes(name)])) as {
    readonly [K in keyof I]: boolean;
  };
  const saved = save(tape, op, { inputs, outputs, params, needs });
  const node: Node = {
    outputs: outputs.map(() => ({})),
    parents: names.map((name) => tape.slots.get(inputs[name]!)!),
    backward: (upstream) => {
      const result: { readonly [name: string]: Tensor | undefined } = gradient({
        // `backward` runs in a scope, which frees what is recomputed here.
        inputs: saved.inputs(),
        outputs: saved.outputs,
        params,
        upstream: upstream as readonly Tensor[],
        needs,
      });
      return names.map((name) => {
        const value = result[name], wanted = saved.shapes[name]!;
        if (value && value.size !== sizeOf(wanted)) {
          throw new Error(
            `${op.name}: gradient of ${name} has shape ${formatShape(value.shape)}, not ${formatShape(wanted)}`,
          );
        }
        // A new tensor, also where the gradient is the upstream itself.
        return value?.reshape(...wanted);
      });
    },
    release: saved.release,
  };
  tape.push(node, outputs);
  if (op.recomputed) tape.recipes.set(outputs[0], () => withoutTape(() => recompute(saved.inputs())));
}

/** Records that `result` has the elements of `source` in the same order. Called by `reshape`. */
export function recordReshape(source: Tensor, result: Tensor): void {
  const tape = current;
  if (tape === null) return;
  tape.check("reshape", { x: source });
  const parent = tape.slots.get(source);
  if (!parent) return;
  const { shape } = source;
  const node: Node = {
    outputs: [{}],
    parents: [parent],
    backward: ([upstream]) => [upstream?.reshape(...shape)],
    release: () => {},
  };
  tape.push(node, [result]);
}

/** Result of `differentiate`. */
export interface Differentiated<T> {
  /** What `body` returned. */
  readonly result: T;
  /** Gradients of the loss, in the order of the variables; null where it does not depend on one. */
  readonly gradients: readonly (Tensor | null)[];
}

/**
 * Runs `body`, which returns a scalar `loss` and any other results, and differentiates the loss with respect to
 * `variables` (dense f32 tensors). The record is freed; dispose result and gradients.
 * Throws TypeError when the loss is no scalar, and Error when an op has no gradient or when calls are nested.
 */
export function differentiate<T extends { readonly loss: Tensor }>(
  variables: readonly Tensor[],
  body: () => T,
): Differentiated<T> {
  if (current !== null) throw new Error("differentiate: cannot be nested");
  const tape = new Tape(variables);
  try {
    return scope(() => {
      const result = withTape(tape, body);
      const { loss } = result;
      if (loss.size !== 1) {
        throw new TypeError(`differentiate: loss expects one element, got ${formatShape(loss.shape)}`);
      }
      const seed = ones(loss);
      return { result, gradients: tape.backward(loss, seed) };
    });
  } finally {
    tape.release();
  }
}

/**
 * Runs `body` without keeping its intermediate results; the backward pass runs it again. Memory is that of arguments
 * and result, at the price of a second forward pass. `body` may read the tape's variables, but other tensors that
 * depend on them only as arguments: else it throws Error.
 */
export function checkpoint(body: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  const tape = current;
  if (tape === null || tape.watching) return scope(() => body(...inputs));
  const allowed = new Set<Tensor>([...inputs, ...tape.variables]);
  const output = withTape(new Tape([], { outer: tape, allowed }), () => scope(() => body(...inputs)));
  tape.check("checkpoint", Object.fromEntries(inputs.map((tensor, i) => [`argument ${i}`, tensor])));
  const saved = inputs.map((tensor) => aliasOf(tensor));
  const traced = inputs.map((tensor, i) => ({ slot: tape.slots.get(tensor), alias: saved[i] }))
    .filter((entry): entry is { slot: GradientSlot; alias: Tensor } => entry.slot !== undefined);
  const node: Node = {
    outputs: [{}],
    parents: [...tape.variables.map((variable) => tape.slots.get(variable)!), ...traced.map(({ slot }) => slot)],
    backward: ([upstream]) => {
      // Where an argument is also a variable, its tensor stands for the variable inside, and its alias for the
      // argument.
      const inner = new Tape([...tape.variables, ...traced.map(({ alias }) => alias)]);
      try {
        const result = withTape(inner, () => body(...saved));
        // Only its slot is needed: its values are not read.
        if (inner.made(result)) result.dispose();
        return inner.backward(result, upstream!).map((gradient) => gradient ?? undefined);
      } finally {
        inner.release();
      }
    },
    release: () => saved.forEach((tensor) => tensor.dispose()),
  };
  tape.push(node, [output]);
  return output;
}
