/**
 * Caches pipelines by program and bind groups by buffers.
 * Layouts are explicit, because a bind group for an automatic layout fits one pipeline only.
 */
import { moduleText, paramBytes, type Program, type ScalarType } from "./program.ts";
import type { Resource } from "./pool.ts";

/** A built program. */
export interface Pipeline {
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly layoutKey: string;
  readonly params: readonly (readonly [name: string, type: ScalarType])[];
  readonly bufferNames: readonly string[];
}

/** Bind groups kept before the cache is emptied; each costs about 9 us to make again. */
const maxBindGroups = 8192;

export class PipelineCache {
  #pipelines = new Map<string, Pipeline>();
  #layouts = new Map<string, { bind: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();
  #bindGroups = new Map<string, GPUBindGroup>();
  /** Cache keys in which a buffer or texture occurs, to drop them with the buffer. */
  #keysOfSlot = new Map<number, string[]>();
  readonly #paramLayout: GPUBindGroupLayout;
  readonly paramGroup: GPUBindGroup;

  constructor(readonly gpu: GPUDevice, paramBuffer: GPUBuffer) {
    this.#paramLayout = gpu.createBindGroupLayout({
      label: "params",
      entries: [{
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 0 },
      }],
    });
    this.paramGroup = gpu.createBindGroup({
      label: "params",
      layout: this.#paramLayout,
      entries: [{ binding: 0, resource: { buffer: paramBuffer, size: paramBytes } }],
    });
  }

  get pipelineCount(): number {
    return this.#pipelines.size;
  }

  get bindGroupCount(): number {
    return this.#bindGroups.size;
  }

  /** The pipeline of a program, built on first use. Build errors go to the caller's error scope. */
  get(program: Program): Pipeline {
    const key = `${program.kernel}:${program.variant}`;
    return this.#pipelines.get(key) ?? this.#build(key, program);
  }

  has(program: Program): boolean {
    return this.#pipelines.has(`${program.kernel}:${program.variant}`);
  }

  #build(key: string, program: Program): Pipeline {
    const source = program.build();
    const accesses = Object.values(source.buffers).map((b) => b.access);
    const layoutKey = accesses.map((a) => a[0]).join("");
    let layout = this.#layouts.get(layoutKey);
    if (!layout) {
      const bind = this.gpu.createBindGroupLayout({
        label: layoutKey,
        entries: accesses.map((access, binding) => ({
          binding,
          visibility: GPUShaderStage.COMPUTE,
          ...(access === "texture"
            ? { texture: { sampleType: "unfilterable-float" } }
            : { buffer: { type: access === "read" ? "read-only-storage" : "storage" } }),
        })),
      });
      layout = { bind, pipeline: this.gpu.createPipelineLayout({ bindGroupLayouts: [this.#paramLayout, bind] }) };
      this.#layouts.set(layoutKey, layout);
    }
    const module = this.gpu.createShaderModule({ label: key, code: moduleText(source) });
    const pipeline: Pipeline = {
      name: key,
      pipeline: this.gpu.createComputePipeline({
        label: key,
        layout: layout.pipeline,
        compute: { module, entryPoint: "main" },
      }),
      layout: layout.bind,
      layoutKey,
      params: Object.entries(source.params),
      bufferNames: Object.keys(source.buffers),
    };
    this.#pipelines.set(key, pipeline);
    return pipeline;
  }

  bindGroup(pipeline: Pipeline, slots: readonly Resource[]): GPUBindGroup {
    let key = pipeline.layoutKey;
    for (const slot of slots) key += `,${slot.id}`;
    let group = this.#bindGroups.get(key);
    if (group) return group;
    if (this.#bindGroups.size >= maxBindGroups) {
      this.#bindGroups.clear();
      this.#keysOfSlot.clear();
    }
    group = this.gpu.createBindGroup({
      layout: pipeline.layout,
      entries: slots.map((slot, binding) => ({ binding, resource: slot.binding })),
    });
    this.#bindGroups.set(key, group);
    for (const slot of slots) {
      const keys = this.#keysOfSlot.get(slot.id);
      if (keys) keys.push(key);
      else this.#keysOfSlot.set(slot.id, [key]);
    }
    return group;
  }

  /** Drops the bind groups of a buffer or texture that is about to be destroyed. */
  forget(slot: Resource): void {
    for (const key of this.#keysOfSlot.get(slot.id) ?? []) this.#bindGroups.delete(key);
    this.#keysOfSlot.delete(slot.id);
  }
}
