/** What a training step takes of a card's memory, on the stub of one, and what happens where that is too little. */
import assert from "node:assert/strict";
import { cards } from "../../bench/stub/cards.ts";
import { openStubDevice } from "../../bench/stub/gpu.ts";
import { zeroSource } from "../../bench/stub/weights.ts";
import { trainingWorkloads } from "../../bench/training.ts";
import { fullSizes } from "../../bench/passes.ts";
import { requireStepMemory, stepBytes } from "../../training/memory.ts";

const GIB = 2 ** 30;
const batch = 8;

// In the order of the workloads.
const steps = (["rar", "var"] as const).flatMap((family) =>
  [false, true].map((checkpointing) => ({
    ...{ family, batch, checkpointing },
    config: family === "rar" ? fullSizes.rarTokenizer : fullSizes.vqvae,
  }))
);

Deno.test("stepBytes() is within 5 % of what a step takes, which makes no buffer the second time", async () => {
  for (const [i, workload] of trainingWorkloads([batch], fullSizes, zeroSource).entries()) {
    const { device, stub } = openStubDevice({ record: false });
    const planned = stepBytes(device, steps[i]);
    device.limitMemory(1.05 * planned);
    const { cases: [step], close } = await workload.open(device);
    device.trim();
    await device.sync();
    stub.reset();
    step.run();
    await device.sync();
    const ratio = stub.peakBytes / planned;
    const sizes = `${stub.peakBytes / GIB} GiB, planned ${planned / GIB}`;
    assert.ok(ratio > 0.95 && ratio < 1.05, `${step.name}: ${sizes}`);
    stub.reset();
    step.run();
    await device.sync();
    assert.deepEqual([stub.counts.made, stub.counts.destroyed], [0, 0], step.name);
    close();
  }
});

Deno.test("requireStepMemory() takes what fits, and says what would where it does not", async () => {
  const [rar] = steps;
  const card = (memoryBytes: number) => openStubDevice({ card: { ...cards.l4, memoryBytes } }).device;
  await requireStepMemory(card(24 * GIB), rar);
  await assert.rejects(requireStepMemory(card(3.5 * GIB), rar), {
    name: "MemoryLimitError",
    message:
      /^train: a step of 8 images needs 3\.\d+ GiB, NVIDIA L4 gives 3(\.00)? GiB; try --batch 7 or --checkpointing$/,
  });
  await assert.rejects(requireStepMemory(card(0.5 * GIB), { ...rar, checkpointing: true }), {
    message: /^train: .* gives 0 B$/,
  });
});
