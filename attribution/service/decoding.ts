/**
 * Decodes images in processes without permissions, each image within limits of processor time and memory; a process
 * whose image takes more, or that dies, is replaced. Formats and limits on pixels are those of ../images/.
 */
import { decoderExecutable, decoderMemory, ProcessDecoder } from "../images/decoder/mod.ts";
import { sha256Hex } from "../../util/hash.ts";
import type { DecodedImage } from "./mapped_tracer.ts";

/** Processes and their limits. */
export interface DecoderOptions {
  readonly processes: number;
  /** Milliseconds of processor time that an image may take. */
  readonly timeoutMs: number;
  readonly maxPixels: number;
  /** What the processes run, for tests. */
  readonly program?: URL;
}

/** An image is given up after so many times its limit, also when it did not get that much processor time. */
const patience = 4;

interface Task {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly sizes: readonly number[];
  readonly signal?: AbortSignal;
  readonly resolve: (image: DecodedImage) => void;
  readonly reject: (error: Error) => void;
}

/** Decoders for many callers. Images wait for the first process that is free. */
export class Decoders {
  readonly #decoders: readonly ProcessDecoder[];
  readonly #free: ProcessDecoder[];
  readonly #waiting: Task[] = [];
  #isClosed = false;

  /** Throws where this process may not start the others. */
  constructor(readonly options: DecoderOptions) {
    const { processes, timeoutMs, maxPixels, program } = options;
    const executable = decoderExecutable();
    if (executable === undefined) {
      throw new Error(
        Deno.build.standalone
          ? "decoding: expected Linux, where a compiled program may start itself to decode images"
          : "decoding: expected the permission to start processes that decode images: --allow-run=deno",
      );
    }
    const memoryBytes = decoderMemory(maxPixels);
    const limits = { processorMs: timeoutMs, elapsedMs: patience * timeoutMs, memoryBytes };
    this.#decoders = Array.from(
      { length: processes },
      () => new ProcessDecoder({ executable, limits, ahead: 1, program }),
    );
    this.#free = [...this.#decoders];
  }

  /** Processes that ended because of an image. */
  get replaced(): number {
    return this.#decoders.reduce((sum, { client }) => sum + client.replaced, 0);
  }

  /**
   * The image, prepared for the given sizes. Throws UnreadableImageError, also for one that takes too much processor
   * time or memory, and DecodeOverloadError where the machine did not have that much time.
   */
  async decode(bytes: Uint8Array<ArrayBuffer>, sizes: readonly number[], signal?: AbortSignal): Promise<DecodedImage> {
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, sizes, signal, resolve, reject });
      this.#next();
    });
  }

  /** Starts all processes. Otherwise the first requests would wait for that. Throws if they cannot be started. */
  async warmUp(): Promise<void> {
    await Promise.all(this.#decoders.map(({ client }) => client.start()));
  }

  #next(): void {
    for (let task = this.#waiting[0]; task !== undefined; task = this.#waiting[0]) {
      const decoder = this.#isClosed || task.signal?.aborted ? undefined : this.#free.pop();
      if (this.#isClosed) task.reject(new Error("decoding: the server is closing"));
      else if (task.signal?.aborted) task.reject(task.signal.reason);
      else if (decoder === undefined) return;
      else void this.#run(decoder, task);
      this.#waiting.shift();
    }
  }

  async #run(decoder: ProcessDecoder, { bytes, sizes, resolve, reject }: Task): Promise<void> {
    try {
      const [pixels, sha256] = await Promise.all([
        decoder.decodePixels(bytes, sizes, this.options.maxPixels),
        sha256Hex(bytes),
      ]);
      resolve({ sha256, pixels });
    } catch (error) {
      reject(error as Error);
    } finally {
      this.#free.push(decoder);
      this.#next();
    }
  }

  /** Ends all processes, and with them all images. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#next();
    await Promise.all(this.#decoders.map((decoder) => decoder[Symbol.asyncDispose]()));
  }
}
