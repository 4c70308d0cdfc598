import assert from "node:assert/strict";
import { cards } from "../../../bench/stub/cards.ts";
import { openStubDevice } from "../../../bench/stub/gpu.ts";
import {
  highestCardLimit,
  highestUsualLimit,
  unknownLimit,
  usualMemoryLimit,
} from "../../../attribution/run/memory_limit.ts";

const info = (kind: "cpu" | "webgpu", software: boolean) => ({
  info: { kind, software, name: "", maxTensorBytes: 2 ** 30 },
});

Deno.test("usualMemoryLimit() is three quarters of the free memory, at most 8 GiB", async () => {
  for (const device of [info("cpu", false), info("webgpu", true)]) {
    const before = Deno.systemMemoryInfo().available, limit = await usualMemoryLimit(device);
    assert.ok(limit <= highestUsualLimit);
    // Others take and free memory meanwhile.
    const expected = Math.min(highestUsualLimit, 0.75 * before);
    assert.ok(Math.abs(limit - expected) < 0.25 * expected, `${limit} of ${before} available`);
  }
});

Deno.test("usualMemoryLimit() is what the work needs where that is more than 8 GiB and the machine has it", async () => {
  const device = info("cpu", false), GiB = 2 ** 30;
  assert.equal(await usualMemoryLimit(device, 9 * GiB, () => 64 * GiB), 9 * GiB);
  assert.equal(await usualMemoryLimit(device, 3 * GiB, () => 64 * GiB), 8 * GiB);
  assert.equal(await usualMemoryLimit(device, 9 * GiB, () => 10 * GiB), 7.5 * GiB);
});

Deno.test("usualMemoryLimit() is three quarters of what a card gives, at most 40 GiB, and leaves nothing allocated", async () => {
  for (const [card, expected] of [[cards.h200, highestCardLimit], [cards.l4, 0.75 * 23 * 2 ** 30]] as const) {
    const { device, stub } = openStubDevice({ card });
    const before = stub.aliveBytes;
    assert.equal(await usualMemoryLimit(device), expected); // of 24 GiB the device's own buffers take some kilobytes
    assert.equal(stub.aliveBytes, before);
    await device.sync(); // no error is left to report
  }
});

Deno.test(
  "usualMemoryLimit() is 4 GiB where the system may not be asked",
  { permissions: { sys: false } },
  async () => {
    assert.equal(await usualMemoryLimit(info("cpu", false)), unknownLimit);
    assert.equal(await usualMemoryLimit(info("webgpu", false)), unknownLimit);
  },
);
