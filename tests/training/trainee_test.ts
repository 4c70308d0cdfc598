/** Loss and gradients of an encoder under training, on both devices. */
import assert from "node:assert/strict";
import { Trainee } from "../../training/trainee.ts";
import { type Device, disposeAll, type Tensor, uniforms } from "../../core/tensor/mod.ts";
import { openCheckpoint } from "../../models/checkpoint/mod.ts";
import type { FamilyName } from "../../models/family.ts";
import { openModelSet } from "../../models/model_set.ts";
import { withDevices } from "../core/devices.ts";
import { standIns } from "../sets.ts";

interface Measured {
  readonly loss: number;
  readonly gradients: Map<string, Float32Array>;
}

/** Random images, and f_Z of random tokens. */
function batch(trainee: Trainee, count: number): { x: Tensor; target: Tensor } {
  const { imageSize, tokenCount, codes } = trainee.tokenizer;
  const random = (stream: number, n: number) => uniforms(5, stream, n);
  const numbers = Array.from({ length: count }, (_, i) => i);
  const token = (u: number) => Math.floor(u * codes);
  return {
    x: trainee.images(numbers.map((i) => random(2 * i, imageSize * imageSize * 3))),
    target: trainee.targets(numbers.map((i) => Int32Array.from(random(2 * i + 1, tokenCount), token))),
  };
}

/** Loss and gradients of random images with random tokens, and the device's peak over that of the weights. */
async function measure(
  device: Device,
  name: FamilyName,
  options: { imageLoss?: number; checkpointing?: boolean },
  count = 2,
): Promise<Measured & { peak: number }> {
  const trainee = await Trainee.open(device, await openModelSet(standIns), name, options);
  try {
    const { x, target } = batch(trainee, count);
    device.trim();
    device.resetPeak();
    const before = device.memory().peakBytes;
    const step = trainee.differentiate(x, target, x);
    const gradients = new Map<string, Float32Array>();
    for (const [part, gradient] of step.gradients) gradients.set(part, await gradient!.data());
    const loss = await step.loss.item();
    const peak = device.memory().peakBytes - before;
    disposeAll([x, target, step.loss, step.gradients]);
    return { loss, gradients, peak };
  } finally {
    trainee.dispose();
  }
}

for (const name of ["rar", "var"] as const) {
  withDevices(
    `recomputing the ${name} encoder's activations changes memory and not one bit of the gradients`,
    async (device) => {
      const kept = await measure(device, name, {}, 8);
      const recomputed = await measure(device, name, { checkpointing: true }, 8);
      assert.equal(recomputed.loss, kept.loss);
      assert.deepEqual(recomputed.gradients, kept.gradients);
      // Little less: group norms are computed again in any case, and at these sizes weights and single blocks are most of it.
      assert.ok(recomputed.peak < 0.97 * kept.peak, `peak ${recomputed.peak} against ${kept.peak}`);
    },
  );

  // The image loss is a function of the same parameters: its share of the gradient must be what differences say.
  withDevices(`the image loss of ${name} reaches the encoder through the frozen decoder`, async (device) => {
    const weight = 3;
    const latent = await measure(device, name, {}), both = await measure(device, name, { imageLoss: weight });
    assert.ok(both.loss > latent.loss);
    const part = name === "rar" ? "encoder.conv_out.bias" : "quant_conv.bias";
    const gradient = both.gradients.get(part)!;
    const trainee = await Trainee.open(device, await openModelSet(standIns), name, { imageLoss: weight });
    const { x, target } = batch(trainee, 2);
    // Along the gradient itself, so that the difference is as large as it can be for its step.
    const norm = Math.hypot(...gradient), h = 0.02;
    const before = (await trainee.values()).get(part)!;
    const lossAt = async (t: number) => {
      trainee.restore(part, before.map((value, i) => value + t * gradient[i] / norm));
      const { loss, gradients } = trainee.differentiate(x, target, x);
      const value = await loss.item();
      disposeAll([loss, gradients]);
      return value;
    };
    const slope = (await lossAt(h) - await lossAt(-h)) / (2 * h);
    assert.ok(Math.abs(slope - norm) < 0.03 * norm, `slope ${slope}, norm of the gradient ${norm}`);
    disposeAll([x, target]);
    trainee.dispose();
  });
}

withDevices("training starts only from the encoder of the family, whole and of its shapes", async (device) => {
  const set = await openModelSet(standIns);
  await assert.rejects(
    async () => await Trainee.open(device, set, "rar", { init: await openCheckpoint(`${standIns}/vqvae_tiny.pth`) }),
    /^Error: vqvae_tiny\.pth: does not fit the rar encoder of .*: \d+ missing .*; \d+ unused/,
  );
});
