/**
 * Memory of the WebGPU device on a stub of a card: what is kept, what is destroyed, and what failed allocations leave.
 * bench/stub/gpu.ts counts destroyed memory until the host waits, as a card that lags behind would.
 */
import assert from "node:assert/strict";
import type { Workload } from "../../../bench/case.ts";
import { fullSizes, passWorkloads } from "../../../bench/passes.ts";
import { scoringWorkloads } from "../../../bench/scoring.ts";
import { openStubDevice } from "../../../bench/stub/gpu.ts";
import { zeroSource } from "../../../bench/stub/weights.ts";
import { trainingWorkloads } from "../../../bench/training.ts";
import { varVariants } from "../../../models/var/config.ts";

const MIB = 2 ** 20;

/** Every network at its full size, as it is used. */
function workloads(): Workload[] {
  const d30 = { ...fullSizes, var: varVariants[3].config, names: { rar: "rarb", var: "var30" } };
  return [
    ...passWorkloads([8], fullSizes, zeroSource),
    ...passWorkloads([4], d30, zeroSource).filter(({ names }) => names[0].startsWith("var30")),
    ...scoringWorkloads(fullSizes, 8, zeroSource),
    ...trainingWorkloads([4], fullSizes, zeroSource),
  ];
}

Deno.test("no network makes or destroys a buffer in its second pass", async () => {
  for (const workload of workloads()) {
    const { device, stub } = openStubDevice({ record: false, memoryBytes: 64 * 2 ** 30 });
    const open = await workload.open(device);
    for (const { name, run } of open.cases) {
      run();
      await device.sync();
      stub.reset();
      run();
      await device.sync();
      assert.deepEqual([stub.counts.made, stub.counts.destroyed], [0, 0], name);
    }
    open.close();
    device.close();
  }
});

Deno.test("beyond the limit the oldest free buffers are destroyed, and no more than necessary", async () => {
  const { device, stub } = openStubDevice({ memoryBytes: 10 * MIB });
  const made = [1, 2, 3, 4].map((size) => device.alloc(size * MIB));
  for (const i of [2, 0, 3, 1]) device.free(made[i]); // 3, 1, 4 and 2 MiB, oldest first
  stub.reset();
  const kept = device.alloc(3.5 * MIB);
  assert.equal(stub.counts.destroyed, 2); // 3 MiB are not enough, 4 are
  assert.deepEqual([device.memory().liveBytes, device.memory().pooledBytes], [3.5 * MIB, 6 * MIB]);
  device.free(kept);
  stub.reset();
  for (const size of [2, 4]) device.alloc(size * MIB);
  assert.deepEqual([stub.counts.made, stub.counts.destroyed], [0, 0]);
  device.limitMemory(6 * MIB);
  device.alloc(MIB);
  assert.deepEqual([stub.counts.destroyed, device.memory().pooledBytes], [1, 0]);
  await device.sync();
});

Deno.test("destroying what recorded commands use submits them first", async () => {
  const { device, stub } = openStubDevice({ memoryBytes: 3 * MIB });
  const x = device.alloc(MIB), out = device.alloc(MIB);
  device.run("unary", { op: "square", x, out, n: 1000, a: 0, b: 0 });
  device.free(out);
  assert.equal(stub.counts.submits, 0);
  device.alloc(2 * MIB);
  assert.deepEqual([stub.counts.submits, stub.counts.destroyed], [1, 1]);
  await device.sync(); // the stub checks that no submit uses what is destroyed
});

Deno.test("an allocation that failed is not used again, whether it was freed before or after the failure was known", async () => {
  for (const freedBefore of [true, false]) {
    let isFull = true;
    const { device, stub } = openStubDevice({ failAllocation: (bytes) => isFull && bytes >= MIB });
    const failed = device.alloc(MIB);
    if (freedBefore) device.free(failed);
    await assert.rejects(device.sync(), /alloc of 1048576 bytes.*failed: Not enough memory/);
    if (!freedBefore) device.free(failed);
    assert.equal(device.memory().pooledBytes, 0);
    isFull = false;
    stub.reset();
    const again = device.alloc(MIB);
    assert.equal(stub.counts.made, 1);
    device.write(again, new Float32Array(10)); // a validation error in an invalid buffer
    await device.sync();
    device.free(again);
    device.alloc(MIB);
    assert.equal(stub.counts.made, 1);
  }
});

Deno.test("after an error no buffer made since the last wait is used again, older ones are", async () => {
  let fails = false;
  const { device, stub } = openStubDevice({ failAllocation: (bytes) => fails && bytes === 3 * MIB });
  const old = device.alloc(MIB);
  await device.sync();
  const recent = device.alloc(2 * MIB);
  fails = true;
  const failed = device.alloc(3 * MIB);
  await assert.rejects(device.read(old, 4), /alloc of 3145728 bytes/);
  for (const storage of [old, recent, failed]) device.free(storage);
  stub.reset();
  device.alloc(MIB);
  assert.equal(stub.counts.made, 0);
  device.alloc(2 * MIB);
  assert.equal(stub.counts.made, 1);
});
