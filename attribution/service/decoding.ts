/**
 * Decodes images in workers without permissions, each image within a limit of processor time; a worker that takes longer,
 * or dies, is replaced. Formats and limits on pixels are those of ../images/.
 */
import process from "node:process";
import { sniff, UnreadableImageError, type UnreadableReason } from "../images/decode.ts";
import type { FromDecoder, ToDecoder } from "./protocol.ts";
import type { DecodedImage } from "./mapped_tracer.ts";

/** The machine had too little time for an image, whatever the image is. */
export class DecodeOverloadError extends Error {
  override readonly name = "DecodeOverloadError";
}

export interface DecoderOptions {
  readonly workers: number;
  /** Milliseconds of processor time that an image may take. */
  readonly timeoutMs: number;
  readonly maxPixels: number;
  readonly spawn?: () => Worker;
  /** How many threads of the process compute something else at the moment. Default: none. */
  readonly otherThreads?: () => number;
  /** Milliseconds of processor time that the process has taken so far, for tests. */
  readonly processorMs?: () => number;
}

/**
 * An image is given up after so many times its limit, also when it did not get that much processor time. The thread of a
 * worker that computes goes on until the image is decoded: Deno 2.9 does not interrupt it (denoland/deno#35657).
 */
const patience = 4;
/** Looks at the clocks per limit. */
const looks = 20;

/** A worker is replaced after this many images: WebAssembly memory grows and never shrinks. */
const imagesPerWorker = 2000;
/** It is also replaced after one image with more pixels than this. */
const largePixels = 4 * 2 ** 20;

/** A PNG of one grey pixel. */
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

interface Task {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly sizes: readonly number[];
  readonly signal?: AbortSignal;
  readonly resolve: (image: DecodedImage) => void;
  readonly reject: (error: Error) => void;
}

interface Slot {
  worker?: Worker;
  images: number;
  busy: boolean;
}

export class Decoders {
  readonly #slots: readonly Slot[];
  readonly #waiting: Task[] = [];
  #closed = false;
  /** Workers that were ended because of an image. */
  replaced = 0;

  constructor(readonly options: DecoderOptions) {
    this.#slots = Array.from({ length: options.workers }, () => ({ images: 0, busy: false }));
  }

  /**
   * The image, prepared for the given sizes. Throws UnreadableImageError, also for one that takes too much processor
   * time, and DecodeOverloadError where the machine did not have that much. An image with a wrong header, or with too many
   * pixels by its header, is refused before a worker gets it. `bytes` are transferred.
   */
  async decode(bytes: Uint8Array<ArrayBuffer>, sizes: readonly number[], signal?: AbortSignal): Promise<DecodedImage> {
    const { width, height } = sniff(bytes);
    const { maxPixels } = this.options;
    if (width * height > maxPixels) {
      throw new UnreadableImageError("too-large", `${width}x${height} pixels, at most ${maxPixels} are allowed`);
    }
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, sizes, signal, resolve, reject });
      this.#next();
    });
  }

  /**
   * Starts all workers and has each decode an image, which loads its decoders. Otherwise the first requests would wait
   * for that.
   */
  async warmUp(): Promise<void> {
    const pixel = () => Uint8Array.from(atob(onePixel), (c) => c.charCodeAt(0));
    await Promise.all(this.#slots.map(() => this.decode(pixel(), [1])));
  }

  #next(): void {
    const slot = this.#slots.find(({ busy }) => !busy);
    if (slot === undefined) return;
    for (let task = this.#waiting.shift(); task !== undefined; task = this.#waiting.shift()) {
      if (this.#closed) task.reject(new Error("decoding: the server is closing"));
      else if (task.signal?.aborted) task.reject(task.signal.reason);
      else {
        this.#run(slot, task);
        return;
      }
    }
  }

  #run(slot: Slot, { bytes, sizes, resolve, reject }: Task): void {
    slot.busy = true;
    const worker = slot.worker ??= (this.options.spawn ?? spawnDecodeWorker)();
    const { width, height } = sniff(bytes);
    const finish = (keepWorker: boolean, settle: () => void) => {
      clearInterval(timer);
      worker.onmessage = worker.onerror = null;
      if (!keepWorker || ++slot.images >= imagesPerWorker || width * height > largePixels) {
        worker.terminate();
        slot.worker = undefined;
        slot.images = 0;
        if (!keepWorker) this.replaced++;
      }
      slot.busy = false;
      settle();
      this.#next();
    };
    const { timeoutMs, maxPixels } = this.options;
    const clock = new ShareClock(this.options, () => this.#slots.filter(({ busy }) => busy).length);
    const timer = setInterval(() => {
      const { processorMs, elapsedMs } = clock.read();
      if (processorMs >= timeoutMs) {
        const error = new UnreadableImageError("corrupt", `decoding took more than ${timeoutMs} ms of processor time`);
        finish(false, () => reject(error));
      } else if (elapsedMs >= patience * timeoutMs) {
        const error = new DecodeOverloadError(
          `decoding had less than ${timeoutMs} ms of a processor in ${patience} times that`,
        );
        finish(false, () => reject(error));
      }
    }, Math.max(1, timeoutMs / looks));
    worker.onmessage = ({ data }: MessageEvent<FromDecoder>) => {
      if (data.type === "decoded") finish(true, () => resolve({ sha256: data.sha256, pixels: data.pixels }));
      else finish(true, () => reject(new UnreadableImageError(data.reason as UnreadableReason, data.message)));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      finish(false, () => reject(new UnreadableImageError("corrupt", `decoding failed: ${event.message}`)));
    };
    worker.postMessage({ bytes, sizes, maxPixels } satisfies ToDecoder, [bytes.buffer]);
  }

  close(): void {
    this.#closed = true;
    for (const slot of this.#slots) {
      slot.worker?.terminate();
      slot.worker = undefined;
    }
    for (const task of this.#waiting.splice(0)) task.reject(new Error("decoding: the server is closing"));
  }
}

/**
 * Estimates how much processor time one decoding worker has had. The system tells the time of the whole process only, and
 * a busy worker tells nothing: each busy thread is taken to have an equal share, and never more than the time that passed.
 */
class ShareClock {
  readonly #start = performance.now();
  #now = this.#start;
  #taken: number;
  #share = 0;

  constructor(readonly options: DecoderOptions, readonly busyWorkers: () => number) {
    this.#taken = this.#processorMs();
  }

  #processorMs(): number {
    if (this.options.processorMs) return this.options.processorMs();
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  }

  /** Call it often: threads come and go. */
  read(): { processorMs: number; elapsedMs: number } {
    const now = performance.now(), taken = this.#processorMs();
    const threads = Math.max(1, this.busyWorkers() + (this.options.otherThreads?.() ?? 0));
    this.#share += Math.min(now - this.#now, (taken - this.#taken) / threads);
    this.#now = now;
    this.#taken = taken;
    return { processorMs: this.#share, elapsedMs: now - this.#start };
  }
}

/** A worker without permissions: it can import code, and can open no file or connection. */
export function spawnDecodeWorker(): Worker {
  return new Worker(new URL("./decode_worker.ts", import.meta.url), {
    type: "module",
    name: "decode",
    deno: { permissions: "none" },
  });
}
