/** Checkpoints in PyTorch's zip format that are too large to be held in memory: written tensor by tensor. */
import { crc32 } from "node:zlib";
import { bytes, le, type TensorRecipe, tensorsPickle } from "./build.ts";

/** A tensor's name and shape. */
export interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * Writes a float32 checkpoint of less than 4 GiB, which `path` must not name yet. `valuesOf` gives a tensor's values,
 * row-major.
 */
export async function writeTorchFile(
  path: string,
  specs: readonly NamedShape[],
  valuesOf: (tensor: NamedShape) => Float32Array<ArrayBuffer>,
): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  const write = async (data: Uint8Array<ArrayBuffer>) => {
    for (let done = 0; done < data.length;) done += await file.write(data.subarray(done));
    at += data.length;
  };
  const member = async (name: string, data: Uint8Array<ArrayBuffer>) => {
    // Flags, method, time, checksum, both sizes, length of the name.
    const fields = [
      ...[le(0, 2), le(0, 2), le(0, 4), le(crc32(data), 4)],
      ...[le(data.length, 4), le(data.length, 4), le(name.length, 2)],
    ];
    const rest = [le(0, 2), le(0, 2), le(0, 2), le(0, 2), le(0, 4), le(at, 4)];
    directory.push(bytes("PK\x01\x02", le(20, 2), le(20, 2), fields, rest, name));
    await write(bytes("PK\x03\x04", le(20, 2), fields, le(0, 2), name));
    await write(data);
  };
  const recipes = specs.map(({ name, shape }, i): TensorRecipe => {
    return { name, shape, key: String(i), length: shape.reduce((product, d) => product * d, 1) };
  });
  await member("archive/data.pkl", tensorsPickle(recipes));
  for (const [i, spec] of specs.entries()) {
    await member(`archive/data/${i}`, new Uint8Array(valuesOf(spec).buffer));
  }
  await member("archive/version", bytes("3\n"));
  const start = at;
  for (const entry of directory) await write(entry);
  const count = directory.length;
  await write(bytes("PK\x05\x06", le(0, 4), le(count, 2), le(count, 2), le(at - start, 4), le(start, 4), le(0, 2)));
}
