/** As train_test.ts, for the other family and on WebGPU, where a run takes half a minute. */
import { cpuOnly } from "../core/devices.ts";
import { trainInParts, trainInPartsOnWebGpu, trainThroughKills } from "./interrupted_training.ts";

Deno.test("train: a killed and an interrupted run of var go on to the same bytes as one that never stopped", async () => {
  await trainInParts("var");
});

for (const family of cpuOnly ? [] : ["rar", "var"] as const) {
  Deno.test(`train --device webgpu: an interrupted run of ${family} goes on to the same bytes as one that never stopped`, async () => {
    await trainInPartsOnWebGpu(family);
  });
}

Deno.test("train: a run of rar that is killed 30 times goes on to the same bytes as one that never stopped", async () => {
  await trainThroughKills("rar", 30);
});
