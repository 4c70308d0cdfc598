/**
 * WGSL programs of kernels, with named parameters and buffers, and pieces of WGSL that kernels share.
 * pipelines.ts builds them, once per specialisation.
 */
import type { Device } from "../tensor/device.ts";
import type { Storage } from "../tensor/kernels.ts";
import { mathFunctions } from "./math.ts";

/** Types of parameters. */
export type ScalarType = "u32" | "i32" | "f32";

/** A buffer as WGSL sees it, such as `{ type: "array<vec4f>", access: "read" }`, or a texture of floats. */
export type BufferBinding =
  | { readonly type: string; readonly access: "read" | "write" }
  | { readonly access: "texture" };

/** `code` uses the parameters as `p.name`, the buffers by name, and defines `fn main`. */
export interface ProgramSource {
  /** Scalars by name, at most 64. */
  readonly params: Readonly<Record<string, ScalarType>>;
  /** Buffers by name. */
  readonly buffers: Readonly<Record<string, BufferBinding>>;
  /** WGSL. */
  readonly code: string;
  /** WGSL extensions that the code enables, such as f16. */
  readonly extensions?: readonly string[];
}

/** A program and the key under which its pipeline is cached: kernel name, then what it is specialised for. */
export interface Program {
  /** For the cache, and for messages. */
  readonly kernel: string;
  /** What the program is specialised for; any text that tells its programs apart. */
  readonly variant: string;
  /** Makes the program's text, once per kernel and variant. */
  readonly build: () => ProgramSource;
}

/** Workgroups of a dispatch. */
export type Groups = readonly [x: number, y: number, z: number];

/** A WebGPU device, for kernels of your own; see examples/own_kernel.ts. */
export interface WgslDevice extends Device {
  /**
   * Records a program over `groups` workgroups. `buffers` and `params` are those that the program names. Storages
   * belong to this device and are not packed weights; errors of the GPU surface when something is read back.
   */
  dispatch(
    program: Program,
    buffers: Readonly<Record<string, Storage>>,
    params: Record<string, number>,
    groups: Groups,
  ): void;
}

/** Bytes of one set of parameters. A multiple of every adapter's minUniformBufferOffsetAlignment (256 at most). */
export const paramBytes = 256;

/** The text of a module: parameter struct, bindings, used math functions, the kernel's code. */
export function moduleText(source: ProgramSource): string {
  const fields = Object.entries(source.params);
  if (fields.length * 4 > paramBytes) throw new Error(`webgpu: ${fields.length} parameters are too many`);
  const struct = fields.length === 0 ? "unused: u32" : fields.map(([name, type]) => `${name}: ${type}`).join(", ");
  const bindings = Object.entries(source.buffers).map(([name, binding], i) => {
    const at = `@group(1) @binding(${i})`;
    if (binding.access === "texture") return `${at} var ${name}: texture_2d<f32>;`;
    return `${at} var<storage, ${binding.access === "read" ? "read" : "read_write"}> ${name}: ${binding.type};`;
  });
  return [
    ...(source.extensions ?? []).map((extension) => `enable ${extension};`),
    `struct Params { ${struct} }`,
    "@group(0) @binding(0) var<uniform> p: Params;",
    ...bindings,
    mathFunctions(source.code),
    source.code,
  ].join("\n");
}

/**
 * Splits `count` workgroups over the dimensions of a dispatch, each at most 65535. In WGSL, `groupIndex` is the number
 * of a workgroup. The last groups may be beyond `count`, so kernels check it.
 */
export function linearGroups(count: number, limit = 65535): Groups {
  if (count <= limit) return [Math.max(1, count), 1, 1];
  const y = Math.ceil(count / limit);
  if (y <= limit) return [Math.ceil(count / y), y, 1];
  const z = Math.ceil(y / limit);
  return [limit, Math.ceil(y / z), z];
}

/** The parameters of `main` that `groupIndex` and `threadIndex` need. */
export const mainInputs =
  "@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) wn: vec3u, @builtin(local_invocation_index) lid: u32";

/** WGSL expression: the number of this workgroup. */
export const groupIndex = "(wid.x + wn.x * (wid.y + wn.y * wid.z))";

/**
 * Threads of a workgroup where each thread has a long loop. A software adapter runs a workgroup on one core, so small ones spread
 * the work; a card needs whole warps.
 */
export const loopThreads = { software: 8, hardware: 64 } as const;

/** `fn main` for one thread per item: `i` counts items, and threads with `i >= count` have returned. */
export function perItem(groupSize: number, count: string, body: string): string {
  return `
@compute @workgroup_size(${groupSize})
fn main(${mainInputs}) {
  let i = ${groupIndex} * ${groupSize}u + lid;
  if (i >= ${count}) { return; }
  ${body}
}`;
}

/**
 * WGSL: out[i] = the vec4 `value`, limited to elements below `p.n`: memory behind a tensor's end keeps its contents.
 */
export function storeFour(value: string): string {
  return `
  if (4u * i + 3u < p.n) {
    out[i] = ${value};
  } else {
    let lanes = 4u * i + vec4u(0u, 1u, 2u, 3u);
    out[i] = select(out[i], ${value}, lanes < vec4u(p.n));
  }`;
}
