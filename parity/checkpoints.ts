/** Case 11: checkpoint files with expected names, shapes, types and values. */
import { openCheckpoint } from "../models/checkpoint/mod.ts";
import type { Comparison, ParityCase } from "./case.ts";

interface ExpectedTensor {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly sha256_f32: string;
}

const storedNames: Readonly<Record<string, string>> = {
  float64: "f64",
  float32: "f32",
  float16: "f16",
  bfloat16: "bf16",
  int64: "i64",
  int32: "i32",
  int16: "i16",
  int8: "i8",
  uint8: "u8",
  bool: "bool",
};

/** One comparison per tensor of every file: present, shape, stored type, and the bytes of its float32 values. */
export async function* checkpoints(parityCase: ParityCase): AsyncGenerator<Comparison> {
  const files: Record<string, { tensors: Record<string, ExpectedTensor> }> = parityCase.manifest.files;
  for (const [file, { tensors }] of Object.entries(files)) {
    const source = await openCheckpoint(`${parityCase.folder}/checkpoints/${file}`);
    try {
      for (const [name, expected] of Object.entries(tensors)) {
        const info = source.tensors.get(name);
        const problem = info === undefined
          ? "not in the file"
          : info.shape.join() !== expected.shape.join()
          ? `expected shape [${expected.shape}], got [${info.shape}]`
          : info.dtype !== (storedNames[expected.dtype] ?? expected.dtype)
          ? `expected ${expected.dtype}, got ${info.dtype}`
          : await sha256(await source.readF32(name)) !== expected.sha256_f32
          ? "values differ"
          : undefined;
        yield result(`${file}:${name}`, problem, info === undefined);
      }
      for (const name of source.tensors.keys()) {
        if (!(name in tensors)) yield result(`${file}:${name}`, "in the file, but not expected", false);
      }
    } finally {
      source.close();
    }
  }
}

function result(tensor: string, problem: string | undefined, missing: boolean): Comparison {
  return {
    tensor,
    maxAbs: problem ? Infinity : 0,
    relative: problem ? Infinity : 0,
    tolerance: 0,
    verdict: problem ? missing ? "MISSING" : "FAIL" : "ok",
    note: problem,
  };
}

async function sha256(values: Float32Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", values);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
