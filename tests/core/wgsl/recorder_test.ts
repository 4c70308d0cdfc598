/**
 * Order and errors of the WebGPU device: what is submitted when, and who hears of a failure.
 */
import assert from "node:assert/strict";
import { openWebGpuDevice, probeWebGpu, type WebGpuDevice } from "../../../core/wgsl/mod.ts";
import type { Program } from "../../../core/wgsl/program.ts";
import type { Storage } from "../../../core/tensor/kernels.ts";
import { cpuOnly } from "../devices.ts";

async function withDevice(fn: (device: WebGpuDevice) => Promise<void>): Promise<void> {
  const device = await openWebGpuDevice({ allowSoftware: true });
  try {
    await fn(device);
  } finally {
    device.close();
  }
}

const N = 64;

function affine(device: WebGpuDevice, x: Storage, out: Storage, a: number, b: number) {
  device.run("unary", { op: "affine", x, out, n: N, a, b });
}

async function floats(device: WebGpuDevice, storage: Storage): Promise<Float32Array> {
  return new Float32Array(await device.read(storage, 4 * N));
}

function filled(device: WebGpuDevice, value: number): Storage {
  const storage = device.alloc(4 * N);
  device.write(storage, new Float32Array(N).fill(value));
  return storage;
}

function programOf(kernel: string, code: string): Program {
  return {
    kernel,
    variant: "test",
    build: () => ({ params: {}, buffers: { out: { type: "array<f32>", access: "write" } }, code }),
  };
}

const good = "@compute @workgroup_size(1) fn main() { out[0] = 1.0; }";

if (!cpuOnly) {
  Deno.test("write() to a buffer that recorded commands use submits them first, to another one does not", async () => {
    await withDevice(async (device) => {
      const [x, y, out] = [filled(device, 1), filled(device, 1), filled(device, 0)];
      affine(device, x, out, 10, 0);
      const { submits } = device.recorder;
      device.write(y, new Float32Array(N).fill(2));
      assert.equal(device.recorder.submits, submits);
      device.write(x, new Float32Array(N).fill(3));
      assert.equal(device.recorder.submits, submits + 1);
      assert.deepEqual(await floats(device, out), new Float32Array(N).fill(10));
      assert.deepEqual(await floats(device, x), new Float32Array(N).fill(3));
    });
  });

  Deno.test("more dispatches than one submit takes run in order, each with its own parameters", async () => {
    await withDevice(async (device) => {
      let [x, y] = [filled(device, 0), filled(device, 0)];
      let expected = 0;
      for (let i = 0; i < 1000; i++) {
        affine(device, x, y, i % 2 === 0 ? 1 : -1, i % 7);
        expected = (i % 2 === 0 ? expected : -expected) + i % 7;
        [x, y] = [y, x];
      }
      assert.deepEqual(await floats(device, x), new Float32Array(N).fill(expected));
      assert.ok(device.recorder.submits < 10);
    });
  });

  Deno.test("a kernel that does not compile is named by the next sync, and the device goes on", async () => {
    await withDevice(async (device) => {
      const x = filled(device, 2);
      device.dispatch(programOf("brokenKernel", "fn main( {"), { out: x }, {}, [1, 1, 1]);
      await assert.rejects(() => device.sync(), /brokenKernel/);
      const out = filled(device, 0);
      affine(device, x, out, 3, 1);
      assert.deepEqual(await floats(device, out), new Float32Array(N).fill(7));
    });
  });

  Deno.test("a kernel that does not compile is named by the next read", async () => {
    await withDevice(async (device) => {
      const x = filled(device, 2);
      const wrongType = "@compute @workgroup_size(1) fn main() { out[0] = 1u; }";
      device.dispatch(programOf("wrongType", wrongType), { out: x }, {}, [1, 1, 1]);
      await assert.rejects(() => floats(device, x), /wrongType/);
    });
  });

  Deno.test("a dispatch beyond the limits is reported with the kernels of its submit", async () => {
    await withDevice(async (device) => {
      device.dispatch(programOf("tooManyGroups", good), { out: filled(device, 0) }, {}, [70000, 1, 1]);
      await assert.rejects(() => device.sync(), /tooManyGroups/);
      await device.sync();
      const x = filled(device, 0);
      device.dispatch(programOf("tooManyGroups", good), { out: x }, {}, [70000, 1, 1]);
      await assert.rejects(() => floats(device, x), /tooManyGroups/);
      assert.deepEqual(await floats(device, x), new Float32Array(N).fill(0));
    });
  });

  Deno.test("a missing buffer or parameter is an error at once", async () => {
    await withDevice(async (device) => {
      assert.throws(() => device.dispatch(programOf("good", good), {}, {}, [1, 1, 1]), /good.* needs the buffer out/);
      await device.sync();
    });
  });

  Deno.test("storage of another device is refused by name", async () => {
    await withDevice(async (device) => {
      const out = filled(device, 0);
      assert.throws(() => affine(device, { bytes: 256 }, out, 1, 0), /unary: the storage belongs to another device/);
      await device.sync();
    });
  });

  Deno.test("a packed weight that lives in a texture is refused by kernels that read buffers", async () => {
    const device = await openWebGpuDevice({ allowSoftware: true, tiles: "software" });
    const weight = device.alloc(device.packedBytes("linear", [8, 8], "f32"));
    device.run("packLinear", { x: filled(device, 1), out: weight, n: 8, k: 8, xType: "f32", outType: "f32" });
    assert.throws(
      () => affine(device, weight, filled(device, 0), 1, 0),
      /packed weight can be used by matmul and conv2d/,
    );
    device.free(weight);
    assert.throws(() => device.free(weight), /freed before/);
    await device.sync();
    device.close();
  });

  Deno.test("after the device is lost, calls fail with the reason", async () => {
    const device = await openWebGpuDevice({ allowSoftware: true });
    const x = filled(device, 1);
    device.adapter.gpu.destroy();
    await device.adapter.gpu.lost;
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.throws(() => affine(device, x, x, 1, 0), /webgpu: device lost \(\w+\)/);
    assert.throws(() => device.alloc(16), /device lost/);
    await assert.rejects(() => device.sync(), /device lost/);
    await assert.rejects(() => device.read(x, 4), /device lost/);
    device.close();
  });

  Deno.test("a software adapter is used only when allowed", async () => {
    const { kind, name } = await probeWebGpu();
    assert.notEqual(kind, "none");
    assert.notEqual(name, "");
    if (kind === "hardware") (await openWebGpuDevice()).close();
    else await assert.rejects(() => openWebGpuDevice(), /only the software adapter.*apt-get install/);
  });
}

Deno.test("openWebGpuDevice() without an adapter says what to install", async () => {
  const gpu = navigator.gpu;
  Object.defineProperty(navigator, "gpu", {
    value: { requestAdapter: () => Promise.resolve(null) },
    configurable: true,
    writable: true,
  });
  try {
    assert.deepEqual(await probeWebGpu(), { kind: "none", name: "" });
    await assert.rejects(
      () => openWebGpuDevice({ allowSoftware: true }),
      /no adapter found.*apt-get install mesa-vulkan-drivers libvulkan1/,
    );
  } finally {
    Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true, writable: true });
  }
});
