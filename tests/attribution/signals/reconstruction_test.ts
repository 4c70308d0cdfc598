import assert from "node:assert/strict";
import { familySignals, reconstructionLoss } from "../../../attribution/signals/reconstruction.ts";
import { openDevice } from "../../../core/open_device.ts";
import { fromArray, scope } from "../../../core/tensor/mod.ts";
import { openCheckpoint, syntheticSource } from "../../../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../../../models/family.ts";
import { loadRarTokenizer } from "../../../models/rar/family.ts";
import { tokenizerSpecs } from "../../../models/rar/tokenizer.ts";
import { loadVarTokenizer } from "../../../models/var/family.ts";
import { vqvaeSpecs } from "../../../models/var/vqvae.ts";
import { goldenImage } from "../golden_image.ts";

const folder = new URL("../../fixtures/golden/", import.meta.url).pathname;

/** Images 0..3 of 32x32 as the family takes them, [4, 32, 32, 3]. */
function images([low, high]: readonly [number, number]): Float32Array<ArrayBuffer> {
  const bytes = [0, 1, 2, 3].flatMap((k) => [...goldenImage(k, 32, 32).data]);
  return Float32Array.from(bytes, (byte) => Math.fround(byte / 255) * (high - low) + low);
}

for (const name of ["rar", "var"] as const) {
  for (const deviceName of ["cpu", "webgpu"] as const) {
    Deno.test(`familySignals() gives the reference's greedy signals for ${name} on ${deviceName}`, async () => {
      const manifest = JSON.parse(await Deno.readTextFile(`${folder}case05_signals.json`));
      const reference = await openCheckpoint(`${folder}case05_signals.safetensors`);
      const device = await openDevice(deviceName);
      try {
        const { rar_tokenizer: r, vae } = manifest.config;
        let family: ImageTokenizer;
        if (name === "rar") {
          const config = {
            hiddenChannels: r.hidden_channels,
            channelMult: r.channel_mult,
            resBlocks: r.num_res_blocks,
            zChannels: r.z_channels,
            codes: r.codebook_size,
            resolution: r.resolution,
          };
          family = await loadRarTokenizer(device, syntheticSource(manifest.salt, tokenizerSpecs(config)), config);
        } else {
          const config = {
            ch: vae.ch,
            chMult: vae.ch_mult,
            resBlocks: vae.num_res_blocks,
            zChannels: vae.z_channels,
            codes: vae.vocab_size,
            sharedPhi: vae.share_quant_resi,
            patchNums: vae.patch_nums,
            resolution: vae.resolution,
          };
          family = await loadVarTokenizer(device, syntheticSource(manifest.salt, vqvaeSpecs(config)), config);
        }
        const results = scope(() => {
          const x = fromArray(device, images(family.valueRange), [4, 32, 32, 3]);
          const { tokens, signals } = familySignals(family, x);
          const reconstruction = reconstructionLoss(family, x, family.dequantize(tokens));
          return {
            reconstruction,
            quant_loss: signals.quantLoss,
            enc_loss: signals.encLoss,
            enc_loss_uncalibrated: signals.encLossUncalibrated,
            combined: signals.combined,
          };
        });
        const prefix = name === "rar" ? "rar_" : "var_greedy_";
        for (const [signal, tensor] of Object.entries(results)) {
          const got = await tensor.data();
          const expected = await reference.readF32(prefix + signal);
          const error = manifest.float32_vs_float64.per_tensor[prefix + signal].max_abs;
          // 10x the reference's own float32 error, as the reference data asks for, with the project's floor.
          const floor = (deviceName === "cpu" ? 2e-5 : 1e-4) * Math.max(...expected);
          const tolerance = Math.max(10 * error, floor);
          assert.equal(got.length, 4);
          got.forEach((value, i) => {
            const off = Math.abs(value - expected[i]);
            assert.ok(off <= tolerance, `${signal}[${i}]: expected ${expected[i]}, got ${value}, off by ${off}`);
          });
        }
      } finally {
        device.close();
        reference.close();
      }
    });
  }
}
