/**
 * Counts a pass on the stub device: what it dispatches and submits, its operations and traffic, the time that the model of
 * model.ts gives each kernel call, and memory.
 */
import type { Storage } from "../../core/tensor/kernels.ts";
import type { KernelName, Kernels } from "../../core/tensor/mod.ts";
import type { WebGpuDevice } from "../../core/wgsl/device.ts";
import type { Program } from "../../core/wgsl/program.ts";
import { kernelWork } from "../../core/tensor/work.ts";
import { kernelShape } from "../kernel_work.ts";
import type { StubGpu } from "../stub/gpu.ts";
import { idealSeconds, type Launch, launchSeconds } from "./model.ts";
import { groupSizes } from "./program_text.ts";
import { attentionTileOf, tileOf } from "./tiles.ts";

/** What a pass comes to in the steady state. FLOP are multiplications and additions, bytes those of operands and results. */
export interface PassCount {
  readonly name: string;
  readonly dispatches: number;
  readonly submits: number;
  /** Operations of products, convolutions and visible attention pairs. */
  readonly flop: number;
  /** Operations that the tiles of products and convolutions carry out over those that are wanted. */
  readonly tileOverReal: number;
  /** Ideal over modelled time of the calls that compute products (attention included), and of all calls. */
  readonly scheduleEfficiency: number;
  readonly wholeEfficiency: number;
  /** Modelled milliseconds on the card, without waiting for the host. */
  readonly modelMs: number;
  /** Bytes of operands and results of all kernel calls, each once. */
  readonly trafficBytes: number;
  /** Buffers and bind groups made. */
  readonly buffersMade: number;
  readonly bindGroupsMade: number;
  /** Peak of the device's memory, weights included. */
  readonly peakBytes: number;
  /** Milliseconds of this process to record the pass, on whatever runs it: no count. */
  readonly recordMs: number;
  /** Calls by kernel and shape, those with the longest modelled time first. */
  readonly calls: readonly CallCount[];
}

/** Calls of one kernel with the same sizes. */
export interface CallCount {
  readonly call: string;
  readonly times: number;
  readonly dispatches: number;
  readonly flop: number;
  readonly modelMs: number;
  readonly efficiency: number;
}

interface Entry {
  times: number;
  dispatches: number;
  flop: number;
  tiledFlop: number;
  tileFlop: number;
  bytes: number;
  ideal: number;
  model: number;
}

interface Recorded {
  readonly program: Program;
  readonly buffers: Readonly<Record<string, unknown>>;
  readonly params: Readonly<Record<string, number>>;
  readonly groups: readonly [number, number, number];
}

/** Watches a device on a stub. One per device. */
export class Counter {
  #recorded: Recorded[] = [];
  #entries = new Map<string, Entry>();
  /** Visible keys per query, by the storage of a mask. */
  readonly #masks = new WeakMap<Storage, Int32Array>();

  constructor(readonly device: WebGpuDevice, readonly stub: StubGpu) {
    const { write, run, dispatch } = device;
    device.write = (storage, data) => {
      write.call(device, storage, data);
      if (data instanceof Int32Array) this.#masks.set(storage, data.slice());
    };
    device.run = (kernel, args) => {
      this.#recorded = [];
      run.call(device, kernel, args as never);
      this.#add(kernel, args);
    };
    device.dispatch = (program, buffers, params, groups) => {
      dispatch.call(device, program, buffers, params, groups);
      this.#recorded.push({ program, buffers, params, groups });
    };
  }

  #add<K extends KernelName>(kernel: K, args: Kernels[K]): void {
    const mask = kernel === "attention" ? (args as Kernels["attention"]).visible : undefined;
    const visible = mask && this.#masks.get(mask);
    const work = kernelWork(kernel, args, visible?.reduce((a, b) => a + b, 0));
    let tiles = this.#recorded.map((recorded) => tileOf(recorded.program, recorded.params));
    const tileFlop = tiles.reduce((sum, tile) => sum + (tile?.flop ?? 0), 0);
    const isTiled = tileFlop > 0;
    if (kernel === "attention" && !isTiled) {
      tiles = this.#recorded.map(({ program }) => attentionTileOf(program, args as Kernels["attention"], visible));
    }
    const model = this.#recorded.reduce((sum, recorded, i) => {
      // A call of one dispatch moves what the call moves; of several, each moves all that is bound.
      const bytes = this.#recorded.length === 1 ? work.bytes : bytesMoved(recorded);
      const flop = tiles[i]?.flop ?? (tileFlop === 0 ? work.flops / this.#recorded.length : 0);
      const launch = this.#launch(recorded, tiles[i]?.rate, flop, bytes);
      const runs = tiles[i]?.runs ?? [{ groups: launch.groups, flop }];
      return runs.reduce((time, { groups, flop: tileFlop }) => {
        const share = runs.length === 1 ? 1 : tileFlop / flop;
        return time + launchSeconds(this.stub.card, { ...launch, groups, tileFlop, bytes: share * bytes });
      }, sum);
    }, 0);
    const key = `${kernel} ${kernelShape(kernel, args)}`;
    const entry = this.#entries.get(key) ??
      { times: 0, dispatches: 0, flop: 0, tiledFlop: 0, tileFlop: 0, bytes: 0, ideal: 0, model: 0 };
    entry.times++;
    entry.dispatches += this.#recorded.length;
    entry.flop += work.flops;
    if (isTiled) {
      entry.tiledFlop += work.flops;
      entry.tileFlop += tileFlop;
    }
    entry.bytes += work.bytes;
    entry.ideal += idealSeconds(this.stub.card, work.flops, work.bytes);
    entry.model += model;
    this.#entries.set(key, entry);
  }

  #launch({ program, buffers, groups }: Recorded, rate: number | undefined, tileFlop: number, bytes: number): Launch {
    const text = this.stub.pipelines.get(`${program.kernel}:${program.variant}`);
    if (text === undefined) throw new Error(`count: no pipeline ${program.kernel}:${program.variant}`);
    const { threads, sharedBytes, registers, loadBytes } = groupSizes(text);
    return {
      ...{ groups: groups[0] * groups[1] * groups[2], threads, sharedBytes, registers, tileFlop, bytes },
      rate: rate ?? 1,
      loadBytes: meanLoad(buffers, loadBytes),
    };
  }

  /** Runs the pass twice to warm up, and once to count. */
  async count(name: string, run: () => void): Promise<PassCount> {
    const { device, stub } = this;
    for (let i = 0; i < 2; i++) {
      run();
      await device.sync();
    }
    this.#entries = new Map();
    stub.reset();
    device.resetPeak();
    const start = performance.now();
    run();
    await device.sync();
    const recordMs = performance.now() - start;
    const entries = [...this.#entries].sort(([, a], [, b]) => b.model - a.model);
    const total = (pick: (entry: Entry) => number, of = entries) => of.reduce((sum, [, e]) => sum + pick(e), 0);
    const products = entries.filter(([, { flop }]) => flop > 0);
    const { dispatches, submits, made, bindGroups } = stub.counts;
    const tiled = total((e) => e.tiledFlop);
    return {
      ...{ name, dispatches, submits, flop: total((e) => e.flop) },
      tileOverReal: tiled === 0 ? 1 : total((e) => e.tileFlop) / tiled,
      scheduleEfficiency: products.length === 0 ? 1 : total((e) => e.ideal, products) / total((e) => e.model, products),
      wholeEfficiency: total((e) => e.ideal) / total((e) => e.model),
      modelMs: 1000 * total((e) => e.model),
      trafficBytes: total((e) => e.bytes),
      ...{ buffersMade: made, bindGroupsMade: bindGroups, peakBytes: device.memory().peakBytes, recordMs },
      calls: entries.map(([call, { times, dispatches, flop, model, ideal }]) => ({
        ...{ call, times, dispatches, flop, modelMs: 1000 * model, efficiency: ideal / model },
      })),
    };
  }
}

/** Bytes of what is bound under a name: nothing for stand-ins of absent operands, of a table of gates as much as of results. */
function bytesOf(buffers: Recorded["buffers"], name: string): number {
  const size = (of: string) => (buffers[of] as { bytes: number } | undefined)?.bytes ?? 0;
  const bytes = name === "gate" ? Math.min(size(name), size("out")) : size(name);
  return bytes > 256 ? bytes : 0;
}

/** Bytes that a thread loads at once, by which time follows from bytes: large buffers count more. */
function meanLoad(buffers: Recorded["buffers"], loadBytes: Readonly<Record<string, number>>): number {
  let bytes = 0, rounds = 0;
  for (const [name, load] of Object.entries(loadBytes)) {
    bytes += bytesOf(buffers, name);
    rounds += bytesOf(buffers, name) / load;
  }
  return rounds === 0 ? 8 : bytes / rounds;
}

/**
 * Bytes of one dispatch of several: of what it has bound, stand-ins for absent operands left out, and of a table of gates as
 * much as of results. Sums over parts touch the blocks that are in parts, and no others.
 */
function bytesMoved({ program, buffers, params }: Recorded): number {
  if (program.variant.startsWith("join,") && params.whole !== undefined) {
    const { count, parts, gateOn = 0, residualOn = 0 } = params;
    return 16 * count * (parts + 1 + gateOn + residualOn);
  }
  return Object.keys(buffers).reduce((sum, name) => sum + bytesOf(buffers, name), 0);
}
