/**
 * Both families of tiles on one adapter: the kernels for hardware and those for software agree, at shapes of the networks.
 * The absolute truth is tested in ../kernels_*_test.ts; here sizes are larger than a float64 reference has time for.
 */
import assert from "node:assert/strict";
import type { KernelName, Kernels, Storage } from "../../../core/tensor/kernels.ts";
import { openWebGpuDevice, type WebGpuDevice } from "../../../core/wgsl/mod.ts";
import { Inputs } from "../kernels/check.ts";
import { cpuOnly } from "../devices.ts";

/** Runs `fn` on both families and returns what it read, software first. */
async function onBoth(fn: (device: WebGpuDevice) => Promise<Float32Array>): Promise<[Float32Array, Float32Array]> {
  const results: Float32Array[] = [];
  for (const tiles of ["software", "hardware"] as const) {
    const device = await openWebGpuDevice({ allowSoftware: true, tiles });
    results.push(await fn(device));
    device.close();
  }
  return [results[0], results[1]];
}

/** A kernel over random inputs; `shapes` gives the number of elements of every input. */
function runOn<K extends KernelName>(
  kernel: K,
  shapes: Record<string, number>,
  outSize: number,
  args: (device: WebGpuDevice, inputs: Record<string, Storage>, out: Storage) => Kernels[K],
): (device: WebGpuDevice) => Promise<Float32Array> {
  return async (device) => {
    const random = new Inputs(11);
    const inputs: Record<string, Storage> = {};
    for (const [name, n] of Object.entries(shapes)) {
      inputs[name] = device.alloc(n * 4);
      device.write(inputs[name], random.f32(n));
    }
    const out = device.alloc(outSize * 4);
    device.run(kernel, args(device, inputs, out));
    return new Float32Array(await device.read(out, outSize * 4));
  };
}

/**
 * Both are float32 sums of the same `terms` products in different orders; the difference of two such sums grows with the
 * square root of their number, and 16 roundings per term of the largest result bound it.
 */
function assertAgree([a, b]: [Float32Array, Float32Array], terms: number) {
  let largest = 0;
  let difference = 0;
  for (let i = 0; i < a.length; i++) {
    largest = Math.max(largest, Math.abs(a[i]));
    difference = Math.max(difference, Math.abs(a[i] - b[i]));
    assert.ok(Number.isFinite(a[i]) && Number.isFinite(b[i]), `element ${i} is ${a[i]} and ${b[i]}`);
  }
  assert.ok(largest > 0);
  const allowed = 16 * Math.sqrt(terms) * 2 ** -24 * largest;
  assert.ok(difference <= allowed, `results differ by ${difference}, allowed ${allowed}`);
}

if (!cpuOnly) {
  for (const type of ["f32", "f16"] as const) {
    Deno.test(`both families of tiles agree: linear layer of 257 x 768 -> 512 with everything, ${type} weight`, async () => {
      const [m, k, n] = [257, 768, 512];
      const shapes = { a: m * k, w: n * k, bias: n, gate: 6 * n, residual: m * n };
      const fn = runOn("matmul", shapes, m * n, (device, { a, w, bias, gate, residual }, out) => {
        const b = device.alloc(device.packedBytes("linear", [n, k], type));
        device.run("packLinear", { x: w, out: b, n, k, xType: "f32", outType: type });
        return {
          a,
          b,
          out,
          batch: 1,
          m,
          n,
          k,
          aBatchStride: 0,
          bBatchStride: 0,
          transA: false,
          transB: false,
          packed: true,
          bType: type,
          epilogue: {
            bias,
            activation: "gelu",
            gate: { data: gate, seq: m, batchStride: 0, rowStride: 0, offset: 2 * n },
            residual,
          },
        };
      });
      assertAgree(await onBoth(fn), k);
    });
  }

  Deno.test("both families of tiles agree: 3x3 convolution with upsampling, 64 -> 96 channels", async () => {
    const [h, cIn, cOut] = [16, 64, 96];
    const shapes = { x: 2 * h * h * cIn, w: cOut * cIn * 9, bias: cOut, residual: 8 * h * h * cOut };
    const fn = runOn("conv2d", shapes, 8 * h * h * cOut, (device, { x, w, bias, residual }, out) => {
      const weight = device.alloc(device.packedBytes("conv", [cOut, cIn, 3, 3], "f32"));
      device.run("packConv", { x: w, out: weight, cOut, cIn, kh: 3, kw: 3, xType: "f32", outType: "f32" });
      return {
        x,
        weight,
        out,
        bias,
        residual,
        activation: "silu",
        batch: 2,
        h,
        w: h,
        cIn,
        cOut,
        kh: 3,
        kw: 3,
        stride: 1,
        upsample: 2,
        padTop: 1,
        padLeft: 1,
        outH: 2 * h,
        outW: 2 * h,
        wType: "f32",
      };
    });
    assertAgree(await onBoth(fn), 9 * cIn);
  });

  for (const [heads, headDim] of [[4, 48], [2, 88], [1, 256]]) {
    Deno.test(`both families of tiles agree: causal attention of 257 rows, ${heads} heads of ${headDim}`, async () => {
      const rows = 257;
      const size = rows * heads * headDim;
      const fn = runOn("attention", { q: size, k: size, v: size }, size, (device, { q, k, v }, out) => {
        const visible = device.alloc(rows * 4);
        device.write(visible, Int32Array.from({ length: rows }, (_, i) => i + 1));
        const scale = 4 / Math.sqrt(headDim);
        return { q, k, v, out, visible, batch: 1, heads, headDim, lq: rows, lk: rows, kvCapacity: rows, scale };
      });
      assertAgree(await onBoth(fn), rows);
    });
  }

  Deno.test("both families of tiles agree: group norm of 64 x 64 x 128, layer norm, softmax", async () => {
    const [hw, c] = [4096, 128];
    assertAgree(
      await onBoth(runOn("groupNorm", { x: hw * c, gamma: c, beta: c }, hw * c, (_, { x, gamma, beta }, out) => ({
        x,
        gamma,
        beta,
        out,
        batch: 1,
        hw,
        c,
        groups: 32,
        eps: 1e-6,
        activation: "silu",
      }))),
      4,
    );
    const [rows, n] = [200, 1024];
    assertAgree(
      await onBoth(runOn("layerNorm", { x: rows * n }, rows * n, (_, { x }, out) => ({ x, out, rows, n, eps: 1e-6 }))),
      4,
    );
    assertAgree(
      await onBoth(runOn("softmax", { x: rows * n }, rows * n, (_, { x }, out) => ({ x, out, rows, n, log: true }))),
      4,
    );
  });
}
