/**
 * The server's side of the worker that has the device: opens it, hands it batches, and opens another one when the device is
 * lost, the worker dies or a batch takes too long. Each batch is tried at most twice.
 */
import { webGpuVariables } from "../../core/open_device.ts";
import type { DeviceUse, FromDevice, ToDevice } from "./protocol.ts";
import type { DecodedImage, MappedTracerOptions, MappedVerdict, ServedInfo } from "./mapped_tracer.ts";

export interface DeviceEvents {
  readonly onNote?: (text: string) => void;
  /** The worker is replaced, and why. */
  readonly onRestart?: (reason: string) => void;
  readonly onUse?: (use: DeviceUse) => void;
  readonly onBatch?: (images: number, seconds: number) => void;
}

/** Makes the worker; tests have their own. */
export type Spawn = () => Worker;

/** The device cannot be opened: no later request will do better. */
export class DeviceFailedError extends Error {
  override readonly name = "DeviceFailedError";
}

/** One batch at a time; `attribute` waits until the device is open. */
export class DeviceWorker {
  #worker: Worker | undefined;
  #opening: Promise<ServedInfo> | undefined;
  #pending:
    | { id: number; onProgress: (done: number) => void; settle: (message: FromDevice | Error) => void }
    | undefined;
  #id = 0;
  #closed = false;
  #secondsPerImage = 0;

  constructor(
    readonly options: MappedTracerOptions,
    /** Time limit of a batch; a device that turns out to be slow may get more. */
    public batchMs: number,
    readonly spawn: Spawn,
    readonly events: DeviceEvents = {},
  ) {}

  /** What an image is expected to take, in seconds; 0 before the device is open. */
  get secondsPerImage(): number {
    return this.#secondsPerImage;
  }

  /** Starts the worker where there is none, and resolves once it is ready. Rejects with DeviceFailedError. */
  open(): Promise<ServedInfo> {
    if (this.#closed) return Promise.reject(new DeviceFailedError("the server is closing"));
    return this.#opening ??= this.#start();
  }

  #start(): Promise<ServedInfo> {
    const worker = this.#worker = this.spawn();
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data: message }: MessageEvent<FromDevice>) => {
        if (message.type === "note") this.events.onNote?.(message.text);
        else if (message.type === "opened") {
          this.events.onUse?.(message.use);
          this.#secondsPerImage = message.secondsPerImage;
          resolve(message.info);
        } else if (message.type === "failed") reject(new DeviceFailedError(message.message));
        else if (message.id === this.#pending?.id) {
          if (message.type === "progress") this.#pending.onProgress(message.done);
          else this.#pending.settle(message);
        }
      };
      const fail = (text: string) => {
        reject(new DeviceFailedError(text));
        this.#pending?.settle(new Error(text));
      };
      worker.onerror = (event) => {
        event.preventDefault(); // else the server ends with its worker
        fail(`the device's worker failed: ${event.message}`);
      };
      worker.onmessageerror = () => fail("the device's worker sent what cannot be read");
      worker.postMessage({ type: "open", options: this.options } satisfies ToDevice);
    });
  }

  /** Attributes a batch. Rejects when a second try on a new device fails, too. */
  async attribute(
    images: readonly DecodedImage[],
    onProgress: (done: number) => void,
  ): Promise<readonly MappedVerdict[]> {
    try {
      return await this.#try(images, onProgress);
    } catch (error) {
      if (this.#closed || error instanceof DeviceFailedError) throw error;
      this.#restart((error as Error).message);
      return await this.#try(images, onProgress);
    }
  }

  async #try(images: readonly DecodedImage[], onProgress: (done: number) => void): Promise<readonly MappedVerdict[]> {
    await this.open();
    const id = ++this.#id;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const message = await new Promise<FromDevice>((resolve, reject) => {
        const settle = (outcome: FromDevice | Error) => outcome instanceof Error ? reject(outcome) : resolve(outcome);
        this.#pending = { id, onProgress, settle };
        timer = setTimeout(() => settle(new Error(`a batch took more than ${this.batchMs} ms`)), this.batchMs);
        // Pixels are copied, not moved: they are needed again if this device fails.
        this.#worker!.postMessage({ type: "attribute", id, images } satisfies ToDevice);
      });
      if (message.type === "error") throw new Error(message.message);
      if (message.type !== "result") throw new Error(`the device's worker answered ${message.type}`);
      this.events.onUse?.(message.use);
      this.events.onBatch?.(images.length, message.seconds);
      return message.results;
    } finally {
      clearTimeout(timer);
      this.#pending = undefined;
    }
  }

  #restart(reason: string): void {
    this.events.onRestart?.(reason);
    this.#stop();
  }

  #stop(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#opening = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#pending?.settle(new Error("the server is closing"));
    this.#stop();
  }
}

/** A worker with the real device. It may read files, as the weights need, ask how much memory is free, and nothing else. */
export function spawnDeviceWorker(): Worker {
  const may = (variable: string) => Deno.permissions.querySync({ name: "env", variable }).state === "granted";
  const variables = webGpuVariables.filter(may);
  const asksMemory = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" }).state === "granted";
  return new Worker(new URL("./device_worker.ts", import.meta.url), {
    type: "module",
    name: "device",
    deno: {
      permissions: {
        read: "inherit",
        env: variables.length > 0 ? variables : false,
        net: false,
        write: false,
        run: false,
        ffi: false,
        sys: asksMemory ? ["systemMemoryInfo"] : false,
        import: false,
      },
    },
  });
}
