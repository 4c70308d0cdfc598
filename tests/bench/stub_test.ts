/** The stub device: it counts, and plays limits of memory and errors as a device has them. */
import assert from "node:assert/strict";
import { cards } from "../../bench/stub/cards.ts";
import { openStubDevice } from "../../bench/stub/gpu.ts";

const MIB = 2 ** 20;

Deno.test("the stub counts dispatches with their workgroups, submits, and the WGSL of pipelines", async () => {
  const { device, stub } = openStubDevice();
  const x = device.alloc(4000), out = device.alloc(4000);
  device.run("unary", { op: "square", x, out, n: 1000, a: 0, b: 0 });
  device.run("unary", { op: "neg", x, out, n: 1000, a: 0, b: 0 });
  assert.equal(stub.counts.submits, 0);
  await device.read(out, 4000);
  assert.equal(stub.counts.submits, 1);
  assert.equal(stub.counts.waits, 1);
  assert.deepEqual(stub.dispatches.map(({ groups, boundBytes }) => [groups, boundBytes]), [
    [[4, 1, 1], [4096, 4096]],
    [[4, 1, 1], [4096, 4096]],
  ]);
  assert.match(stub.pipelines.get(stub.dispatches[0].pipeline)!, /fn main/);
  stub.reset();
  assert.deepEqual([stub.counts.dispatches, stub.dispatches.length], [0, 0]);
});

Deno.test("the stub's destroyed memory counts until the host waits", async () => {
  const { device, stub } = openStubDevice();
  const before = stub.aliveBytes;
  for (let i = 0; i < 3; i++) {
    device.free(device.alloc(MIB));
    device.trim();
  }
  assert.equal(stub.aliveBytes, before);
  assert.equal(stub.peakBytes, before + 3 * MIB);
  await device.sync();
  stub.reset();
  assert.equal(stub.peakBytes, before);
});

Deno.test("the stub's allocations beyond the card's memory fail, and using them is an error", async () => {
  const { device } = openStubDevice({ card: { ...cards.l4, memoryBytes: 4 * MIB } });
  const kept = device.alloc(2 * MIB);
  const failed = device.alloc(3 * MIB);
  await assert.rejects(device.sync(), /alloc of 3145728 bytes.*failed: Not enough memory/);
  device.write(failed, new Float32Array(1));
  await assert.rejects(device.sync(), /invalid/);
  device.write(kept, new Float32Array(1));
  await device.sync();
});
