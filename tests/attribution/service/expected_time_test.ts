/** Limits of time that follow what an image takes, on devices as slow as one likes. */
import assert from "node:assert/strict";
import { transformerOperations } from "../../../attribution/likelihood/operations.ts";
import { productRate, timeLimits } from "../../../attribution/service/expected_time.ts";
import { openCpuDevice } from "../../../core/cpu/mod.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { tiny } from "../../sets.ts";
import { withOfficial } from "../../official_sizes.ts";

const given = { maxBatch: 16 };

Deno.test("timeLimits() leaves a fast device its usual limits and whole batches", () => {
  assert.deepEqual(timeLimits(0.2, given), { deadlineMs: 30_000, batchMs: 300_000, maxBatch: 16 });
  assert.deepEqual(timeLimits(0, given), { deadlineMs: 30_000, batchMs: 300_000, maxBatch: 16 });
});

Deno.test("timeLimits() gives a slow device the time that an image takes four times, and smaller batches", () => {
  const { caution, ...limits } = timeLimits(120, given);
  assert.deepEqual(limits, { deadlineMs: 480_000, batchMs: 960_000, maxBatch: 2 });
  assert.match(
    caution!,
    /about 2 min on this device; requests get 8 min \(--deadline-ms\); a GPU, --method perplexity/,
  );
  assert.equal(timeLimits(2, given).maxBatch, 7);
});

Deno.test("timeLimits() says that a device is too slow for the limits that the operator has set, or for any", () => {
  const set = timeLimits(120, { ...given, deadlineMs: 30_000 });
  assert.deepEqual([set.deadlineMs, set.maxBatch], [30_000, 1]);
  assert.match(
    set.caution!,
    /longer than requests \(--deadline-ms 30000\) .* may: most will be answered with 504; a GPU/,
  );
  const any = timeLimits(7200, given);
  assert.equal(any.deadlineMs, 3_600_000);
  assert.match(any.caution!, /about 120 min on this device, which is longer than requests/);
});

Deno.test("transformerOperations() of the official networks are what work takes on a slow device", async () => {
  const settings = (condition: "none" | "infer") => ({ condition } as const);
  await withOfficial((set, device) => {
    const joint = transformerOperations(set, settings("infer"), device) / 1e12;
    // Counted from kernels: 46.5 without the tokenizers, where families are open and classes share no condition.
    assert.ok(joint > 45 && joint < 80, `${joint} TFLOP`);
    assert.ok(transformerOperations(set, settings("none"), device) < joint * 1e12 / 6);
    // On two cores at 190 GFLOP/s an image of both families takes minutes, and its deadline more than 30 s.
    const { deadlineMs, maxBatch } = timeLimits(joint * 1e12 / 190e9, given);
    assert.ok(deadlineMs > 900_000 && maxBatch <= 2, `${deadlineMs}, ${maxBatch}`);
  });
  const device = openCpuDevice({ threads: 1 });
  const small = await openModelSet(tiny);
  const operations = transformerOperations(small, settings("infer"), device), rate = await productRate(device);
  assert.ok(operations < 50e9 && rate > 1e7, `${operations} at ${rate}`);
  device.close();
});
