/**
 * What the inner loop of a program costs per multiply-add, counted in the SPIR-V that naga makes of its WGSL. It is the compiler
 * of Deno's runtime; `npm:naga-wasm` has a build of it.
 *
 * The runtime also limits every index into workgroup memory and private arrays, which this build cannot be told to do: those
 * limits are added, one instruction for every index that is no constant.
 */
import { translate } from "npm:naga-wasm@30.1.0";

/** Of the loop over k (keys, of attention), once around. */
export interface LoopCost {
  readonly multiplyAdds: number;
  /**
   * Instructions per thread as a card has them: one for each number of a vector, one for a multiplication and the addition of its
   * result, none for moves between registers. Limits of indices included.
   */
  readonly instructions: number;
  /** Loads from workgroup memory; that of a vec4 is one. */
  readonly sharedLoads: number;
  /** Of the instructions, those that the runtime adds to limit indices. */
  readonly limits: number;
}

const op = {
  ...{ extInst: 12, typeVector: 23, typePointer: 32, constant: 43, functionStart: 54, functionEnd: 56, call: 57 },
  ...{ variable: 59, load: 61, store: 62, accessChain: 65, iAdd: 128, fAdd: 129, fMul: 133, vectorTimesScalar: 142 },
  ...{ dot: 148, uLessThan: 176, loopMerge: 246, label: 248 },
} as const;
/** GLSL.std.450's Fma. */
const fma = 50;
const storage = { workgroup: 4, private: 6, function: 7 } as const;
/**
 * What no card carries out: declarations, labels, phis, merges, undefined values, parameters of functions, and the packing of
 * vectors and its reverse (77 to 84).
 */
const free = new Set<number>([1, 54, 55, 56, 59, 77, 78, 79, 80, 81, 82, 83, 84, 245, 246, 247, 248]);

interface Instruction {
  readonly code: number;
  readonly words: Uint32Array;
}

function* instructionsOf(words: Uint32Array): Generator<Instruction> {
  for (let at = 5; at < words.length;) {
    const length = words[at] >>> 16;
    yield { code: words[at] & 0xffff, words: words.subarray(at, at + length) };
    at += length;
  }
}

/** Types, constants and pointers of a module, by id. */
interface Facts {
  readonly lanes: Map<number, number>;
  readonly storageOfType: Map<number, number>;
  readonly constants: Map<number, number>;
  /** The type of a result. */
  readonly typeOf: Map<number, number>;
  /** Pointers into arrays by indices that are no constants. */
  readonly indexed: Set<number>;
  /** Results of multiplications, which the addition of them is one with. */
  readonly products: Set<number>;
}

interface Loop {
  readonly merge: number;
  readonly next: number;
  /** Costs inside, once around, inner loops by how often they run. */
  cost: Cost;
  /** Bound and step of its counter, where they are constants. */
  bound?: number;
  step?: number;
  inNext: boolean;
}

type Cost = { -readonly [K in keyof LoopCost]: number };
const nothing = (): Cost => ({ multiplyAdds: 0, instructions: 0, sharedLoads: 0, limits: 0 });

function add(to: Cost, from: Cost, times = 1): void {
  for (const key of Object.keys(to) as (keyof Cost)[]) to[key] += times * from[key];
}

/** What one instruction costs. */
function costOf({ code, words }: Instruction, facts: Facts, functions: ReadonlyMap<number, Cost>): Cost {
  const cost = nothing();
  if (free.has(code)) return cost;
  const lanes = facts.lanes.get(words[1]) ?? 1;
  const kindOf = (pointer: number) => facts.storageOfType.get(facts.typeOf.get(pointer)!);
  switch (code) {
    case op.load:
    case op.store: {
      const pointer = code === op.load ? words[3] : words[1];
      if (kindOf(pointer) === storage.workgroup) {
        cost.instructions = 1;
        if (code === op.load) cost.sharedLoads = 1;
      } else if (kindOf(pointer) !== storage.function || facts.indexed.has(pointer)) cost.instructions = 1;
      return cost;
    }
    case op.accessChain: {
      const kind = facts.storageOfType.get(words[1]);
      const dynamic = [...words.subarray(4)].filter((index) => !facts.constants.has(index)).length;
      // Addresses are arithmetic that a card's loads mostly do themselves.
      if (kind === storage.workgroup || kind === storage.private || kind === storage.function) {
        cost.limits = cost.instructions = dynamic;
      }
      return cost;
    }
    case op.call:
      add(cost, functions.get(words[3]) ?? nothing());
      return cost;
    case op.fAdd:
      cost.instructions = words.subarray(3).some((operand) => facts.products.has(operand)) ? 0 : lanes;
      return cost;
    case op.fMul:
    case op.vectorTimesScalar:
      cost.multiplyAdds = cost.instructions = lanes;
      return cost;
    case op.dot:
      cost.multiplyAdds = cost.instructions = facts.lanes.get(facts.typeOf.get(words[3])!) ?? 1;
      return cost;
    case op.extInst:
      if (words[4] === fma) cost.multiplyAdds = lanes;
      cost.instructions = lanes;
      return cost;
    default:
      cost.instructions = lanes;
      return cost;
  }
}

function readFacts(words: Uint32Array): Facts {
  const facts: Facts = {
    ...{ lanes: new Map(), storageOfType: new Map(), constants: new Map(), typeOf: new Map() },
    ...{ indexed: new Set(), products: new Set() },
  };
  for (const { code, words: w } of instructionsOf(words)) {
    if (code === op.typeVector) facts.lanes.set(w[1], w[3]);
    else if (code === op.typePointer) facts.storageOfType.set(w[1], w[2]);
    else if (code === op.constant) facts.constants.set(w[2], w[3]);
    if (code === op.accessChain && [...w.subarray(4)].some((i) => !facts.constants.has(i))) facts.indexed.add(w[2]);
    if (code === op.fMul || code === op.vectorTimesScalar || code === op.dot) facts.products.add(w[2]);
    if (code !== op.typeVector && code !== op.typePointer && w.length > 2) facts.typeOf.set(w[2], w[1]);
  }
  return facts;
}

/** The costs of every function, and of every loop whose number of rounds is no constant. */
function analyse(words: Uint32Array): Cost[] {
  const facts = readFacts(words);
  const functions = new Map<number, Cost>();
  const open: Loop[] = [];
  const loops: Cost[] = [];
  let current = 0, total = nothing();
  const leave = (loop: Loop) => {
    const { bound, step } = loop;
    const rounds = bound !== undefined && step !== undefined ? Math.ceil(bound / step) : 1;
    if (bound === undefined) loops.push(loop.cost);
    add(open.at(-1)?.cost ?? total, loop.cost, rounds);
  };
  for (const instruction of instructionsOf(words)) {
    const { code, words: w } = instruction;
    if (code === op.functionStart) {
      current = w[2];
      total = nothing();
    }
    if (code === op.functionEnd) functions.set(current, total);
    if (code === op.label) {
      while (open.at(-1)?.merge === w[1]) leave(open.pop()!);
      const loop = open.at(-1);
      if (loop?.next === w[1]) loop.inNext = true;
    }
    if (code === op.loopMerge) open.push({ merge: w[1], next: w[2], cost: nothing(), inNext: false });
    const loop = open.at(-1);
    if (loop && code === op.uLessThan && loop.bound === undefined) loop.bound = facts.constants.get(w[4]);
    if (loop?.inNext && code === op.iAdd) loop.step ??= facts.constants.get(w[4]) ?? facts.constants.get(w[3]);
    if (current !== 0) add(loop?.cost ?? total, costOf(instruction, facts, functions));
  }
  return loops;
}

/** Compiles WGSL, and returns the costs of the loop with the most multiply-adds per round. Throws when there is none. */
export function loopCost(wgsl: string): LoopCost {
  const loops = analyse(translate({ from: "wgsl", source: wgsl, to: "spirv", options: { flags: {} } }));
  const [most] = loops.sort((a, b) => b.multiplyAdds - a.multiplyAdds);
  if (most === undefined || most.multiplyAdds === 0) throw new Error("count: the program has no loop of multiply-adds");
  return most;
}
