/**
 * One server: decoders, queue, device, metrics, and how a request for verdicts passes through them. Routes and headers
 * are in handler.ts, listening in listen.ts, keys and signals in start.ts.
 */
import { Batcher, type Reservation } from "./batcher.ts";
import { type BodyLimits, ByteBudget, type Received } from "./body.ts";
import type { ServiceConfig } from "./config.ts";
import { Decoders } from "./decoding.ts";
import { DeviceFailedError, DeviceWorker, type Spawn, spawnDeviceWorker } from "./device.ts";
import { HttpError, publicError } from "./errors.ts";
import { LoopDelay } from "./loop_delay.ts";
import { Metrics } from "./metrics.ts";
import type { AttributionBody, ImageResult, StatusBody } from "./schemas.ts";
import { type TimeLimits, timeLimits } from "./expected_time.ts";
import type { DecodedImage, MappedTracerOptions, MappedVerdict, ServedInfo } from "./mapped_tracer.ts";
import { verdictBody } from "./verdict_body.ts";

/** The settings that the device's worker gets. It gets no keys. */
const deviceSettings = [
  ...["models", "device", "allowSoftware", "threads", "memoryBytes", "weightType", "method", "search"] as const,
  ...["unsureBelow", "maxBatch", "preload"] as const,
] satisfies readonly (keyof MappedTracerOptions)[];

export interface ServiceOptions {
  readonly config: ServiceConfig;
  readonly spawnDevice?: Spawn;
  /** What the decoder processes run, for tests. */
  readonly decoderProgram?: URL;
  /** Receives one line per event; never a name, a key or a byte of an image. */
  readonly log?: (line: Readonly<Record<string, unknown>>) => void;
}

export interface AttributeRequest {
  readonly id: string;
  readonly received: Received;
  /** One for every file. */
  readonly reservation: Reservation;
  readonly maps: boolean;
  /** As performance.now() has it. */
  readonly deadline: number;
  readonly start: number;
  readonly receiveMs: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (index: number, done: number) => void;
}

/** Opens its device at once. Call `close`, or the process does not end. */
export class Service {
  readonly metrics = new Metrics();
  readonly budget: ByteBudget;
  readonly decoders: Decoders;
  readonly device: DeviceWorker;
  readonly batcher: Batcher<DecodedImage, MappedVerdict>;
  readonly loopDelay: LoopDelay;
  /** Resolves when the device is warm; rejects when it cannot be opened. */
  readonly ready: Promise<ServedInfo>;
  #info: ServedInfo | undefined;
  #limits: TimeLimits;
  #state: "starting" | "ready" | "draining" | "failed" = "starting";
  #failure: string | undefined;
  #requests = 0;
  #idle: (() => void) | undefined;

  constructor(readonly options: ServiceOptions) {
    const { config, log = () => {} } = options;
    const { metrics } = this;
    this.#limits = timeLimits(0, config);
    this.budget = new ByteBudget(config.maxReading);
    this.decoders = new Decoders({
      processes: config.decoders,
      timeoutMs: config.decodeMs,
      maxPixels: config.maxPixels,
      program: options.decoderProgram,
    });
    this.device = new DeviceWorker(
      pick(config, deviceSettings),
      this.#limits.batchMs,
      options.spawnDevice ?? spawnDeviceWorker,
      {
        onNote: (text) => log({ event: "device", text }),
        onRestart: (reason) => {
          metrics.restarts.inc();
          log({ event: "device-restart", reason });
        },
        onUse: ({ liveBytes, pooledBytes, peakBytes, heapBytes, loaded }) => {
          metrics.heapBytes.set({ thread: "device" }, heapBytes);
          metrics.deviceBytes.set({ state: "live" }, liveBytes);
          metrics.deviceBytes.set({ state: "pooled" }, pooledBytes);
          metrics.deviceBytes.set({ state: "peak" }, peakBytes);
          metrics.networks.set(loaded.length);
        },
        onBatch: (images, seconds) => {
          metrics.batchSize.observe(images);
          metrics.batchSeconds.observe(seconds);
        },
      },
    );
    // Until the device is open, nothing is queued; then no batch is larger than its memory allows.
    this.batcher = new Batcher((images, onProgress) => this.#run(images, onProgress), {
      get maxBatch() {
        return service.#info === undefined ? 1 : Math.min(service.#info.maxBatch, service.#limits.maxBatch);
      },
      maxWaitMs: config.maxWaitMs,
      maxQueue: config.maxQueue,
      // The rest of the deadline is a reserve for batches that take longer than the ones before.
      get maxDelayMs() {
        return 0.6 * service.#limits.deadlineMs;
      },
      onStart: (_, waited) => metrics.waitSeconds.observe(waited),
    });
    // deno-lint-ignore no-this-alias -- a getter of an object literal has a `this` of its own
    const service = this;
    metrics.queueLimit.set(config.maxQueue);
    this.loopDelay = new LoopDelay({ onDelay: (seconds) => metrics.loopDelay.observe(seconds) });
    this.ready = this.#open();
    this.ready.then((info) => {
      this.#info = info;
      this.#setLimits(info.maxBatch);
      if (this.#state === "starting") this.#state = "ready";
      log({ event: "ready", device: info.device.name, modelSet: info.modelSet.hash, maxBatch: info.maxBatch });
    }, (error: Error) => {
      // A service that is stopped while it starts ends what it was opening.
      if (this.#state !== "draining") this.#fail(error);
    });
  }

  async #open(): Promise<ServedInfo> {
    const [info] = await Promise.all([this.device.open(), this.decoders.warmUp()]);
    return info;
  }

  /** The limits follow what an image is expected to take; where that is long, the log says so. */
  #setLimits(maxBatch: number): void {
    const { secondsPerImage } = this.device;
    const limits = this.#limits = timeLimits(secondsPerImage, { ...this.config, maxBatch });
    this.device.batchMs = limits.batchMs;
    this.batcher.expect(secondsPerImage);
    if (limits.caution !== undefined) this.options.log?.({ event: "slow", text: limits.caution });
  }

  /** Limits of time, as far as they are known: what an image takes is known when the device is open. */
  get timeLimits(): TimeLimits {
    return this.#limits;
  }

  get config(): ServiceConfig {
    return this.options.config;
  }

  get limits(): BodyLimits {
    const { maxBody, maxImages, bodyMs } = this.config;
    return { maxBytes: maxBody, maxImages, timeoutMs: bodyMs };
  }

  /** What is known of the model set; a 503 before the device is open. */
  get info(): ServedInfo {
    if (this.#info !== undefined) return this.#info;
    throw new HttpError(503, this.#state, "the device is not ready yet", { "retry-after": "2" });
  }

  get status(): StatusBody {
    return { status: this.#state, ...this.#failure !== undefined && { detail: this.#failure } };
  }

  /** Requests that are not answered yet. */
  get inFlight(): number {
    return this.#requests;
  }

  #fail(error: Error): void {
    this.#state = "failed";
    this.#failure = "the device cannot be opened";
    this.options.log?.({ event: "device-failed", reason: error.message });
  }

  async #run(images: readonly DecodedImage[], onProgress: (done: number) => void): Promise<readonly MappedVerdict[]> {
    try {
      return await this.device.attribute(images, onProgress);
    } catch (error) {
      if (error instanceof DeviceFailedError) this.#fail(error);
      this.options.log?.({ event: "batch-failed", reason: (error as Error).message });
      throw error;
    }
  }

  /** Counts a request that begins. The caller calls the returned function once its answer is complete. */
  enter(): () => void {
    this.metrics.inFlight.set(++this.#requests);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.metrics.inFlight.set(--this.#requests);
      if (this.#requests === 0) this.#idle?.();
    };
  }

  /** Reserves places for images. Throws what becomes a 503 while the server starts, drains, has failed or is full. */
  reserve(count: number): Reservation {
    if (this.#state === "failed") throw new HttpError(503, "failed", this.#failure!, { "retry-after": "30" });
    void this.info;
    return this.batcher.reserve(count);
  }

  /** Decodes, queues and waits. An unreadable image of several has an error in its place; a single one throws. */
  async attribute(request: AttributeRequest): Promise<AttributionBody> {
    const { id, received, reservation, deadline, start, receiveMs, signal, onProgress, maps } = request;
    const { modelSet, imageSizes } = this.info;
    const decoding = performance.now();
    let decode = 0, started = 0, finished = 0;
    try {
      const images = await Promise.all(received.files.map(async ({ name, bytes }, index): Promise<ImageResult> => {
        try {
          const image = await this.decoders.decode(bytes, imageSizes, signal);
          decode = Math.max(decode, performance.now() - decoding);
          const attribution = await this.batcher.add(image, {
            deadline,
            signal,
            onProgress: (done) => {
              if (done === 0) started = Math.max(started, performance.now());
              onProgress?.(index, Math.min(1, done));
            },
          });
          finished = performance.now();
          const { finding, label } = attribution.evidence;
          this.metrics.verdicts.inc({ finding, label });
          return { index, name, ...verdictBody(attribution, maps) };
        } catch (error) {
          const known = publicError(error);
          if (known === undefined || received.single || known.status >= 500 || signal.aborted) throw error;
          this.metrics.unreadable.inc({ reason: known.code });
          return { index, name, error: { code: known.code, message: known.message } };
        }
      }));
      const total = performance.now() - start;
      const device = started === 0 ? 0 : finished - started;
      const wait = started === 0 ? 0 : Math.max(0, started - decoding - decode);
      const timings = { receive: receiveMs, decode, wait, device, total };
      return { id, modelSet, images, timings: mapValues(timings, (ms) => Math.max(0, Math.round(ms * 100) / 100)) };
    } finally {
      reservation.release();
      this.budget.give(received.held);
    }
  }

  /** Updates the gauges. */
  observe(): void {
    const { metrics } = this;
    metrics.queue.set(this.batcher.depth);
    metrics.reading.set(this.budget.held);
    metrics.ready.set(this.#state === "ready" ? 1 : 0);
    metrics.decoderRestarts.set(this.decoders.replaced);
    metrics.longestDelay.set(this.loopDelay.longest);
    const { rss, heapTotal, external } = Deno.memoryUsage();
    metrics.processBytes.set(rss);
    metrics.heapBytes.set({ thread: "main" }, heapTotal);
    metrics.externalBytes.set(external);
  }

  /**
   * /readyz tells load balancers to send no more requests. After `delayMs`, the server accepts no more requests for
   * verdicts. Resolves when all are answered.
   */
  async drain(delayMs = this.config.drainDelayMs): Promise<void> {
    if (this.#state !== "failed") this.#state = "draining";
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    this.batcher.close();
    if (this.#requests > 0) await new Promise<void>((resolve) => this.#idle = resolve);
  }

  async close(): Promise<void> {
    this.loopDelay.stop();
    this.batcher.close();
    this.device.close();
    await this.decoders.close();
  }
}

function pick<T, K extends keyof T>(record: T, names: readonly K[]): Pick<T, K> {
  return Object.fromEntries(names.map((name) => [name, record[name]])) as Pick<T, K>;
}

function mapValues<K extends string>(record: Record<K, number>, f: (value: number) => number): Record<K, number> {
  return Object.fromEntries(Object.entries<number>(record).map(([key, value]) => [key, f(value)])) as Record<K, number>;
}
