/**
 * Kernel calls as they are made: their work (core/tensor/work.ts), their sizes as text, and how long they took.
 */
import type { Device, KernelName, Kernels, Storage } from "../core/tensor/mod.ts";
import { kernelWork, type Work } from "../core/tensor/work.ts";

const sizeNames = /^(op|n|m|k|batch|rows|outer|inner|hw|c|h|w|cIn|cOut|kh|stride|upsample|heads|headDim|lq|lk|codes)$/;

/** The sizes that make calls of a kernel alike, as text: `m=258 n=768 k=3072 residual`. */
export function kernelShape<K extends KernelName>(kernel: K, args: Kernels[K]): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(args)) {
    if (name === "shape") parts.push(`[${value}]`);
    else if (name === "activation" && value !== "none") parts.push(`${value}`);
    else if (name === "residual" && value) parts.push(name);
    else if (name === "packed" && !value) parts.push("dense");
    else if (sizeNames.test(name) && typeof value !== "object" && !(name === "batch" && value === 1)) {
      parts.push(`${name}=${value}`);
    }
  }
  if (kernel === "matmul") {
    const { epilogue } = args as Kernels["matmul"];
    if (epilogue.activation !== "none") parts.push(epilogue.activation);
    if (epilogue.gate) parts.push("gate");
    if (epilogue.residual) parts.push("residual");
  }
  return parts.join(" ");
}

/**
 * A call as it was seen: `seconds` is what the device's `run` took, which is the whole kernel on a device that waits.
 */
export interface SeenKernel extends Work {
  readonly kernel: KernelName;
  readonly shape: string;
  readonly seconds: number;
}

/** The same device, which reports every kernel call to `seen` after it returned. */
export function watch(device: Device, seen: (call: SeenKernel) => void): Device {
  // Attention masks are integers written from the host; their sum is the number of visible pairs.
  const pairs = new WeakMap<Storage, number>();
  const write: Device["write"] = (storage, data) => {
    device.write(storage, data);
    if (data instanceof Int32Array) pairs.set(storage, data.reduce((a, b) => a + b, 0));
  };
  const run: Device["run"] = (kernel, args) => {
    const start = performance.now();
    device.run(kernel, args);
    // The CPU device puts kernels into a queue, and waits for them before `sync` returns its promise.
    if (device.info.kind === "cpu") void device.sync();
    const seconds = (performance.now() - start) / 1000;
    const mask = kernel === "attention" ? (args as Kernels["attention"]).visible : undefined;
    const visible = mask && pairs.get(mask);
    seen({ kernel, shape: kernelShape(kernel, args), seconds, ...kernelWork(kernel, args, visible) });
  };
  return new Proxy(device, {
    get(target, name) {
      if (name === "run") return run;
      if (name === "write") return write;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
