/**
 * Records dispatches into one compute pass and submits them together, with their parameters in one uniform buffer.
 * It also collects the errors of recorded commands.
 */
import { type Pipeline, PipelineCache } from "./pipelines.ts";
import type { Work } from "../tensor/work.ts";
import type { Resource, Slot, Texture } from "./pool.ts";
import { type Groups, paramBytes, type Program } from "./program.ts";
import type { Timestamps } from "./timestamps.ts";

/**
 * Dispatches per submit: at most enough to hide the cost of a submit (72 us). After a wait the device is idle, so the
 * first submits are smaller, and each is twice as large as the one before.
 */
const maxDispatches = 256;
const firstDispatches = 16;
/**
 * Work per submit in seconds, on a slow card: watchdogs of drivers take a submit of two seconds for a hang and give up
 * the device. 2 TFLOP/s and 200 GB/s is what a card of ten years ago or a laptop reaches.
 */
const maxSeconds = 0.1;
const slowCard = { flops: 2e12, bytes: 2e11 };
/** The queue copies written data into staging memory that it keeps until the next submit. */
const maxWrittenBytes = 64 * 2 ** 20;

/** A rectangle of a texture, in texels. */
export interface TextureRect {
  readonly x: number;
  readonly y: number;
  readonly texels: number;
  readonly rows: number;
}

export class Recorder {
  readonly pipelines: PipelineCache;
  readonly #paramBuffer: GPUBuffer;
  readonly #params = new ArrayBuffer(maxDispatches * paramBytes);
  readonly #u32 = new Uint32Array(this.#params);
  readonly #i32 = new Int32Array(this.#params);
  readonly #f32 = new Float32Array(this.#params);
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #dispatches = 0;
  /** Dispatches that the next submit takes at most. */
  #most = firstDispatches;
  /** Estimated time of what is recorded. */
  #seconds = 0;
  #kernels = new Set<string>();
  #writtenBytes = 0;
  #batch = 0;
  #failure: Error | undefined;
  #lost: Error | undefined;
  #closed = false;
  #scopes = new Set<Promise<void>>();
  /** Submits so far, for tests and measurements. */
  submits = 0;
  /** While it is set, every dispatch is timed. */
  timestamps: Timestamps | undefined;

  constructor(readonly gpu: GPUDevice) {
    this.#paramBuffer = gpu.createBuffer({
      label: "params",
      size: this.#params.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.pipelines = new PipelineCache(gpu, this.#paramBuffer);
    // Recorded commands report at submit, inside an error scope. This is for errors outside of all scopes.
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.fail(new Error(`webgpu: ${(event as GPUUncapturedErrorEvent).error.message}`));
    });
    gpu.lost.then((info) => {
      if (!this.#closed) this.#lost = new Error(`webgpu: device lost (${info.reason || "unknown"}): ${info.message}`);
    });
  }

  /** Throws when the device is lost or closed. */
  check(): void {
    if (this.#lost) throw this.#lost;
    if (this.#closed) throw new Error("webgpu: the device is closed");
  }

  dispatch(
    program: Program,
    buffers: Readonly<Record<string, Resource>>,
    params: Record<string, number>,
    groups: Groups,
  ) {
    this.check();
    const pipeline = this.#pipeline(program);
    if (this.#dispatches >= this.#most) {
      this.submit();
      this.#most = Math.min(maxDispatches, 2 * this.#most);
    }
    const offset = this.#dispatches * paramBytes;
    this.#writeParams(pipeline, params, offset / 4);
    const slots = pipeline.bufferNames.map((name) => {
      const slot = buffers[name];
      if (!slot) throw new Error(`webgpu: ${pipeline.name} needs the buffer ${name}`);
      slot.lastBatch = this.#batch;
      return slot;
    });
    if (this.timestamps) this.#endPass();
    const pass = this.#openPass(this.timestamps?.next());
    pass.setPipeline(pipeline.pipeline);
    pass.setBindGroup(0, this.pipelines.paramGroup, [offset]);
    pass.setBindGroup(1, this.pipelines.bindGroup(pipeline, slots));
    pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    this.#dispatches++;
    this.#kernels.add(pipeline.name);
  }

  /** Announces the work of a kernel before its dispatches: what is recorded is submitted if it would become too much. */
  expect({ flops, bytes }: Work): void {
    const seconds = Math.max(flops / slowCard.flops, bytes / slowCard.bytes);
    if (this.#seconds + seconds > maxSeconds && this.#dispatches > 0) this.submit();
    this.#seconds += seconds;
  }

  #pipeline(program: Program): Pipeline {
    if (this.pipelines.has(program)) return this.pipelines.get(program);
    return this.#scoped(() => `kernel ${program.kernel}:${program.variant}`, () => this.pipelines.get(program));
  }

  #writeParams(pipeline: Pipeline, params: Record<string, number>, index: number) {
    for (const [name, type] of pipeline.params) {
      const value = params[name];
      if (value === undefined) throw new Error(`webgpu: ${pipeline.name} needs the parameter ${name}`);
      if (type === "f32") this.#f32[index++] = value;
      else if (type === "i32") this.#i32[index++] = value;
      else this.#u32[index++] = value;
    }
  }

  #openPass(timestampWrites?: GPUComputePassTimestampWrites): GPUComputePassEncoder {
    this.#encoder ??= this.gpu.createCommandEncoder();
    return this.#pass ??= this.#encoder.beginComputePass({ timestampWrites });
  }

  #endPass(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = undefined;
    return this.#encoder ??= this.gpu.createCommandEncoder();
  }

  /** Copies host data to a buffer in the order of the recorded commands. `bytes` is a multiple of 4. */
  write(slot: Slot, data: ArrayBuffer, offset: number, bytes: number) {
    this.check();
    // Queue writes run before commands that are recorded but not submitted.
    if (slot.lastBatch === this.#batch) this.submit();
    this.#scoped(
      () => `write of ${bytes} bytes`,
      () => this.gpu.queue.writeBuffer(slot.buffer, 0, data, offset, bytes),
    );
    this.#writtenBytes += bytes;
    if (this.#writtenBytes >= maxWrittenBytes) this.submit(true);
  }

  copyToHost(slot: Slot, target: GPUBuffer, bytes: number) {
    this.check();
    this.#endPass().copyBufferToBuffer(slot.buffer, 0, target, 0, bytes);
    this.submit();
  }

  /**
   * Copies `rows` rows of `texels` texels each from a buffer into a texture, from (x, y) on. Rows of the buffer are
   * `bytesPerRow` apart, a multiple of 256 unless there is only one.
   */
  copyToTexture(slot: Slot, offset: number, bytesPerRow: number, texture: Texture, rect: TextureRect) {
    this.check();
    slot.lastBatch = this.#batch;
    texture.lastBatch = this.#batch;
    this.#endPass().copyBufferToTexture(
      { buffer: slot.buffer, offset, ...(rect.rows > 1 ? { bytesPerRow } : {}) },
      { texture: texture.texture, origin: [rect.x, rect.y] },
      [rect.texels, rect.rows],
    );
  }

  /** Prepares for the end of a buffer or texture: it must not occur in commands that are still to be submitted. */
  forget(resource: Resource): void {
    if (resource.lastBatch === this.#batch) this.submit();
    this.pipelines.forget(resource);
  }

  /** Submits the recorded commands. `always` submits even without any, which frees the queue's staging memory. */
  submit(always = false) {
    if (!this.#encoder && !always) return;
    const encoder = this.#encoder;
    const kernels = [...this.#kernels];
    this.#scoped(() => `commands with ${kernels.join(", ") || "copies only"}`, () => {
      if (this.#dispatches > 0) {
        this.gpu.queue.writeBuffer(this.#paramBuffer, 0, this.#params, 0, this.#dispatches * paramBytes);
      }
      this.#pass?.end();
      this.gpu.queue.submit(encoder ? [encoder.finish()] : []);
    });
    this.#pass = undefined;
    this.#encoder = undefined;
    this.#dispatches = 0;
    this.#seconds = 0;
    this.#kernels.clear();
    this.#writtenBytes = 0;
    this.#batch++;
    this.submits++;
  }

  /** Runs `work` and keeps the first validation, memory or internal error that it causes. */
  #scoped<T>(what: () => string, work: () => T): T {
    this.gpu.pushErrorScope("internal");
    this.gpu.pushErrorScope("out-of-memory");
    this.gpu.pushErrorScope("validation");
    try {
      return work();
    } finally {
      const scopes = [this.gpu.popErrorScope(), this.gpu.popErrorScope(), this.gpu.popErrorScope()];
      const done = Promise.all(scopes).then((errors) => {
        const error = errors.find((e) => e !== null);
        if (error) this.fail(new Error(`webgpu: ${what()} failed: ${error.message}`));
      }, (reason) => this.fail(new Error(`webgpu: ${what()} failed: ${reason}`))).finally(() =>
        this.#scopes.delete(done)
      );
      this.#scopes.add(done);
    }
  }

  /** Runs a creation of memory under an error scope. */
  creating<T>(what: string, work: () => T): T {
    return this.#scoped(() => what, work);
  }

  fail(error: Error) {
    this.#failure ??= error;
  }

  /** Waits for all open error scopes, then throws the first error since the last call, if any. */
  async settle(): Promise<void> {
    this.#most = firstDispatches;
    await Promise.all(this.#scopes);
    const failure = this.#failure;
    this.#failure = undefined;
    if (this.#lost) throw this.#lost;
    if (failure) throw failure;
  }

  close() {
    this.#closed = true;
    this.#pass = undefined;
    this.#encoder = undefined;
    this.#paramBuffer.destroy();
  }
}
