/** What the model wants to know of a program, read from its WGSL. */

/** Sizes of a workgroup. */
export interface GroupSizes {
  readonly threads: number;
  readonly sharedBytes: number;
  /** An estimate: the accumulators that a thread keeps in variables, and 40 for all else. */
  readonly registers: number;
  /** By buffer, the bytes that a thread loads from it at once: of all loads in the text of a loop, two at least, as loops are unrolled. */
  readonly loadBytes: Readonly<Record<string, number>>;
}

/** What a thread has room for. */
const mostLoadBytes = 256;

const typeBytes: Readonly<Record<string, number>> = {
  ...{ f32: 4, u32: 4, i32: 4, f16: 2, "atomic<u32>": 4, vec2f: 8, vec2u: 8, vec4f: 16, vec4u: 16, vec4h: 8 },
};

function bytesOf(type: string): number {
  const array = /^array<(.+), (\d+)u?>$/.exec(type.trim());
  if (array) return bytesOf(array[1]) * Number(array[2]);
  const bytes = typeBytes[type.trim()];
  if (bytes === undefined) throw new Error(`count: WGSL type ${type} is not known`);
  return bytes;
}

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);

/** Reads threads, workgroup memory, registers and width of loads from the text of a module. */
export function groupSizes(wgsl: string): GroupSizes {
  const size = /@workgroup_size\((\d+)(?:, *(\d+))?(?:, *(\d+))?\)/.exec(wgsl);
  if (!size) throw new Error("count: the program has no @workgroup_size");
  const threads = size.slice(1).reduce((product, n) => product * Number(n ?? 1), 1);
  const shared = sum(wgsl.matchAll(/var<workgroup> \w+: ([^;]+);/g).map(([, type]) => bytesOf(type)));
  const main = wgsl.slice(wgsl.indexOf("fn main"));
  const lanes = sum(main.matchAll(/var \w+ = vec([24])f\(/g).map(([, width]) => Number(width))) +
    [...main.matchAll(/var \w+ = 0\.0;/g)].length;
  const queries = [...main.matchAll(/let q\w* = q\[/g)].length;
  const arrays = sum(main.matchAll(/var \w+: (array<[^;=]+>)\s*[;=]/g).map(([, type]) => bytesOf(type) / 4));
  const buffers = wgsl.matchAll(/var<storage, read(?:_write)?> (\w+): array<([^>]+)>;/g);
  const loadBytes = Object.fromEntries(buffers.map(([, name, type]) => {
    const loads = main.split("for (").map((part) => [...part.matchAll(new RegExp(`\\b${name}\\[`, "g"))].length);
    return [name, Math.min(mostLoadBytes, Math.max(2, ...loads) * bytesOf(type))];
  }));
  return {
    threads,
    sharedBytes: shared,
    registers: Math.min(255, 40 + lanes + 4 * queries + arrays),
    loadBytes,
  };
}
