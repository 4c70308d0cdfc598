/**
 * Runs WebAssembly kernels on the calling thread and on Workers over one shared memory. kernels/ chooses the kernel,
 * its units and its arguments.
 *
 * A job is split into tasks. All threads take tasks from an atomic counter, the calling thread included; it then waits
 * for tasks of other threads. A Worker that is still starting takes no task, so it delays nothing. Idle Workers close
 * themselves after a second, so that a program that forgets `close` still ends; the next large job starts them again.
 * Tasks do not depend on the thread that runs them, so results do not depend on timing.
 */
import type { Heap } from "./heap.ts";
import { plainKernels, relaxedKernels, wideKernels } from "./kernels.generated.ts";

/** A kernel does units begin..end-1 of the job at `args`, with private memory at `scratch`. */
type WasmKernel = (args: number, begin: number, end: number, scratch: number) => void;

/** Bytes at address 0 that are reserved for the pool. */
export const POOL_BYTES = 4096;

/** Indices of 32-bit words. Each of the two counters has a cache line to itself. */
const TICKET = 0; // tasks of the current job that no thread has taken
const PENDING = 16; // tasks that are not finished
const JOB = 32; // kernel number, tasks, units, units per task, scratch address, scratch bytes per thread
const FAILED = 40; // tasks that trapped
const STOP = 41; // 1 tells workers to close
const ASLEEP = 42; // workers that have to be woken
const STATE = 48; // per worker: one of the states below
const ARGS = 2048; // address of the job's arguments
export const MAX_THREADS = 256;

const ABSENT = 0;
const STARTING = 1;
const READY = 2;

/** How often a worker checks for the next job before it sleeps, and how long it sleeps before it closes. */
const SPINS = 3000;
const IDLE_MS = 1000;

/**
 * The body of a Worker. It is passed as source text, so that starting one needs no permission to read a file. So it may
 * refer to its parameters and globals only.
 */
function workerMain(
  scope: { onmessage: unknown; close(): void },
  words: Readonly<Record<"TICKET" | "PENDING" | "JOB" | "FAILED" | "STOP" | "ASLEEP" | "STATE" | "ARGS", number>>,
  limits: { SPINS: number; IDLE_MS: number; READY: number; ABSENT: number },
) {
  scope.onmessage = (event: MessageEvent) => {
    const { module, memory, thread } = event.data as {
      module: WebAssembly.Module;
      memory: WebAssembly.Memory;
      thread: number;
    };
    const control = new Int32Array(memory.buffer, 0, 1024);
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const kernels = Object.values(exports).filter((item) => typeof item === "function") as WasmKernel[];
    const { TICKET, PENDING, JOB, FAILED, STOP, ASLEEP, STATE, ARGS } = words;
    Atomics.store(control, STATE + thread, limits.READY);
    for (;;) {
      let left = Atomics.load(control, TICKET);
      for (let spin = 0; left <= 0 && spin < limits.SPINS; spin++) left = Atomics.load(control, TICKET);
      if (left <= 0) {
        if (Atomics.load(control, STOP) !== 0) break;
        Atomics.add(control, ASLEEP, 1); // before the wait looks at TICKET: whoever sets it afterwards wakes this worker
        const woken = Atomics.wait(control, TICKET, 0, limits.IDLE_MS);
        Atomics.sub(control, ASLEEP, 1);
        if (woken === "timed-out") break;
        continue;
      }
      // The job may have been replaced since `left` was read. If the exchange succeeds, the job read below is the
      // task's, because a job is not replaced before all its tasks are finished.
      if (Atomics.compareExchange(control, TICKET, left, left - 1) !== left) continue;
      const kernel = control[JOB];
      const begin = (control[JOB + 1] - left) * control[JOB + 3];
      const end = Math.min(begin + control[JOB + 3], control[JOB + 2]);
      const scratch = (control[JOB + 4] >>> 0) + thread * control[JOB + 5];
      try {
        kernels[kernel](ARGS, begin, end, scratch);
      } catch {
        Atomics.add(control, FAILED, 1);
      }
      if (Atomics.sub(control, PENDING, 1) === 1) Atomics.notify(control, PENDING);
    }
    Atomics.store(control, STATE + thread, limits.ABSENT);
    scope.close();
  };
}

/**
 * Builds of the kernels (tasks/build_wasm.ts). `relaxed` and `wide` give the same bits; `plain` rounds products before
 * adding. `wide` multiplies by pairs of panels.
 */
export type KernelBuild = "plain" | "relaxed" | "wide";

const binaries: Readonly<Record<KernelBuild, string>> = {
  plain: plainKernels,
  relaxed: relaxedKernels,
  wide: wideKernels,
};

const modules = new Map<KernelBuild, WebAssembly.Module>();

function moduleFor(build: KernelBuild): WebAssembly.Module {
  let module = modules.get(build);
  if (module === undefined) {
    const text = atob(binaries[build]);
    const binary = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) binary[i] = text.charCodeAt(i);
    module = new WebAssembly.Module(binary);
    modules.set(build, module);
  }
  return module;
}

let workerUrl: string | undefined;

function startWorker(): Worker {
  workerUrl ??= URL.createObjectURL(
    new Blob([
      `(${workerMain})(self, ${JSON.stringify({ TICKET, PENDING, JOB, FAILED, STOP, ASLEEP, STATE, ARGS })}, ${
        JSON.stringify({ SPINS, IDLE_MS, READY, ABSENT })
      });`,
    ], { type: "text/javascript" }),
  );
  return new Worker(workerUrl, { type: "module" });
}

/** Whether this thread may sleep until another wakes it. The main thread of a page may not: it has to go on checking. */
function maySleep(control: Int32Array): boolean {
  try {
    return Atomics.wait(control, PENDING, Atomics.load(control, PENDING) + 1, 0) === "not-equal";
  } catch {
    return false;
  }
}

/** One run of a kernel. */
export interface Job {
  /** Number of units. */
  readonly units: number;
  /** Estimated time of one unit in nanoseconds, by which the job is split. */
  readonly unitCost: number;
  /** Integer arguments (at most 64), addresses included. */
  readonly ints: readonly number[];
  readonly floats?: readonly number[];
  /** Bytes of private memory per thread. */
  readonly scratch?: number;
}

/** A job shorter than this runs on the calling thread, in nanoseconds. */
const SERIAL_NS = 15_000;
/** The same where all workers are asleep, which takes longer than most jobs to end. */
const WAKE_NS = 60_000;
/** A job shorter than this starts no workers. */
const START_NS = 200_000;
/** No task shorter than this. */
const TASK_NS = 8_000;

export class Pool {
  readonly #control: Int32Array;
  readonly #floats: Float32Array;
  readonly #module: WebAssembly.Module;
  readonly #numbers = new Map<string, number>();
  readonly #kernels: WasmKernel[];
  readonly #workers: (Worker | undefined)[];
  readonly #maySleep: boolean;

  constructor(readonly heap: Heap, readonly threads: number, readonly build: KernelBuild) {
    this.#control = new Int32Array(heap.memory.buffer, 0, POOL_BYTES / 4);
    this.#floats = new Float32Array(heap.memory.buffer, ARGS + 256, 16);
    this.#module = moduleFor(build);
    const { exports } = new WebAssembly.Instance(this.#module, { env: { memory: heap.memory } });
    const kernels = Object.entries(exports).filter(([, item]) => typeof item === "function");
    kernels.forEach(([name], i) => this.#numbers.set(name, i));
    this.#kernels = kernels.map(([, kernel]) => kernel as WasmKernel);
    this.#workers = new Array(threads - 1).fill(undefined);
    this.#maySleep = maySleep(this.#control);
  }

  /** Workers that have started and not closed; for tests and reports. */
  get ready(): number {
    return this.#workers.filter((_, i) => Atomics.load(this.#control, STATE + i + 1) === READY).length;
  }

  /** Does all units of a job. Throws when a kernel trapped. */
  run(name: string, job: Job): void {
    const { units, unitCost, ints, floats, scratch = 0 } = job;
    if (units <= 0) return;
    const number = this.#numbers.get(name);
    if (number === undefined) throw new Error(`no WebAssembly kernel is called ${name}`);
    const control = this.#control;
    for (let i = 0; i < ints.length; i++) control[ARGS / 4 + i] = ints[i];
    if (floats) this.#floats.set(floats);

    const total = units * unitCost;
    const grain = Math.max(1, Math.ceil(Math.max(total / (this.threads * 12), TASK_NS) / unitCost));
    const asleep = Atomics.load(control, ASLEEP);
    const isShort = total < (asleep < this.threads - 1 ? SERIAL_NS : WAKE_NS);
    const tasks = this.threads === 1 || isShort ? 1 : Math.ceil(units / grain);
    const stride = Math.ceil(scratch / 64) * 64;
    const base = stride > 0 ? this.heap.alloc(stride * (tasks > 1 ? this.threads : 1)) : 0;
    try {
      if (tasks === 1) {
        this.#kernels[number](ARGS, 0, units, base);
        return;
      }
      if (total >= START_NS) this.#start();
      control.set([number, tasks, units, grain, base, stride], JOB);
      Atomics.store(control, FAILED, 0);
      Atomics.store(control, PENDING, tasks);
      Atomics.store(control, TICKET, tasks);
      if (Atomics.load(control, ASLEEP) > 0) Atomics.notify(control, TICKET);
      this.#help(this.#kernels[number], tasks, units, grain, base);
      if (Atomics.load(control, FAILED) > 0) throw new Error(`${name}: the kernel trapped on a worker`);
    } finally {
      if (stride > 0) this.heap.free(base);
    }
  }

  close(): void {
    Atomics.store(this.#control, STOP, 1);
    Atomics.notify(this.#control, TICKET);
    for (const worker of this.#workers) worker?.terminate();
    this.#workers.fill(undefined);
  }

  /** Takes tasks until none is left, then waits for those of other threads. */
  #help(kernel: WasmKernel, tasks: number, units: number, grain: number, scratch: number): void {
    const control = this.#control;
    let failure: unknown;
    for (;;) {
      const left = Atomics.load(control, TICKET);
      if (left <= 0) break;
      if (Atomics.compareExchange(control, TICKET, left, left - 1) !== left) continue;
      const begin = (tasks - left) * grain;
      try {
        kernel(ARGS, begin, Math.min(begin + grain, units), scratch);
      } catch (error) {
        failure = error;
      }
      Atomics.sub(control, PENDING, 1);
    }
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(control, PENDING) === 0) break;
    }
    for (;;) {
      const pending = Atomics.load(control, PENDING);
      if (pending === 0) break;
      if (this.#maySleep) Atomics.wait(control, PENDING, pending, 100);
    }
    if (failure !== undefined) throw failure;
  }

  /** Starts absent workers, a few at a time so that no job waits long. */
  #start(): void {
    let budget = 4;
    for (let i = 0; i < this.#workers.length && budget > 0; i++) {
      if (Atomics.load(this.#control, STATE + i + 1) !== ABSENT) continue;
      Atomics.store(this.#control, STATE + i + 1, STARTING);
      const worker = startWorker();
      worker.postMessage({ module: this.#module, memory: this.heap.memory, thread: i + 1 });
      this.#workers[i] = worker;
      budget--;
    }
  }
}
