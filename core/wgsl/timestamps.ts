/**
 * Times dispatches on the GPU by timestamp queries. Each timed dispatch is a pass of its own, which keeps its neighbours from
 * overlapping with it: the sum is somewhat more than untimed dispatches take.
 */

/** Queries of a set: WebGPU's most. */
const perSet = 4096;

/** Timestamps of dispatches, in their order. */
export class Timestamps {
  readonly #sets: GPUQuerySet[] = [];
  #count = 0;

  /** The device must have the feature `timestamp-query`; throws without it. */
  constructor(readonly gpu: GPUDevice) {
    if (!gpu.features.has("timestamp-query")) {
      throw new Error("webgpu: this adapter has no timestamp queries, so that dispatches cannot be timed on it");
    }
  }

  /** Dispatches timed so far. */
  get count(): number {
    return this.#count;
  }

  /** Where the pass of the next dispatch writes its times. */
  next(): GPUComputePassTimestampWrites {
    const at = 2 * this.#count++ % perSet;
    if (at === 0) this.#sets.push(this.gpu.createQuerySet({ type: "timestamp", count: perSet }));
    return {
      querySet: this.#sets[this.#sets.length - 1],
      beginningOfPassWriteIndex: at,
      endOfPassWriteIndex: at + 1,
    };
  }

  /** Seconds of every dispatch; waits for the GPU. All must have been submitted. Call it once, at the end. */
  async seconds(): Promise<Float64Array> {
    const bytes = 8 * perSet;
    const resolved = this.#sets.map(() =>
      this.gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC })
    );
    const readable = this.#sets.map(() =>
      this.gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
    );
    const encoder = this.gpu.createCommandEncoder();
    this.#sets.forEach((set, i) => {
      const used = Math.min(perSet, 2 * this.#count - i * perSet);
      encoder.resolveQuerySet(set, 0, used, resolved[i], 0);
      encoder.copyBufferToBuffer(resolved[i], 0, readable[i], 0, 8 * used);
    });
    this.gpu.queue.submit([encoder.finish()]);
    const seconds = new Float64Array(this.#count);
    for (const [i, buffer] of readable.entries()) {
      await buffer.mapAsync(GPUMapMode.READ);
      const times = new BigUint64Array(buffer.getMappedRange());
      for (let k = 0; k < perSet / 2 && i * perSet / 2 + k < this.#count; k++) {
        // Some drivers report an end before the beginning where a pass took less than a tick.
        seconds[i * perSet / 2 + k] = Math.max(0, Number(times[2 * k + 1] - times[2 * k])) / 1e9;
      }
    }
    for (const buffer of [...resolved, ...readable]) buffer.destroy();
    for (const set of this.#sets.splice(0)) set.destroy();
    this.#count = 0;
    return seconds;
  }
}
