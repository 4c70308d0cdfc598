/**
 * What every device promises apart from its kernels: order of writes, runs and reads, memory accounting, closing, errors.
 * Kernels are used only as carriers of values.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../core/tensor/device.ts";
import type { Storage } from "../../core/tensor/kernels.ts";
import { forAll, Inputs, seed } from "./kernels/check.ts";
import { cpuOnly, openCpuForTests, openWebGpuForTests, withDevices } from "./devices.ts";

const N = 256;
const BYTES = 4 * N;

function constant(value: number): Float32Array {
  return new Float32Array(N).fill(value);
}

async function floats(device: Device, storage: Storage): Promise<Float32Array> {
  return new Float32Array(await device.read(storage, BYTES));
}

/** out = x * a + b, whole numbers, exact on every device. */
function affine(device: Device, x: Storage, out: Storage, a: number, b: number): void {
  device.run("unary", { op: "affine", x, out, n: N, a, b });
}

withDevices("write() does not reach kernels that were recorded before it", async (device) => {
  const [x, first, second] = [device.alloc(BYTES), device.alloc(BYTES), device.alloc(BYTES)];
  device.write(x, constant(1));
  affine(device, x, first, 10, 0);
  device.write(x, constant(2));
  affine(device, x, second, 10, 0);
  device.write(x, constant(3));
  assert.deepEqual(await floats(device, first), constant(10));
  assert.deepEqual(await floats(device, second), constant(20));
  assert.deepEqual(await floats(device, x), constant(3));
  for (const s of [x, first, second]) device.free(s);
});

withDevices("write() does not keep the caller's data", async (device) => {
  const x = device.alloc(BYTES);
  const data = constant(5);
  device.write(x, data);
  data.fill(6);
  assert.deepEqual(await floats(device, x), constant(5));
  device.free(x);
});

withDevices(
  "a freed buffer that is allocated and written again does not disturb kernels recorded with it",
  async (device) => {
    const out = device.alloc(BYTES);
    let x = device.alloc(BYTES);
    device.write(x, constant(1));
    affine(device, x, out, 1, 0);
    // With a pool the next storage is most likely the same memory, several times over.
    const sums: Storage[] = [];
    for (let i = 2; i <= 5; i++) {
      device.free(x);
      x = device.alloc(BYTES);
      device.write(x, constant(i));
      const sum = device.alloc(BYTES);
      affine(device, x, sum, 100, i);
      sums.push(sum);
    }
    device.free(x);
    assert.deepEqual(await floats(device, out), constant(1));
    for (let i = 2; i <= 5; i++) assert.deepEqual(await floats(device, sums[i - 2]), constant(101 * i));
    for (const s of [out, ...sums]) device.free(s);
  },
);

withDevices("read() gives the content at the time of the call, as a copy", async (device) => {
  const [x, y] = [device.alloc(BYTES), device.alloc(BYTES)];
  device.write(x, constant(1));
  const before = floats(device, x);
  device.write(x, constant(2));
  const between = floats(device, x);
  affine(device, x, y, 1, 1);
  device.write(x, constant(9));
  device.free(x);
  const z = device.alloc(BYTES);
  device.write(z, constant(7));
  const [a, b, c] = await Promise.all([before, between, floats(device, y)]);
  assert.deepEqual(a, constant(1));
  assert.deepEqual(b, constant(2));
  assert.deepEqual(c, constant(3));
  c.fill(0);
  assert.deepEqual(await floats(device, y), constant(3));
  device.free(y);
  device.free(z);
});

withDevices("write() and read() take parts of arrays and odd numbers of bytes", async (device) => {
  const x = device.alloc(BYTES);
  device.write(x, constant(0));
  device.write(x, Float32Array.of(1, 2, 3, 4, 5).subarray(1, 4));
  assert.deepEqual([...(await floats(device, x)).subarray(0, 5)], [2, 3, 4, 0, 0]);
  device.write(x, Uint8Array.of(9, 10, 11, 12, 13, 14, 15).subarray(2)); // 5 bytes, from an odd offset
  const bytes = new Uint8Array(await device.read(x, 7));
  assert.equal(bytes.length, 7);
  assert.deepEqual([...bytes.subarray(0, 5)], [11, 12, 13, 14, 15]);
  device.write(x, Float16Array.of(1, 2, 3));
  assert.deepEqual([...new Float16Array(await device.read(x, 6))], [1, 2, 3]);
  device.free(x);
});

withDevices("a smaller write leaves the rest of the storage as it was", async (device) => {
  const x = device.alloc(BYTES);
  device.write(x, constant(4));
  device.write(x, Float32Array.of(1, 2));
  const expected = constant(4);
  expected.set([1, 2]);
  assert.deepEqual(await floats(device, x), expected);
  device.free(x);
});

/** Operations on up to `SLOTS` storages of two sizes, mirrored on the host. */
const SLOTS = 6;
const operation = fc.record({
  kind: fc.constantFrom("alloc", "free", "write", "run", "run", "run", "read"),
  a: fc.nat(SLOTS - 1),
  b: fc.nat(SLOTS - 1),
  value: fc.integer({ min: -3, max: 3 }),
});

withDevices("any order of alloc, write, run, read and free gives what it gives on the host", async (device) => {
  const programs = fc.tuple(fc.array(operation, { minLength: 10, maxLength: 120 }), seed);
  await forAll(device, programs, { cpu: 150, webgpu: 30 }, async ([operations, seed]) => {
    const inputs = new Inputs(seed);
    const slots: ({ storage: Storage; host: Float32Array } | undefined)[] = new Array(SLOTS);
    const reads: Promise<void>[] = [];
    const start = device.memory();
    for (const { kind, a, b, value } of operations) {
      const [x, y] = [slots[a], slots[b]];
      if (kind === "alloc" && !x) {
        const host = inputs.wholeF32(N, -9, 9);
        slots[a] = { storage: device.alloc(BYTES), host };
        device.write(slots[a].storage, host);
      } else if (kind === "free" && x) {
        device.free(x.storage);
        slots[a] = undefined;
      } else if (kind === "write" && x) {
        x.host = constant(value);
        device.write(x.storage, x.host);
      } else if (kind === "run" && x && y && x !== y) {
        device.run("unary", { op: "clamp", x: x.storage, out: y.storage, n: N, a: value, b: value + 6 });
        y.host = x.host.map((v) => Math.min(Math.max(v, value), value + 6));
      } else if (kind === "read" && x) {
        const expected = x.host.slice();
        reads.push(floats(device, x.storage).then((got) => assert.deepEqual(got, expected)));
      }
    }
    for (const slot of slots) {
      if (!slot) continue;
      const expected = slot.host;
      reads.push(floats(device, slot.storage).then((got) => assert.deepEqual(got, expected)));
      device.free(slot.storage);
    }
    await Promise.all(reads);
    assert.equal(device.memory().liveCount, start.liveCount);
    assert.equal(device.memory().liveBytes, start.liveBytes);
  });
});

withDevices("thousands of recorded kernels run in order", async (device) => {
  const [x, y] = [device.alloc(BYTES), device.alloc(BYTES)];
  device.write(x, constant(0));
  for (let i = 0; i < 2000; i++) {
    affine(device, x, y, 1, 1);
    affine(device, y, x, 1, 1);
  }
  assert.deepEqual(await floats(device, x), constant(4000));
  device.free(x);
  device.free(y);
});

withDevices("memory() counts live bytes and returns to its level after a pass", async (device) => {
  const pass = async () => {
    const x = device.alloc(BYTES);
    device.write(x, constant(1));
    let last = x;
    for (let i = 0; i < 20; i++) {
      const next = device.alloc(BYTES);
      affine(device, last, next, 1, 1);
      device.free(last);
      last = next;
    }
    assert.deepEqual(await floats(device, last), constant(21));
    device.free(last);
  };
  const start = device.memory();
  await pass();
  const after = device.memory();
  assert.equal(after.liveBytes, start.liveBytes);
  assert.equal(after.liveCount, start.liveCount);
  const held = after.liveBytes + after.pooledBytes;
  for (let i = 0; i < 10; i++) await pass();
  const later = device.memory();
  assert.equal(later.liveBytes, start.liveBytes);
  assert.ok(later.liveBytes + later.pooledBytes <= held, "passes of the same sizes must reuse the pool");
});

withDevices("memory() knows how much is live and what the peak was", (device) => {
  const start = device.memory();
  const storages = [100, 5000, 3 * 2 ** 20].map((bytes) => device.alloc(bytes));
  const full = device.memory();
  assert.equal(full.liveCount, start.liveCount + 3);
  assert.ok(full.liveBytes - start.liveBytes >= 100 + 5000 + 3 * 2 ** 20);
  for (const s of storages) assert.ok(s.bytes >= 100);
  for (const s of storages) device.free(s);
  const end = device.memory();
  assert.equal(end.liveBytes, start.liveBytes);
  assert.ok(end.peakBytes >= full.liveBytes);
  device.trim();
  device.resetPeak();
  const reset = device.memory();
  assert.equal(reset.peakBytes, reset.liveBytes + reset.pooledBytes);
  assert.ok(reset.peakBytes < end.peakBytes);
});

withDevices("trim() gives back pooled memory and leaves live storages alone", async (device) => {
  const kept = device.alloc(BYTES);
  device.write(kept, constant(8));
  const out = device.alloc(BYTES);
  affine(device, kept, out, 2, 0);
  const dropped = device.alloc(1 << 20);
  device.free(dropped);
  device.trim();
  await device.sync();
  device.trim();
  assert.equal(device.memory().pooledBytes, 0);
  assert.deepEqual(await floats(device, kept), constant(8));
  assert.deepEqual(await floats(device, out), constant(16));
  device.free(kept);
  device.free(out);
});

withDevices("alloc() throws on impossible sizes, with the number, and the device goes on", async (device) => {
  const start = device.memory();
  assert.throws(() => device.alloc(2 ** 45), /35184372088832|33554432(\.0)? MiB|32768(\.0)? GiB/);
  assert.throws(() => device.alloc(-4), /-4/);
  assert.throws(() => device.alloc(NaN), /NaN/);
  assert.equal(device.memory().liveCount, start.liveCount);
  const x = device.alloc(BYTES);
  device.write(x, constant(1));
  assert.deepEqual(await floats(device, x), constant(1));
  device.free(x);
});

withDevices("write() refuses more bytes than the storage holds", async (device) => {
  const x = device.alloc(16);
  assert.throws(() => device.write(x, new Uint8Array(1 << 20)));
  await assert.rejects(async () => await device.read(x, 1 << 20));
  device.free(x);
  await device.sync();
});

withDevices("info says what the device is", (device) => {
  assert.match(device.info.kind, /^(cpu|webgpu)$/);
  assert.ok(device.info.name.length > 0);
  assert.ok(device.info.maxTensorBytes >= 2 ** 27, "WebGPU guarantees bindings of 128 MiB");
});

withDevices("packedBytes() is at least the weight's size and grows with it", (device) => {
  for (const dtype of ["f32", "f16"] as const) {
    const size = dtype === "f16" ? 2 : 4;
    assert.ok(device.packedBytes("linear", [7, 13], dtype) >= 7 * 13 * size);
    assert.ok(device.packedBytes("conv", [5, 3, 3, 3], dtype) >= 5 * 27 * size);
    // Padding is for tiles, not a multiple of a large weight.
    assert.ok(device.packedBytes("linear", [1024, 1024], dtype) <= 1.1 * 1024 * 1024 * size);
  }
});

withDevices("a kernel on a freed storage fails", async (device) => {
  const [x, out] = [device.alloc(BYTES), device.alloc(BYTES)];
  device.write(x, constant(1));
  device.free(x);
  await assert.rejects(async () => {
    affine(device, x, out, 1, 0);
    await device.sync();
  });
  device.free(out);
});

/** Devices of their own, opened and closed within the test. */
const openers: [string, () => Promise<Device>][] = [["cpu", () => openCpuForTests()]];
if (!cpuOnly) openers.push(["webgpu", () => openWebGpuForTests()]);

for (const [label, open] of openers) {
  Deno.test(`close() frees everything and makes later calls throw [${label}]`, async () => {
    const device = await open();
    const x = device.alloc(BYTES);
    device.write(x, constant(1));
    affine(device, x, device.alloc(BYTES), 1, 0);
    await device.sync();
    device.close();
    assert.throws(() => device.alloc(4), /closed/);
    assert.throws(() => device.write(x, constant(1)), /closed/);
    assert.throws(() => device.run("fill", { out: x, n: N, value: 0, dtype: "f32" }), /closed/);
    await assert.rejects(async () => await device.read(x, 4), /closed/);
    await assert.rejects(async () => await device.sync(), /closed/);
  });

  Deno.test(`devices are independent of each other [${label}]`, async () => {
    const [one, two] = [await open(), await open()];
    const [x, y] = [one.alloc(BYTES), two.alloc(BYTES)];
    one.write(x, constant(1));
    two.write(y, constant(2));
    assert.deepEqual(await floats(one, x), constant(1));
    one.close();
    assert.deepEqual(await floats(two, y), constant(2));
    two.close();
  });
}

Deno.test("alloc() stays within the CPU device's memory limit and says the numbers", async () => {
  const device = await openCpuForTests({ memoryLimitBytes: 64 * 2 ** 20 });
  const x = device.alloc(30 * 2 ** 20);
  assert.throws(() => device.alloc(60 * 2 ** 20), /62914560|60(\.0)? MiB/);
  device.free(x);
  device.free(device.alloc(60 * 2 ** 20)); // fits once the other is free
  device.close();
});
