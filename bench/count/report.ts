/** Runs the counts of `bench --count`, and shows them as a table and as JSON. */
import { table } from "../table.ts";
import type { Workload } from "../case.ts";
import { type Card, cards } from "../stub/cards.ts";
import { openStubDevice } from "../stub/gpu.ts";
import { countWorkloads, isCounted } from "./cases.ts";
import { Counter, type PassCount } from "./counter.ts";
import { type LoopCost, loopCost } from "./spirv.ts";

/** All that `bench --count` finds. */
export interface CountReport {
  readonly format: 1;
  /** The card of the model. */
  readonly card: Card;
  readonly passes: readonly PassCount[];
  /** By program of products, convolutions and attention: its loop. */
  readonly loops: Readonly<Record<string, LoopCost>>;
}

/** Programs whose loops are looked at. */
const product = /^(matmul|conv2d|conv2dWeightGradient|attention):(?!softmax|plain|join|seen)/;

/**
 * Counts the passes whose names contain `filter`. Loops of products are those of the programs that these passes use. Calls of
 * the passes are left out unless they are asked for: they are many.
 */
export async function countAll(
  filter: string,
  withCalls = false,
  workloads: readonly Workload[] = countWorkloads(),
  card: Card = cards.h200,
): Promise<CountReport> {
  const passes: PassCount[] = [];
  const loops: Record<string, LoopCost> = {};
  for (const workload of workloads) {
    if (!workload.names.some((name) => name.includes(filter) && isCounted(name))) continue;
    const { device, stub } = openStubDevice({ card });
    const counter = new Counter(device, stub); // before anything is written: it remembers masks
    const open = await workload.open(device);
    for (const { name, run } of open.cases) {
      if (!name.includes(filter) || !isCounted(name)) continue;
      const count = await counter.count(name, run);
      passes.push(withCalls ? count : { ...count, calls: [] });
    }
    open.close();
    for (const [name, wgsl] of stub.pipelines) {
      if (product.test(name)) loops[name] ??= loopCost(wgsl);
    }
  }
  return { format: 1, card, passes, loops: Object.fromEntries(Object.entries(loops).sort()) };
}

const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2);

/** The passes as a table, and the loops as another. */
export function countTables({ passes, loops }: CountReport): string {
  return table([
    [
      ...["pass", "dispatches", "submits", "GFLOP", "tile/real", "schedule", "whole", "model ms", "GB moved"],
      ...["buffers", "peak GiB", "record ms"],
    ],
    ...passes.map((count) => [
      count.name,
      `${count.dispatches}`,
      `${count.submits}`,
      (count.flop / 1e9).toFixed(count.flop < 1e10 ? 1 : 0),
      count.tileOverReal.toFixed(2),
      count.scheduleEfficiency.toFixed(2),
      count.wholeEfficiency.toFixed(2),
      count.modelMs.toFixed(count.modelMs < 10 ? 2 : 0),
      (count.trafficBytes / 1e9).toFixed(1),
      `${count.buffersMade}`,
      gib(count.peakBytes),
      count.recordMs.toFixed(0),
    ]),
  ]) + "\n" + table([
    ["loop of", "multiply-adds", "instructions each", "shared loads per 64", "of the instructions, limits of indices"],
    ...Object.entries(loops).map(([name, { multiplyAdds, instructions, sharedLoads, limits }]) => [
      name,
      `${multiplyAdds}`,
      (instructions / multiplyAdds).toFixed(2),
      (64 * sharedLoads / multiplyAdds).toFixed(1),
      `${(100 * limits / instructions).toFixed(0)} %`,
    ]),
  ]);
}

/** A pass and its most expensive calls by the model, for `--profile`. */
export function callTable({ name, calls }: PassCount, most = 12): string {
  return `${name}\n` + table([
    ["call", "times", "dispatches", "GFLOP", "model ms", "efficiency"],
    ...calls.slice(0, most).map(({ call, times, dispatches, flop, modelMs, efficiency }) => [
      call,
      `${times}`,
      `${dispatches}`,
      (flop / 1e9).toFixed(1),
      modelMs.toFixed(3),
      efficiency.toFixed(2),
    ]),
  ]);
}
