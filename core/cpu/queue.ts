/**
 * The queue of kernels of a CPU device, in the first pages of its memory, which all threads share.
 *
 * One thread, that of the device, puts jobs into a ring of slots. One job is current at a time: it is split into tasks,
 * which threads take from an atomic counter, and whoever finishes the last of them makes the next job current. So jobs run
 * in the order in which they were put, as if every one had ended before the next began, while the device's thread goes
 * on. Tasks do not depend on the thread that runs them, so results do not depend on timing.
 */

/** A kernel does units begin..end-1 of the job at `args`, with private memory at `scratch`. */
export type WasmKernel = (args: number, begin: number, end: number, scratch: number) => void;

/** Indices of 32-bit words. Words that several threads change have a cache line to themselves. */
export const words = {
  TICKET: 0, // tasks of the current job that no thread has taken
  PENDING: 16, // tasks of the current job that are not finished
  CURRENT: 32, // number of the job that is current, or was last
  IDLE: 33, // 1 while no job is current
  HEAD: 48, // number of the job that will be put next
  EVENT: 64, // changes when a job becomes current, when the queue has run empty, and at the end
  ASLEEP: 65, // threads that wait for EVENT to change
  FAILED: 80, // 1 + the kernel of a task that trapped, else 0
  STOP: 81, // 1 tells workers to close
  READY: 82, // workers that take tasks
  STATE: 96, // per worker: absent, starting or ready
  RING: 1024, // first slot
  SLOTS: 256, // of the ring, a power of two
  SLOT_WORDS: 96, // of a slot: arguments, then its header
  HEADER: 80, // within a slot: kernel, tasks, units, units per task, scratch address, scratch bytes per thread
} as const;

/** Bytes of the ring, behind the other words. */
export const RING_BYTES = 4 * words.SLOTS * words.SLOT_WORDS;
/** Bytes at address 0 that are reserved for the queue. */
export const QUEUE_BYTES = 4 * words.RING + RING_BYTES;

/** What a thread does with the queue. */
export interface Tasks {
  /** Takes a task of the current job and does it. False when there is none to take. */
  step(): boolean;
  /** Makes the job that was just written to slot HEAD known. Only the device's thread calls it. */
  put(): void;
}

/**
 * What thread number `thread` does with the queue: 0 is the device's own. Its source text is passed to Workers, so it may
 * refer to its parameters and globals only.
 */
export function tasksOf(
  control: Int32Array,
  kernels: readonly WasmKernel[],
  thread: number,
  { TICKET, PENDING, CURRENT, IDLE, HEAD, EVENT, ASLEEP, FAILED, RING, SLOTS, SLOT_WORDS, HEADER }: typeof words,
): Tasks {
  const slotOf = (job: number) => RING + (job & (SLOTS - 1)) * SLOT_WORDS;
  const next = () => (Atomics.load(control, CURRENT) + 1) | 0;
  const isEmpty = () => Atomics.load(control, HEAD) === next();
  const tell = () => {
    Atomics.add(control, EVENT, 1);
    if (Atomics.load(control, ASLEEP) > 0) Atomics.notify(control, EVENT);
  };
  /**
   * Makes the next job current, or notes that there is none. Only one thread at a time may call it: the one that
   * finished the last task of the current job, or the one that changed IDLE from 1 to 0.
   */
  const advance = () => {
    while (isEmpty()) {
      Atomics.store(control, IDLE, 1);
      // A job may have been put before that was to be seen. Then one thread takes IDLE back, and looks again: another
      // one may have done that job since.
      if (isEmpty() || Atomics.compareExchange(control, IDLE, 1, 0) === 0) {
        tell();
        return;
      }
    }
    const job = next();
    const tasks = control[slotOf(job) + HEADER + 1];
    Atomics.store(control, CURRENT, job);
    Atomics.store(control, PENDING, tasks);
    Atomics.store(control, TICKET, tasks); // from here on, tasks are taken
    tell();
  };
  return {
    step() {
      const left = Atomics.load(control, TICKET);
      if (left <= 0) return false;
      // The job may have been replaced since `left` was read. If the exchange succeeds, the current job is the task's,
      // because a job is not replaced before all its tasks are finished.
      if (Atomics.compareExchange(control, TICKET, left, left - 1) !== left) return true;
      const slot = slotOf(Atomics.load(control, CURRENT)), header = slot + HEADER;
      const kernel = control[header], grain = control[header + 3];
      const begin = (control[header + 1] - left) * grain;
      const scratch = (control[header + 4] >>> 0) + thread * control[header + 5];
      try {
        kernels[kernel](4 * slot, begin, Math.min(begin + grain, control[header + 2]), scratch);
      } catch {
        Atomics.store(control, FAILED, 1 + kernel);
      }
      if (Atomics.sub(control, PENDING, 1) === 1) advance();
      return true;
    },
    put() {
      Atomics.add(control, HEAD, 1);
      if (Atomics.compareExchange(control, IDLE, 1, 0) === 1) advance();
    },
  };
}
