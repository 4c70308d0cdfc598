/**
 * Memory of the WebGPU device: size classes, reuse, return to the old level after a pass, giving back.
 */
import assert from "node:assert/strict";
import { openWebGpuDevice, type WebGpuDevice } from "../../../core/wgsl/mod.ts";
import { sizeClass } from "../../../core/wgsl/pool.ts";
import type { Storage } from "../../../core/tensor/kernels.ts";
import { Inputs } from "../kernels/check.ts";
import { cpuOnly } from "../devices.ts";

const MIB = 2 ** 20;

async function withDevice(
  options: { tiles?: "hardware" | "software"; memoryBytes?: number },
  fn: (device: WebGpuDevice) => Promise<void>,
): Promise<void> {
  const device = await openWebGpuDevice({ allowSoftware: true, ...options });
  try {
    await fn(device);
  } finally {
    device.close();
  }
}

/** A conv, norm, matmul and attention pass over buffers of its own; packs its weights anew. Returns one number. */
async function pass(device: WebGpuDevice): Promise<number> {
  const inputs = new Inputs(7);
  const made: Storage[] = [];
  const upload = (n: number) => {
    const storage = device.alloc(n * 4);
    device.write(storage, inputs.f32(n));
    made.push(storage);
    return storage;
  };
  const empty = (bytes: number) => {
    const storage = device.alloc(bytes);
    made.push(storage);
    return storage;
  };
  const [h, c, rows, heads, headDim] = [8, 32, 64, 2, 16];
  const image = upload(rows * c);
  const conv = empty(device.packedBytes("conv", [c, c, 3, 3], "f32"));
  device.run("packConv", {
    x: upload(c * c * 9),
    out: conv,
    cOut: c,
    cIn: c,
    kh: 3,
    kw: 3,
    xType: "f32",
    outType: "f32",
  });
  const filtered = empty(rows * c * 4);
  device.run("conv2d", {
    x: image,
    weight: conv,
    out: filtered,
    bias: upload(c),
    activation: "silu",
    batch: 1,
    h,
    w: h,
    cIn: c,
    cOut: c,
    kh: 3,
    kw: 3,
    stride: 1,
    upsample: 1,
    padTop: 1,
    padLeft: 1,
    outH: h,
    outW: h,
    wType: "f32",
  });
  const normed = empty(rows * c * 4);
  device.run("groupNorm", {
    x: filtered,
    gamma: upload(c),
    beta: upload(c),
    out: normed,
    batch: 1,
    hw: rows,
    c,
    groups: 8,
    eps: 1e-6,
    activation: "none",
  });
  const weight = empty(device.packedBytes("linear", [c, c], "f16"));
  device.run("packLinear", { x: upload(c * c), out: weight, n: c, k: c, xType: "f32", outType: "f16" });
  const projected = empty(rows * c * 4);
  device.run("matmul", {
    a: normed,
    b: weight,
    out: projected,
    batch: 1,
    m: rows,
    n: c,
    k: c,
    aBatchStride: 0,
    bBatchStride: 0,
    transA: false,
    transB: false,
    packed: true,
    bType: "f16",
    epilogue: { activation: "gelu", residual: image },
  });
  const attended = empty(rows * c * 4);
  device.run("attention", {
    q: projected,
    k: normed,
    v: image,
    out: attended,
    batch: 1,
    heads,
    headDim,
    lq: rows,
    lk: rows,
    kvCapacity: rows,
    scale: 0.25,
  });
  const sum = empty(4);
  device.run("reduce", { op: "mean", x: attended, out: sum, outer: 1, n: rows * c, inner: 1 });
  const result = new Float32Array(await device.read(sum, 4))[0];
  for (const storage of made) device.free(storage);
  return result;
}

Deno.test("sizeClass() wastes at most 1/64, never shrinks, and is a multiple of 256", () => {
  let last = 0;
  for (let bytes = 1; bytes < 200 * MIB; bytes = Math.ceil(bytes * 1.01)) {
    const size = sizeClass(bytes);
    assert.ok(size >= bytes && size % 256 === 0 && size >= last, `${bytes} gives ${size}`);
    assert.ok(size <= bytes * 65 / 64 + 256, `${bytes} gives ${size}`);
    assert.equal(sizeClass(size), size);
    last = size;
  }
});

if (!cpuOnly) {
  Deno.test("alloc() reuses freed memory of the same class, and trim() gives it back", async () => {
    await withDevice({}, async (device) => {
      const first = device.alloc(MIB);
      const { liveBytes } = device.memory();
      assert.ok(liveBytes >= MIB && liveBytes <= 65 / 64 * MIB);
      device.free(first);
      assert.deepEqual(
        [device.memory().liveBytes, device.memory().pooledBytes, device.memory().liveCount],
        [0, liveBytes, 0],
      );
      const second = device.alloc(MIB - 100);
      assert.equal(device.memory().pooledBytes, 0);
      assert.equal(device.memory().peakBytes, liveBytes);
      device.free(second);
      device.trim();
      assert.equal(device.memory().pooledBytes, 0);
      await device.sync();
    });
  });

  Deno.test("free() refuses storage that was freed before", async () => {
    await withDevice({}, async (device) => {
      const storage = device.alloc(64);
      device.free(storage);
      assert.throws(() => device.free(storage), /freed before/);
      await device.sync();
    });
  });

  Deno.test("freed memory beyond the limit is given back when something else is needed", async () => {
    await withDevice({ memoryBytes: 4 * MIB }, async (device) => {
      const storages = Array.from({ length: 4 }, () => device.alloc(MIB));
      for (const storage of storages) device.free(storage);
      const large = device.alloc(2 * MIB);
      assert.deepEqual([device.memory().liveBytes, device.memory().pooledBytes], [2 * MIB, 2 * MIB]);
      device.write(large, new Float32Array(4).fill(3));
      assert.deepEqual(new Float32Array(await device.read(large, 16)), new Float32Array(4).fill(3));
    });
  });

  Deno.test("trim() before the recorded commands ran does not disturb them", async () => {
    await withDevice({}, async (device) => {
      const [x, y, z] = [device.alloc(1024), device.alloc(1024), device.alloc(1024)];
      device.write(x, new Float32Array(256).fill(3));
      device.run("unary", { op: "square", x, out: y, n: 256, a: 0, b: 0 });
      device.run("unary", { op: "neg", x: y, out: z, n: 256, a: 0, b: 0 });
      device.free(x);
      device.free(y);
      device.trim();
      assert.deepEqual(new Float32Array(await device.read(z, 1024)), new Float32Array(256).fill(-9));
      device.free(z);
    });
  });

  for (const tiles of ["software", "hardware"] as const) {
    Deno.test(`live bytes return to where they were after a pass, and the pool stops growing [${tiles}]`, async () => {
      await withDevice({ tiles }, async (device) => {
        const kept = device.alloc(5000);
        const before = device.memory();
        const first = await pass(device);
        const after = device.memory();
        assert.equal(after.liveBytes, before.liveBytes);
        assert.equal(after.liveCount, before.liveCount);
        for (let i = 0; i < 5; i++) assert.equal(await pass(device), first);
        assert.deepEqual(device.memory(), after);
        device.free(kept);
        device.trim();
        assert.deepEqual([device.memory().liveBytes, device.memory().pooledBytes], [0, 0]);
      });
    });

    Deno.test(`pipelines and bind groups are made once [${tiles}]`, async () => {
      await withDevice({ tiles }, async (device) => {
        await pass(device);
        await pass(device);
        const { pipelines } = device.recorder;
        const counts = [pipelines.pipelineCount, pipelines.bindGroupCount];
        assert.ok(counts[0] > 5 && counts[1] > 5);
        await pass(device);
        assert.deepEqual([pipelines.pipelineCount, pipelines.bindGroupCount], counts);
        device.trim();
        assert.equal(pipelines.bindGroupCount, 0);
      });
    });
  }
}
