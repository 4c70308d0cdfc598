/**
 * A stand-in for a GPUDevice that computes nothing: it counts what is asked of it and plays a card's memory and limits.
 * So the WebGPU device runs whole passes of full-size networks in fractions of a second, and tests can hold its counts.
 * Everything read back from it is zero.
 */
import type { OpenedAdapter } from "../../core/wgsl/adapter.ts";
import { WebGpuDevice, type WebGpuDeviceOptions } from "../../core/wgsl/device.ts";
import { type Card, cards } from "./cards.ts";

/** How often something was asked for since the stub was made or `reset`. */
export interface Counts {
  /** Buffers and textures made, and their bytes. */
  made: number;
  madeBytes: number;
  /** Buffers and textures destroyed. */
  destroyed: number;
  bindGroups: number;
  pipelines: number;
  dispatches: number;
  submits: number;
  /** Writes of the queue to buffers (parameters of dispatches included), and their bytes. */
  writes: number;
  writtenBytes: number;
  /** Waits of the host: buffers mapped and `onSubmittedWorkDone`. */
  waits: number;
}

/** One dispatch. */
export interface Dispatch {
  /** The pipeline's label: kernel, a colon, what it is specialised for. */
  readonly pipeline: string;
  readonly groups: readonly [x: number, y: number, z: number];
  /** Sizes in bytes of the buffers and textures bound, in the order of bindings. */
  readonly boundBytes: readonly number[];
  /** Number of the submit that it went with. */
  readonly submit: number;
}

/** Options of `StubGpu`. */
export interface StubOptions {
  /** Default: an H200. */
  readonly card?: Card;
  /** Keep every dispatch in `dispatches`. Default true. */
  readonly record?: boolean;
  /** Whether an allocation fails although the card has room. */
  readonly failAllocation?: (bytes: number) => boolean;
}

const noCounts = (): Counts => ({
  ...{ made: 0, madeBytes: 0, destroyed: 0, bindGroups: 0, pipelines: 0, dispatches: 0, submits: 0 },
  ...{ writes: 0, writtenBytes: 0, waits: 0 },
});

/** Buffers and textures of the stub, with what a bind group needs to know of them. */
interface Memory {
  readonly bytes: number;
  /** False for one whose allocation failed: using it is a validation error. */
  readonly valid: boolean;
  alive: boolean;
}

/** What the stub's `gpu` counts and remembers. */
export class StubGpu {
  readonly card: Card;
  counts = noCounts();
  /** Dispatches since the last `reset`, in order. */
  dispatches: Dispatch[] = [];
  /** WGSL by the label of the pipeline. */
  readonly pipelines = new Map<string, string>();
  /** Bytes of buffers and textures that exist. */
  aliveBytes = 0;
  /**
   * Most bytes at once. Destroyed memory counts until the host waits: wgpu frees it when the commands that use it are
   * done, and the worst case is a card that has not even begun when the host has recorded everything.
   */
  peakBytes = 0;
  /** Bytes destroyed since the last wait. */
  #pendingBytes = 0;
  readonly #memory = new WeakMap<object, Memory>();
  readonly #scopes: { readonly filter: string; message: string | null }[] = [];
  readonly gpu: GPUDevice;

  constructor(readonly options: StubOptions = {}) {
    this.card = options.card ?? cards.h200;
    this.gpu = this.#device() as unknown as GPUDevice;
  }

  /** Starts counting from zero, and the peak from what is there. */
  reset(): void {
    this.counts = noCounts();
    this.dispatches = [];
    this.peakBytes = this.aliveBytes + this.#pendingBytes;
  }

  /** Reports an error as the device would: to the innermost scope for it, if there is one. */
  #report(filter: "validation" | "out-of-memory", message: string): void {
    const scope = this.#scopes.findLast((open) => open.filter === filter);
    if (!scope) throw new Error(`stub: ${filter} error outside of all scopes: ${message}`);
    scope.message ??= message;
  }

  /** Makes memory; where it fails, the object exists all the same, as WebGPU has it. */
  #allocate(bytes: number, label: string, extra: object): object {
    const { maxAllocationBytes = Infinity, memoryBytes } = this.card;
    const fails = bytes > maxAllocationBytes || this.aliveBytes + this.#pendingBytes + bytes > memoryBytes ||
      this.options.failAllocation?.(bytes) === true;
    if (fails) this.#report("out-of-memory", `Not enough memory left. (${label})`);
    const memory: Memory = { bytes, valid: !fails, alive: true };
    this.counts.made++;
    this.counts.madeBytes += bytes;
    if (memory.valid) this.aliveBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.aliveBytes + this.#pendingBytes);
    const object = { size: bytes, destroy: () => this.#destroy(memory), ...extra };
    this.#memory.set(object, memory);
    return object;
  }

  #destroy(memory: Memory): void {
    if (!memory.alive) return;
    memory.alive = false;
    this.counts.destroyed++;
    if (!memory.valid) return;
    this.aliveBytes -= memory.bytes;
    this.#pendingBytes += memory.bytes;
  }

  #wait(): Promise<void> {
    this.counts.waits++;
    this.#pendingBytes = 0;
    return Promise.resolve();
  }

  #use(object: object | undefined, user: string): number {
    const memory = object && this.#memory.get(object);
    if (!memory) throw new Error(`stub: ${user} uses memory that this stub did not make`);
    if (!memory.valid || !memory.alive) {
      this.#report("validation", `${user} uses a buffer that is ${memory.valid ? "destroyed" : "invalid"}`);
    }
    return memory.bytes;
  }

  #buffer({ size, label = "buffer" }: GPUBufferDescriptor): object {
    return this.#allocate(size, label, {
      mapAsync: () => this.#wait(),
      getMappedRange: (_offset: number, bytes: number) => new ArrayBuffer(bytes),
      unmap() {},
    });
  }

  #texture({ size, format, label = "texture" }: GPUTextureDescriptor): object {
    const [width, height = 1] = size as number[];
    const texture = this.#allocate(width * height * (format === "rgba16float" ? 8 : 16), label, {
      createView: () => {
        const view = {};
        this.#memory.set(view, this.#memory.get(texture)!);
        return view;
      },
    });
    return texture;
  }

  #bindGroup({ entries }: GPUBindGroupDescriptor): object {
    this.counts.bindGroups++;
    const objects = [...entries].map(({ resource }) => "buffer" in resource ? resource.buffer : resource);
    return { objects, bytes: objects.map((object) => this.#use(object, "a bind group")) };
  }

  /** A command encoder: what it records is counted at once, and checked at its submit. */
  #encoder(): object {
    const used = new Set<object>();
    return {
      beginComputePass: () => this.#pass(used),
      copyBufferToBuffer: (from: object, _o: number, to: object) => used.add(from).add(to),
      copyBufferToTexture: (from: { buffer: object }, to: { texture: object }) => used.add(from.buffer).add(to.texture),
      finish: () => used,
    };
  }

  #pass(used: Set<object>): object {
    let pipeline = "", bound: { objects: object[]; bytes: number[] } = { objects: [], bytes: [] };
    return {
      setPipeline: ({ label }: { label: string }) => pipeline = label,
      setBindGroup: (index: number, group: typeof bound) => {
        if (index === 1) bound = group;
      },
      dispatchWorkgroups: (...groups: [number, number, number]) => {
        this.counts.dispatches++;
        for (const object of bound.objects) used.add(object);
        const most = this.card.limits.maxComputeWorkgroupsPerDimension ?? 65535;
        if (groups.some((n) => n > most)) this.#report("validation", `${pipeline}: ${groups} workgroups`);
        if (this.options.record === false) return;
        this.dispatches.push({ pipeline, groups, boundBytes: bound.bytes, submit: this.counts.submits });
      },
      end() {},
    };
  }

  #pipeline({ label = "", compute }: GPUComputePipelineDescriptor): object {
    this.counts.pipelines++;
    this.pipelines.set(label, (compute.module as unknown as { code: string }).code);
    return { label };
  }

  #queue(): object {
    return {
      writeBuffer: (buffer: object, _offset: number, data: ArrayBuffer, _from = 0, bytes = data.byteLength) => {
        this.counts.writes++;
        this.counts.writtenBytes += bytes;
        this.#use(buffer, "writeBuffer");
      },
      submit: (commands: Iterable<Iterable<object>>) => {
        for (const used of commands) for (const object of used) this.#use(object, "submit");
        this.counts.submits++;
      },
      onSubmittedWorkDone: () => this.#wait(),
    };
  }

  #device(): object {
    return {
      limits: this.card.limits,
      features: new Set<string>(),
      queue: this.#queue(),
      lost: new Promise(() => {}),
      addEventListener() {},
      destroy() {},
      createBuffer: (descriptor: GPUBufferDescriptor) => this.#buffer(descriptor),
      createTexture: (descriptor: GPUTextureDescriptor) => this.#texture(descriptor),
      createBindGroupLayout: () => ({}),
      createPipelineLayout: () => ({}),
      createBindGroup: (descriptor: GPUBindGroupDescriptor) => this.#bindGroup(descriptor),
      createShaderModule: ({ code }: GPUShaderModuleDescriptor) => ({ code }),
      createComputePipeline: (descriptor: GPUComputePipelineDescriptor) => this.#pipeline(descriptor),
      createCommandEncoder: () => this.#encoder(),
      pushErrorScope: (filter: string) => void this.#scopes.push({ filter, message: null }),
      popErrorScope: () => {
        const { message } = this.#scopes.pop()!;
        return Promise.resolve(message === null ? null : { message });
      },
    };
  }
}

/** The WebGPU device on a stub, and the stub. */
export function openStubDevice(
  options: StubOptions & WebGpuDeviceOptions = {},
): { readonly device: WebGpuDevice; readonly stub: StubGpu } {
  const stub = new StubGpu(options);
  const { name, software } = stub.card;
  const adapter: OpenedAdapter = { gpu: stub.gpu, name, software };
  return { device: new WebGpuDevice(adapter, options), stub };
}
