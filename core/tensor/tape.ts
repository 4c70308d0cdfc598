/**
 * Reverse-mode automatic differentiation: while a tape is open, ops that depend on its variables are recorded, and walking
 * the record backwards gives the gradients of one scalar. Tensors know nothing of it: without a tape nothing is recorded,
 * and what does not depend on a variable (frozen weights, inputs) costs nothing on the way back.
 */
import type { Inputs, Op } from "./op.ts";
import { keep, scope } from "./scope.ts";
import { formatShape, sizeOf } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Where a gradient belongs: a variable, or one output of a recorded op. Compared by identity. */
type Place = Record<never, never>;

/** One recorded op. It holds aliases of what its gradient reads, so that scopes may free the tensors themselves. */
interface Node {
  readonly outputs: readonly Place[];
  /** Where the gradients that `backward` returns belong. */
  readonly parents: readonly Place[];
  backward(upstream: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[];
  release(): void;
}

class Tape {
  readonly variables: readonly Tensor[];
  readonly places = new WeakMap<Tensor, Place>();
  /** How to compute a recorded tensor again, where that is what its op wants. */
  readonly recipes = new WeakMap<Tensor, () => Tensor>();
  readonly #nodes: Node[] = [];
  /** For a tape that only watches: tensors of this outer tape may be used when they are among the allowed ones. */
  readonly #watched: { outer: Tape; allowed: ReadonlySet<Tensor> } | null;

  constructor(variables: readonly Tensor[], watched: { outer: Tape; allowed: ReadonlySet<Tensor> } | null = null) {
    this.variables = variables;
    this.#watched = watched;
    for (const variable of variables) this.places.set(variable, {});
  }

  get watching(): boolean {
    return this.#watched !== null;
  }

  /** Throws when a recomputed function reads what it was not given: its gradient would be lost silently. */
  check(op: string, inputs: Inputs): void {
    if (!this.#watched) return;
    const { outer, allowed } = this.#watched;
    for (const [name, tensor] of Object.entries(inputs)) {
      if (tensor && outer.places.has(tensor) && !allowed.has(tensor)) {
        throw new Error(`checkpoint: ${op} reads ${name}, which depends on a variable but is not an argument`);
      }
    }
  }

  push(node: Node, outputs: readonly Tensor[]): void {
    this.#nodes.push(node);
    outputs.forEach((output, i) => this.places.set(output, node.outputs[i]));
  }

  /** Whether an op recorded here made this tensor. */
  made(tensor: Tensor): boolean {
    return this.places.has(tensor) && !this.variables.includes(tensor);
  }

  /** Gradients of the variables, given that of `result`; null where it does not depend on one. Uses the tape up. */
  backward(result: Tensor, seed: Tensor): (Tensor | null)[] {
    const gradients = new Map<Place, Tensor>();
    const accumulate = (place: Place, gradient: Tensor) => {
      const before = gradients.get(place);
      if (before === undefined) {
        gradients.set(place, gradient);
        return;
      }
      gradients.set(place, keep(addition(before, gradient)));
      before.dispose();
      gradient.dispose();
    };
    const start = this.places.get(result);
    if (start) accumulate(start, keep(seed.reshape(...result.shape)));
    for (let node = this.#nodes.pop(); node; node = this.#nodes.pop()) {
      const upstream = node.outputs.map((place) => gradients.get(place));
      if (upstream.some((gradient) => gradient !== undefined)) {
        const current = node;
        const results = scope(() => keep(current.backward(upstream)));
        results.forEach((gradient, i) => gradient && accumulate(current.parents[i], gradient));
      }
      for (const place of node.outputs) {
        gradients.get(place)?.dispose();
        gradients.delete(place);
      }
      node.release();
    }
    return this.variables.map((variable) => gradients.get(this.places.get(variable)!) ?? null);
  }

  release(): void {
    for (const node of this.#nodes) node.release();
    this.#nodes.length = 0;
  }
}

let current: Tape | null = null;
let addition: (a: Tensor, b: Tensor) => Tensor;
let ones: (like: Tensor) => Tensor;

/** Gives the tape the two functions it computes with; they are made of what imports this file, so it cannot import them. */
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

/** Runs `body` without recording: what it returns is a constant to the tape. */
export function withoutTape<T>(body: () => T): T {
  return withTape(null, body);
}

/** An alias that outlives scopes. */
function aliasOf(tensor: Tensor): Tensor {
  return withoutTape(() => keep(tensor.alias()));
}

/**
 * Records an op when one of its inputs depends on a variable. `again` computes its first output from the same inputs.
 * Called by `applyAll`.
 */
export function record<I extends Inputs, P>(
  op: Op<I, P>,
  inputs: I,
  outputs: readonly Tensor[],
  params: P,
  again: (inputs: I) => Tensor,
): void {
  const tape = current;
  if (tape === null) return;
  tape.check(op.name, inputs);
  const names = Object.keys(inputs).filter((name) => inputs[name] && tape.places.has(inputs[name]!));
  // Integers carry no gradient: what was chosen by argmax or rounding is a constant.
  if (names.length === 0 || outputs.every((output) => output.dtype !== "f32")) return;
  const { gradient } = op;
  if (typeof gradient === "string") throw new Error(`${op.name}: has no gradient (${gradient})`);
  const needs = Object.fromEntries(Object.keys(inputs).map((name) => [name, names.includes(name)])) as {
    readonly [K in keyof I]: boolean;
  };
  const saves = typeof op.saves === "function" ? op.saves(needs, params) : op.saves;
  const recipes: [name: string, make: () => Tensor][] = [];
  const save = (name: string, tensor: Tensor) => {
    const alias = aliasOf(tensor);
    const read = !saves || saves.includes(name);
    const recipe = tape.recipes.get(tensor);
    if (read && recipe) recipes.push([name, recipe]);
    // A disposed tensor still knows its shape, which is all that some gradients need.
    if (!read || recipe) alias.dispose();
    return alias;
  };
  const savedInputs = Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => [name, tensor && save(name, tensor)]),
  );
  const savedOutputs = outputs.map((output) => save("out", output));
  const whole = () =>
    ({ ...savedInputs, ...Object.fromEntries(recipes.map(([name, make]) => [name, make()])) }) as unknown as I;
  const node: Node = {
    outputs: outputs.map(() => ({})),
    parents: names.map((name) => tape.places.get(inputs[name]!)!),
    backward: (upstream) => {
      const result: { readonly [name: string]: Tensor | undefined } = gradient({
        // What is computed again is freed with the scope that `backward` runs in.
        inputs: whole(),
        outputs: savedOutputs,
        params,
        upstream: upstream as readonly Tensor[],
        needs,
      });
      return names.map((name) => {
        const value = result[name], wanted = savedInputs[name]!.shape;
        if (value && value.size !== sizeOf(wanted)) {
          throw new Error(
            `${op.name}: gradient of ${name} has shape ${formatShape(value.shape)}, not ${formatShape(wanted)}`,
          );
        }
        // Reshaped to a tensor of its own, also where a gradient is the upstream itself.
        return value?.reshape(...wanted);
      });
    },
    release: () => {
      for (const tensor of Object.values(savedInputs)) tensor?.dispose();
      for (const tensor of savedOutputs) tensor.dispose();
    },
  };
  tape.push(node, outputs);
  if (op.recomputed) tape.recipes.set(outputs[0], () => withoutTape(() => again(whole())));
}

/** Records that `result` has the elements of `source` in the same order. Called by `reshape`. */
export function recordReshape(source: Tensor, result: Tensor): void {
  const tape = current;
  if (tape === null) return;
  tape.check("reshape", { x: source });
  const parent = tape.places.get(source);
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

/** The result of `body`, and the gradients of its `loss` with respect to the variables. */
export interface Differentiated<T> {
  readonly result: T;
  /** In the order of the variables; null where the loss does not depend on one. */
  readonly gradients: readonly (Tensor | null)[];
}

/**
 * Runs `body`, which returns a scalar `loss` (and whatever else is of interest), and differentiates the loss with respect
 * to `variables` (dense f32 tensors). Everything recorded is freed; dispose the result and the gradients.
 * Throws when the loss is no scalar, when an op on the way has no gradient, and when called while recording.
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
      if (loss.size !== 1) throw new Error(`differentiate: loss expects one element, got ${formatShape(loss.shape)}`);
      const seed = ones(loss);
      return { result, gradients: tape.backward(loss, seed) };
    });
  } finally {
    tape.release();
  }
}

/**
 * Runs `body` on its arguments without keeping what it computes inside; when gradients are wanted, it is run again on the
 * way back. Memory falls to the arguments and the result, at the price of a second forward pass. `body` may read the
 * tape's variables, but no other tensor that depends on them unless it is an argument.
 */
export function checkpoint(body: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor {
  const tape = current;
  if (tape === null || tape.watching) return scope(() => body(...inputs));
  const allowed = new Set<Tensor>([...inputs, ...tape.variables]);
  const output = withTape(new Tape([], { outer: tape, allowed }), () => scope(() => body(...inputs)));
  tape.check("checkpoint", Object.fromEntries(inputs.map((tensor, i) => [`argument ${i}`, tensor])));
  const saved = inputs.map((tensor) => aliasOf(tensor));
  const traced = inputs.map((tensor, i) => ({ place: tape.places.get(tensor), alias: saved[i] }))
    .filter((entry): entry is { place: Place; alias: Tensor } => entry.place !== undefined);
  const node: Node = {
    outputs: [{}],
    parents: [...tape.variables.map((variable) => tape.places.get(variable)!), ...traced.map(({ place }) => place)],
    backward: ([upstream]) => {
      // An argument may itself be a variable; its own tensor stands for it inside, its alias for the argument.
      const inner = new Tape([...tape.variables, ...traced.map(({ alias }) => alias)]);
      try {
        const again = withTape(inner, () => body(...saved));
        // Its place is all that is needed; where its values are, the op that made it has kept them.
        if (inner.made(again)) again.dispose();
        return inner.backward(again, upstream!).map((gradient) => gradient ?? undefined);
      } finally {
        inner.release();
      }
    },
    release: () => saved.forEach((tensor) => tensor.dispose()),
  };
  tape.push(node, [output]);
  return output;
}
