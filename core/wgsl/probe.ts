/**
 * What memory a card gives, found by allocating: WebGPU reports neither its size nor what a driver refuses.
 *
 * Limits say what an adapter can address. Where a card has a small window for the processor (no resizable BAR), wgpu
 * takes its 214 to 246 MiB for the size of all memory, and calls larger buffers out of memory (denoland/deno#35195,
 * gfx-rs/wgpu#9643).
 */

/** Exactness of `largestAllocation`. */
const grain = 16 * 2 ** 20;

/** A buffer like those of tensors, or undefined when it cannot be had. */
async function tryBuffer(gpu: GPUDevice, size: number): Promise<GPUBuffer | undefined> {
  gpu.pushErrorScope("internal");
  gpu.pushErrorScope("out-of-memory");
  gpu.pushErrorScope("validation");
  const buffer = gpu.createBuffer({
    label: "probe",
    size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });
  const errors = await Promise.all([gpu.popErrorScope(), gpu.popErrorScope(), gpu.popErrorScope()]);
  if (errors.every((error) => error === null)) return buffer;
  buffer.destroy();
  return undefined;
}

/**
 * The largest single buffer that can be had now, in bytes: `most`, or less by at most 16 MiB; a multiple of 256. Usually
 * one allocation, at most eight.
 */
export async function largestAllocation(gpu: GPUDevice, most: number): Promise<number> {
  const whole = Math.floor(most / 256) * 256;
  const first = await tryBuffer(gpu, whole);
  first?.destroy();
  if (first) return whole;
  let [good, bad] = [0, whole];
  while (bad - good > grain) {
    const middle = Math.floor((good + bad) / 512) * 256;
    const buffer = await tryBuffer(gpu, middle);
    if (buffer) good = middle;
    else bad = middle;
    if (buffer) await release(gpu, [buffer]);
  }
  return good;
}

/** Destroys buffers and waits until their memory is free: it is not before the queue has been idle. */
async function release(gpu: GPUDevice, buffers: readonly GPUBuffer[]): Promise<void> {
  for (const buffer of buffers) buffer.destroy();
  gpu.queue.submit([]);
  await gpu.queue.onSubmittedWorkDone();
}

/**
 * Bytes that can be had now, up to `most`, in buffers of `block` bytes, all at once for a moment. Another process that
 * wants memory of the same card in that moment may not get it.
 */
export async function availableBytes(gpu: GPUDevice, block: number, most: number): Promise<number> {
  const buffers: GPUBuffer[] = [];
  while (buffers.length * block < most) {
    const buffer = await tryBuffer(gpu, block);
    if (!buffer) break;
    buffers.push(buffer);
  }
  await release(gpu, buffers);
  return Math.min(most, buffers.length * block);
}
