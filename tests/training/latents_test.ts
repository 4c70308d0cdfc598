import assert from "node:assert/strict";
import { cosines } from "../../attribution/quantisation/spectral_blocks.ts";
import { codePriors } from "../../attribution/signals/latent_meter.ts";
import { measureLatents } from "../../training/latents.ts";
import type { Pair, PairSource } from "../../training/pairs.ts";
import { Trainee } from "../../training/trainee.ts";
import { writeEncoder } from "../../training/output.ts";
import { add, clamp, scope, sub, uniforms } from "../../core/tensor/mod.ts";
import { openSafetensors, syntheticSource, type TensorInfo } from "../../models/checkpoint/mod.ts";
import { withEncoder } from "../../models/overlay.ts";
import { loadVarTokenizer, VarImageTokenizer } from "../../models/var/family.ts";
import { checkLatentStatistics, readLatentStatistics } from "../../models/latent_statistics.ts";
import { vqvaeSpecs } from "../../models/var/vqvae.ts";
import { openCpuForTests } from "../core/devices.ts";
import { smallVqvae } from "../models/small_networks.ts";

const config = smallVqvae([1, 2, 4], 16);
const tokenCount = 21;
const facts = { channels: config.zChannels, codes: config.codes, patchNums: config.patchNums };
const source = () => syntheticSource("latents", vqvaeSpecs(config));

const pairs = (partial = false): PairSource => ({
  count: 12,
  partial,
  fingerprint: "",
  batch: (indices) =>
    Promise.resolve(indices.map((i): Pair => ({
      pixels: uniforms(i, 0, 8 * 8 * 3),
      tokens: partial ? null : Int32Array.from(uniforms(i, 1, tokenCount), (u) => Math.floor(u * u * config.codes)),
    }))),
});

Deno.test("measureLatents() is the covariance of refined f - f_Z by frequency band, and the codes' frequencies by scale", async () => {
  const device = await openCpuForTests();
  const trainee = await Trainee.load(device, source(), { family: "var", config });
  const indices = [1, 4, 5, 9, 11];
  const found = (await measureLatents(trainee, pairs(), indices, 2))!;
  const wanted = new Float64Array(3 * 16), counts = [0, 0, 0].map(() => new Float64Array(16));
  for (const { pixels, tokens } of await pairs().batch(indices)) {
    const [f, target] = scope(() => {
      const { tokenizer: family } = trainee, x = trainee.images([pixels]), once = family.encode(x);
      const again = family.encode(clamp(family.decode(once), -1, 1));
      return [add(once, sub(once, again)), trainee.targets([tokens!])];
    });
    const a = await f.data(), b = await target.data();
    const basis = cosines(4);
    for (let w = 0; w < 16; w++) {
      const [v, h] = [Math.floor(w / 4), w % 4];
      const spectrum = [0, 1, 2, 3].map((c) => {
        let sum = 0;
        for (let p = 0; p < 16; p++) {
          sum += basis[v * 4 + Math.floor(p / 4)] * basis[h * 4 + p % 4] * (a[p * 4 + c] - b[p * 4 + c]);
        }
        return sum;
      });
      // The mean, the three frequencies with a 1 and no more, and the twelve with a 2 or a 3.
      const [band, frequencies] = w === 0 ? [0, 1] : Math.max(v, h) === 1 ? [1, 3] : [2, 12];
      for (let i = 0; i < 16; i++) {
        wanted[band * 16 + i] += spectrum[Math.floor(i / 4)] * spectrum[i % 4] / (indices.length * frequencies);
      }
    }
    tokens!.forEach((token, i) => counts[i < 1 ? 0 : i < 5 ? 1 : 2][token]++);
    for (const tensor of [f, target]) tensor.dispose();
  }
  const trace = [1, 3, 12].reduce((sum, share, band) => {
    return sum + share / 16 * [0, 5, 10, 15].reduce((own, i) => own + wanted[band * 16 + i], 0);
  }, 0);
  for (let i = 0; i < 3 * 16; i++) {
    const floor = i % 16 % 5 === 0 ? 1e-3 * trace / 4 : 0;
    assert(Math.abs(found.noise[i] - wanted[i] - floor) < 1e-5 * trace, `${i}: ${wanted[i]} -> ${found.noise[i]}`);
  }
  assert.deepEqual(found.prior, codePriors(counts));
  checkLatentStatistics(found, facts, "measured");
  // A token more makes its code more probable at its scale.
  counts[2][3]++;
  assert(codePriors(counts)[2 * 16 + 3] > found.prior[2 * 16 + 3]);

  assert.equal(await measureLatents(trainee, pairs(), [], 2), null);
  assert.equal(await measureLatents(trainee, pairs(true), indices, 2), null);
  trainee.dispose();
  device.close();
});

Deno.test("LatentStatistics go with an encoder's file into the family, and are refused when they do not fit", async () => {
  const device = await openCpuForTests();
  const dir = await Deno.makeTempDir();
  try {
    const trainee = await Trainee.load(device, source(), { family: "var", config });
    const latents = (await measureLatents(trainee, pairs(), [0, 1, 2], 2))!;
    const path = `${dir}/encoder.safetensors`;
    const recipe = { family: "var", seed: 0 };
    // deno-lint-ignore no-explicit-any
    await writeEncoder(path, trainee, { settings: { recipe }, row: { epoch: 0 }, run: dir, latents } as any);
    trainee.dispose();
    const both = withEncoder(source(), await openSafetensors(path));
    const family = await loadVarTokenizer(device, both, config);
    assert.deepEqual(family.latents, latents);
    assert(family instanceof VarImageTokenizer);
    family.dispose();
    // Training goes on from such a file.
    const again = await Trainee.load(device, both, { family: "var", config }, { init: await openSafetensors(path) });
    again.dispose();

    const without = await openSafetensors(path);
    const part = new Map<string, TensorInfo>([...without.tensors].filter(([name]) => name !== "latents.prior"));
    await assert.rejects(
      readLatentStatistics({ ...without, label: "x", tensors: part }, facts),
      /x: latents\.prior: expected \[3,16\], got nothing/,
    );
    await assert.rejects(
      readLatentStatistics({ ...without, label: "x", tensors: without.tensors }, { ...facts, codes: 8 }),
      /x: latents\.prior: expected \[3,8\], got \[3,16\]/,
    );
    without.close();
    both.close();
    assert.equal(await readLatentStatistics(source(), facts), null);
    assert.throws(
      () => checkLatentStatistics({ ...latents, noise: latents.noise.map(() => 0) }, facts, "x"),
      /variances above 0, got 0/,
    );
    assert.throws(
      () => checkLatentStatistics({ ...latents, prior: latents.prior.map((p) => 2 * p) }, facts, "x"),
      /whose sum is 1, got 2/,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
    device.close();
  }
});
