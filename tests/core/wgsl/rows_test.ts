/** Kernels over rows on the WebGPU device: more rows than a dispatch has workgroups in one dimension, in place. */
import assert from "node:assert/strict";
import type { Storage } from "../../../core/tensor/kernels.ts";
import { rowGroups, rowKernel } from "../../../core/wgsl/kernels/row_kernel.ts";
import type { WebGpuDevice } from "../../../core/wgsl/mod.ts";
import { cpuOnly, openWebGpuForTests } from "../devices.ts";

/** One more than a dimension has workgroups: two dimensions of 32769 x 2 workgroups, one too many. */
const rows = 65537;

function put(device: WebGpuDevice, values: Float32Array): Storage {
  const storage = device.alloc(values.byteLength);
  device.write(storage, values);
  return storage;
}

if (!cpuOnly) {
  for (const tiles of ["software", "hardware"] as const) {
    Deno.test(`every one of ${rows} rows is computed once [${tiles}]`, async () => {
      const device = await openWebGpuForTests({ tiles }) as WebGpuDevice;
      const x = put(device, Float32Array.from({ length: rows }, (_, i) => i % 100));
      device.dispatch(
        {
          kernel: "double",
          variant: tiles,
          build: () => ({
            params: { rows: "u32" },
            buffers: { x: { type: "array<f32>", access: "write" } },
            code: rowKernel(tiles, "let sum = rowSum(select(0.0, x[r], lead)); if (lead) { x[r] += sum; }"),
          }),
        },
        { x },
        { rows },
        rowGroups(tiles, rows),
      );
      const found = new Float32Array(await device.read(x, 4 * rows));
      assert.deepEqual(found, Float32Array.from({ length: rows }, (_, i) => 2 * (i % 100)));
      device.close();
    });
  }

  Deno.test("NaN, infinity and zero in exp, log and pow", async () => {
    const device = await openWebGpuForTests() as WebGpuDevice;
    const x = Float32Array.of(NaN, Infinity, -Infinity, 0, -0, -1, -2e-38, 1);
    const values = async (op: "exp" | "log" | "power", a: number) => {
      const [input, out] = [put(device, x), device.alloc(x.byteLength)];
      device.run("unary", { op, x: input, out, n: x.length, a, b: 0 });
      return [...new Float32Array(await device.read(out, x.byteLength))];
    };
    const nan = NaN, inf = Infinity;
    const exp = await values("exp", 0);
    assert.deepEqual(exp.slice(0, 5), [nan, inf, 0, 1, 1]);
    assert.deepEqual(await values("log", 0), [nan, inf, nan, -inf, -inf, nan, nan, 0]);
    assert.deepEqual((await values("power", -1)).slice(3, 5), [inf, inf]);
    assert.deepEqual((await values("power", 0)).slice(3, 5), [1, 1]);
    assert.deepEqual((await values("power", 2)).slice(3, 5), [0, 0]);
    device.close();
  });
}
