import assert from "node:assert/strict";
import { highestUsualLimit, unknownLimit, usualMemoryLimit } from "../../../attribution/run/memory_limit.ts";

const info = (kind: "cpu" | "webgpu", software: boolean) => ({
  info: { kind, software, name: "", maxTensorBytes: 2 ** 30 },
});

Deno.test("usualMemoryLimit() is three quarters of the free memory, at most 8 GiB", () => {
  for (const device of [info("cpu", false), info("webgpu", true)]) {
    const before = Deno.systemMemoryInfo().available, limit = usualMemoryLimit(device);
    assert.ok(limit <= highestUsualLimit);
    // Others take and free memory meanwhile.
    const expected = Math.min(highestUsualLimit, 0.75 * before);
    assert.ok(Math.abs(limit - expected) < 0.25 * expected, `${limit} of ${before} available`);
  }
});

Deno.test("usualMemoryLimit() is 4 GiB for hardware adapters, which tell nothing", () => {
  assert.equal(usualMemoryLimit(info("webgpu", false)), unknownLimit);
});

Deno.test("usualMemoryLimit() is 4 GiB where the system may not be asked", { permissions: { sys: false } }, () => {
  assert.equal(usualMemoryLimit(info("cpu", false)), unknownLimit);
});
