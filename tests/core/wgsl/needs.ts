/** What a WGSL program needs of an adapter, read from its text, and what WebGPU guarantees of every adapter. */

export interface Needs {
  readonly storageBuffers: number;
  /** Sampled textures. */
  readonly textures: number;
  /** Threads of a workgroup. */
  readonly invocations: number;
  /** Workgroup memory, each variable rounded up to 16 bytes as in WebGPU's validation. */
  readonly workgroupBytes: number;
}

/** Default limits of a device: https://www.w3.org/TR/webgpu/#limits. */
export const guaranteed: Needs = { storageBuffers: 8, textures: 16, invocations: 256, workgroupBytes: 16384 };

/** Throws for sizes that it cannot read, so that none is overlooked. */
export function needsOf(wgsl: string): Needs {
  let workgroupBytes = 0;
  for (const [, type] of wgsl.matchAll(/var<workgroup>\s+\w+\s*:\s*([^;=]+)/g)) {
    workgroupBytes += Math.ceil(sizeOf(type.trim()) / 16) * 16;
  }
  let invocations = 0;
  for (const [text, sizes] of wgsl.matchAll(/@workgroup_size\(([^)]*)\)/g)) {
    const threads = sizes.split(",").map(Number).reduce((product, size) => product * size, 1);
    if (!(threads > 0)) throw new Error(`needs: cannot read ${text}`);
    invocations = Math.max(invocations, threads);
  }
  if (invocations === 0) throw new Error("needs: no @workgroup_size");
  return {
    storageBuffers: wgsl.match(/var<storage\b/g)?.length ?? 0,
    textures: wgsl.match(/:\s*texture_2d</g)?.length ?? 0,
    invocations,
    workgroupBytes,
  };
}

const scalars: Readonly<Record<string, number>> = { f32: 4, u32: 4, i32: 4, f16: 2 };
const suffixes: Readonly<Record<string, string>> = { f: "f32", u: "u32", i: "i32", h: "f16" };

/** Bytes of a type in workgroup memory: scalars, atomics, vectors, arrays of a number of them. */
function sizeOf(type: string): number {
  const array = /^array<(.+),\s*(\d+)>$/.exec(type);
  if (array) return sizeOf(array[1]) * Number(array[2]);
  const atomic = /^atomic<(\w+)>$/.exec(type);
  if (atomic) return sizeOf(atomic[1]);
  const vector = /^vec([24])(?:<(\w+)>|([fuih]))$/.exec(type); // of three elements there are gaps
  if (vector) return Number(vector[1]) * sizeOf(vector[2] ?? suffixes[vector[3]]);
  if (type in scalars) return scalars[type];
  throw new Error(`needs: cannot read the size of ${type}`);
}
