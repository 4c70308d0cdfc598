/** The loop of trainings: what ends it. */
import assert from "node:assert/strict";
import { fromArray, mean, square } from "../../core/tensor/mod.ts";
import { optimise } from "../../zoo/loop.ts";
import { withFolder } from "../attribution/files.ts";
import { openCpuForTests } from "../core/devices.ts";

Deno.test("optimise() ends soon after its signal fires, although nothing that it computes waits", async () => {
  await withFolder(async (dir) => {
    const device = await openCpuForTests({ threads: 1 });
    const parameter = fromArray(device, Float32Array.of(1, 2, 3), [3]);
    const controller = new AbortController(), steps = 1_000_000;
    // As a signal of the operating system, a timer needs a turn of the event loop.
    const timer = setTimeout(() => controller.abort(), 50);
    try {
      const { done, step } = await optimise({
        course: { steps, lr: () => 1e-3, adam: {}, every: steps },
        parameters: new Map([["parameter", parameter]]),
        ...{ dir, fingerprint: "a training", signal: controller.signal },
        loss: () => ({ loss: mean(square(parameter)) }),
        evaluate: () => Promise.resolve({}),
      });
      assert.ok(!done && step > 0 && step < steps, `${step} steps`);
    } finally {
      clearTimeout(timer);
      parameter.dispose();
      device.close();
    }
  });
});
