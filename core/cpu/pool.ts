/**
 * Runs WebAssembly kernels on the calling thread and on Workers over one shared memory. kernels/ chooses the kernel,
 * its units and its arguments.
 *
 * A job is put into a queue (queue.ts), from which Workers take it, while the calling thread goes on to the next one:
 * kernels of small networks take no longer than what comes between them. The calling thread helps when it must wait: for
 * results, for the queue to have room, and before it writes. Where no Worker is running, jobs run at once, on the calling
 * thread. Idle Workers close themselves after a second, so that a program that forgets `close` still ends; the next large
 * job starts them again.
 */
import type { Heap } from "./heap.ts";
import { plainKernels, relaxedKernels, wideKernels } from "./kernels.generated.ts";
import { QUEUE_BYTES, type Tasks, tasksOf, type WasmKernel, words } from "./queue.ts";

/** Bytes at address 0 that are reserved for the pool. */
export const POOL_BYTES = QUEUE_BYTES;
export const MAX_THREADS = 256;

const { TICKET, CURRENT, IDLE, HEAD, EVENT, ASLEEP, FAILED, STOP, READY, STATE, RING, SLOTS, SLOT_WORDS, HEADER } =
  words;

const ABSENT = 0;
const STARTING = 1;
const RUNNING = 2;

/** How often a thread checks for tasks before it sleeps, and how long a worker sleeps before it closes. */
const SPINS = 8000;
const IDLE_MS = 1000;

/**
 * The body of a Worker. It is passed as source text, so that starting one needs no permission to read a file. So it may
 * refer to its parameters and globals only.
 */
function workerMain(
  scope: { onmessage: unknown; close(): void },
  tasksOf: (control: Int32Array, kernels: WasmKernel[], thread: number, at: typeof words) => Pick<Tasks, "step">,
  at: typeof words,
  limits: { SPINS: number; IDLE_MS: number; RUNNING: number; ABSENT: number },
) {
  scope.onmessage = (event: MessageEvent) => {
    const { module, memory, thread } = event.data as {
      module: WebAssembly.Module;
      memory: WebAssembly.Memory;
      thread: number;
    };
    const control = new Int32Array(memory.buffer, 0, at.RING + at.SLOTS * at.SLOT_WORDS);
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const kernels = Object.values(exports).filter((item) => typeof item === "function") as WasmKernel[];
    const tasks = tasksOf(control, kernels, thread, at);
    const { TICKET, EVENT, ASLEEP, STOP, READY, STATE } = at;
    const isCalled = () => Atomics.load(control, TICKET) > 0 || Atomics.load(control, STOP) !== 0;
    Atomics.store(control, STATE + thread, limits.RUNNING);
    Atomics.add(control, READY, 1);
    for (;;) {
      while (tasks.step());
      for (let spin = 0; spin < limits.SPINS && Atomics.load(control, TICKET) <= 0; spin++);
      if (Atomics.load(control, STOP) !== 0) break;
      if (isCalled()) continue;
      Atomics.add(control, ASLEEP, 1); // before EVENT is read: whoever changes it afterwards wakes this worker
      const seen = Atomics.load(control, EVENT);
      const woken = isCalled() ? "not-equal" : Atomics.wait(control, EVENT, seen, limits.IDLE_MS);
      Atomics.sub(control, ASLEEP, 1);
      if (woken === "timed-out") break;
    }
    Atomics.sub(control, READY, 1);
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
      `(${workerMain})(self, ${tasksOf}, ${JSON.stringify(words)}, ${
        JSON.stringify({ SPINS, IDLE_MS, RUNNING, ABSENT })
      });`,
    ], { type: "text/javascript" }),
  );
  return new Worker(workerUrl, { type: "module" });
}

/** Whether this thread may sleep until another wakes it. The main thread of a page may not: it has to go on checking. */
function maySleep(control: Int32Array): boolean {
  try {
    return Atomics.wait(control, EVENT, Atomics.load(control, EVENT) + 1, 0) === "not-equal";
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

/** A job shorter than this is one task, in nanoseconds. */
const SERIAL_NS = 15_000;
/** One that finds all workers asleep and is shorter than this runs on the calling thread: waking takes longer. */
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
  readonly #tasks: Tasks;
  readonly #workers: (Worker | undefined)[];
  readonly #maySleep: boolean;

  constructor(readonly heap: Heap, readonly threads: number, readonly build: KernelBuild) {
    this.#control = new Int32Array(heap.memory.buffer, 0, POOL_BYTES / 4);
    this.#floats = new Float32Array(heap.memory.buffer, 0, POOL_BYTES / 4);
    this.#control[CURRENT] = -1;
    this.#control[IDLE] = 1;
    this.#module = moduleFor(build);
    const { exports } = new WebAssembly.Instance(this.#module, { env: { memory: heap.memory } });
    const kernels = Object.entries(exports).filter(([, item]) => typeof item === "function");
    kernels.forEach(([name], i) => this.#numbers.set(name, i));
    this.#kernels = kernels.map(([, kernel]) => kernel as WasmKernel);
    this.#tasks = tasksOf(this.#control, this.#kernels, 0, words);
    this.#workers = new Array(threads - 1).fill(undefined);
    this.#maySleep = maySleep(this.#control);
    heap.settle = () => this.settle();
  }

  /** Workers that have started and not closed; for tests and reports. */
  get ready(): number {
    return Atomics.load(this.#control, READY);
  }

  /**
   * Does all units of a job, now or later: before whatever runs after it, and before `settle` returns. Throws when the
   * kernel traps at once.
   */
  run(name: string, job: Job): void {
    const { units, unitCost, ints, floats, scratch = 0 } = job;
    if (units <= 0) return;
    const number = this.#numbers.get(name);
    if (number === undefined) throw new Error(`no WebAssembly kernel is called ${name}`);
    const total = units * unitCost;
    const isQueued = this.#queues(total);
    const grain = Math.max(1, Math.ceil(Math.max(total / (this.threads * 12), TASK_NS) / unitCost));
    const tasks = !isQueued || total < SERIAL_NS ? 1 : Math.ceil(units / grain);
    const control = this.#control;
    const slot = RING + (control[HEAD] & (SLOTS - 1)) * SLOT_WORDS;
    for (let i = 0; i < ints.length; i++) control[slot + i] = ints[i];
    if (floats) this.#floats.set(floats, slot + 64);
    const stride = Math.ceil(scratch / 64) * 64;
    const base = stride > 0 ? this.heap.alloc(stride * (isQueued ? this.threads : 1)) : 0;
    try {
      if (!isQueued) {
        this.#kernels[number](4 * slot, 0, units, base);
        return;
      }
      const at = slot + HEADER;
      control[at] = number;
      control[at + 1] = tasks;
      control[at + 2] = units;
      control[at + 3] = tasks === 1 ? units : grain;
      control[at + 4] = base;
      control[at + 5] = stride;
      this.#tasks.put();
    } finally {
      // What is allocated in its place is used by later jobs.
      if (stride > 0) this.heap.free(base);
    }
  }

  /** Waits for all jobs, and helps. Throws when a kernel trapped. */
  settle(): void {
    const control = this.#control;
    while (Atomics.load(control, IDLE) === 0) this.#help(() => Atomics.load(control, IDLE) === 1);
    const failed = Atomics.exchange(control, FAILED, 0);
    if (failed === 0) return;
    const [name] = [...this.#numbers].find(([, number]) => number === failed - 1)!;
    throw new Error(`${name}: the kernel trapped`);
  }

  close(): void {
    Atomics.store(this.#control, STOP, 1);
    Atomics.add(this.#control, EVENT, 1);
    Atomics.notify(this.#control, EVENT);
    for (const worker of this.#workers) worker?.terminate();
    this.#workers.fill(undefined);
  }

  /** Whether a job of so many nanoseconds goes into the queue, once it has room; if not, the queue is empty. */
  #queues(total: number): boolean {
    if (this.threads === 1) return false;
    const control = this.#control;
    const ready = Atomics.load(control, READY);
    if (ready < this.threads - 1 && total >= START_NS) this.#start();
    if (ready === 0) {
      this.settle();
      return false;
    }
    if (Atomics.load(control, IDLE) === 1) {
      return total >= WAKE_NS || Atomics.load(control, ASLEEP) < ready;
    }
    const hasRoom = () => ((control[HEAD] - Atomics.load(control, CURRENT)) | 0) < SLOTS - 1;
    while (!hasRoom()) this.#help(hasRoom);
    return true;
  }

  /** Does tasks until there is none, then waits a while for the end of others' unless that is not needed. */
  #help(isEnough: () => boolean): void {
    const control = this.#control;
    while (this.#tasks.step());
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(control, TICKET) > 0 || isEnough()) return;
    }
    if (!this.#maySleep) return;
    Atomics.add(control, ASLEEP, 1);
    const seen = Atomics.load(control, EVENT);
    if (Atomics.load(control, TICKET) <= 0 && !isEnough()) Atomics.wait(control, EVENT, seen, 100);
    Atomics.sub(control, ASLEEP, 1);
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
