/** The signals beyond the reference's, against the same arithmetic in float64 on the host, on both devices. */
import assert from "node:assert/strict";
import { quantile } from "../../../attribution/metrics/mod.ts";
import { latentTracer, tracedWeights } from "../../../attribution/signals/latent_tracer.ts";
import { measureSignals } from "../../../attribution/signals/measure.ts";
import { openQuantizer, quantizerNames } from "../../../attribution/quantisation/quantizers.ts";
import { levelFor, scoreOf, signalNames, toScale } from "../../../attribution/signals/table.ts";
import {
  familySignals,
  reconstruct,
  requantizedSignals,
  rowQuantile,
  tokenErrors,
} from "../../../attribution/signals/reconstruction.ts";
import { type Device, disposeAll, fromArray, scope, type Tensor, uniforms } from "../../../core/tensor/mod.ts";
import { syntheticSource } from "../../../models/checkpoint/mod.ts";
import type { ImageTokenizer } from "../../../models/family.ts";
import { loadRarTokenizer } from "../../../models/rar/family.ts";
import { tokenizerSpecs } from "../../../models/rar/tokenizer.ts";
import { loadVarTokenizer } from "../../../models/var/family.ts";
import { vqvaeSpecs } from "../../../models/var/vqvae.ts";
import type { WeightSpec } from "../../../models/weights.ts";
import { defaultTargets, withDevices } from "../../core/devices.ts";

const [cpuTarget] = defaultTargets;

const rarConfig = { hiddenChannels: 32, channelMult: [1, 2], resBlocks: 1, zChannels: 16, codes: 32, resolution: 16 };
const varConfig = {
  ch: 32,
  chMult: [1, 2],
  resBlocks: 1,
  zChannels: 16,
  codes: 32,
  sharedPhi: 4,
  patchNums: [1, 2, 4, 8],
  resolution: 16,
};

const source = (specs: readonly WeightSpec[]) => syntheticSource("signals", specs);
const families: Record<"rar" | "var", (device: Device) => Promise<ImageTokenizer>> = {
  rar: (device) => loadRarTokenizer(device, source(tokenizerSpecs(rarConfig)), rarConfig, tracedWeights),
  var: (device) => loadVarTokenizer(device, source(vqvaeSpecs(varConfig)), varConfig, tracedWeights),
};

/** Three images of random pixels in the family's value range. */
function images(device: Device, { valueRange: [low, high], imageSize: size }: ImageTokenizer): Tensor {
  const pixels = uniforms(11, 1, 3 * size * size * 3).map((x) => x * (high - low) + low);
  return fromArray(device, pixels, [3, size, size, 3]);
}

/** Mean of squared differences per image, in float64. */
function errors(a: ArrayLike<number>, b: ArrayLike<number>, batch: number): number[] {
  const each = a.length / batch;
  return Array.from({ length: batch }, (_, n) => {
    let sum = 0;
    for (let i = n * each; i < (n + 1) * each; i++) sum += (a[i] - b[i]) ** 2;
    return sum / each;
  });
}

/** Sums of a few hundred float32 numbers, on tensors that are the same on both sides. */
function near(got: ArrayLike<number>, expected: readonly number[], what: string): void {
  assert.equal(got.length, expected.length);
  expected.forEach((value, i) => {
    assert.ok(Math.abs(got[i] - value) <= 1e-5 * Math.abs(value), `${what}[${i}]: expected ${value}, got ${got[i]}`);
  });
}

for (const name of ["rar", "var"] as const) {
  withDevices(`requantizedSignals() of ${name} is what two reconstructions through tokens give`, async (device) => {
    const before = device.memory().liveBytes;
    const family = await families[name](device);
    const all = scope(() => {
      const x = images(device, family);
      const { f, tokens, fHat } = familySignals(family, x);
      const signals = requantizedSignals(family, x, { tokens, fHat });
      const first = reconstruct(family, family.dequantize(tokens));
      const again = family.quantize(family.encode(first));
      const second = reconstruct(family, again.fHat);
      return { x, f, tokens, fHat, signals, first, second, againTokens: again.tokens };
    });
    const [x, first, second] = await Promise.all([all.x.data(), all.first.data(), all.second.data()]);
    const [tokens, again] = await Promise.all([all.tokens.ints(), all.againTokens.ints()]);
    const reconstruction = errors(first, x, 3), floor = errors(second, first, 3);
    const range = family.valueRange[1] - family.valueRange[0], epsilon = (range / 255) ** 2 / 12;
    const { signals } = all;
    near(await signals.reconstruction.data(), reconstruction, "reconstruction");
    near(
      await signals.encLossQuantized.data(),
      reconstruction.map((error, i) => (error + epsilon) / (floor[i] + epsilon)),
      "encLossQuantized",
    );
    const n = family.tokenCount;
    const unchanged = [0, 1, 2].map((b) => {
      let same = 0;
      for (let i = b * n; i < (b + 1) * n; i++) same += tokens[i] === again[i] ? 1 : 0;
      return same / n;
    });
    near(await signals.unchangedTokens.data(), unchanged, "unchangedTokens");
    assert.ok(unchanged.some((share) => share > 0 && share < 1), `shares that tell something: ${unchanged}`);

    const perToken = await (async () => {
      const tensor = tokenErrors(all.f, all.fHat);
      const values = await tensor.data();
      tensor.dispose();
      return values;
    })();
    const positions = perToken.length / 3;
    const tail = scope(() => measureSignals(family, all.x, "core").signals.quantErrorTail!);
    near(
      await tail.data(),
      [0, 1, 2].map((b) => quantile(perToken.subarray(b * positions, (b + 1) * positions), 0.9)),
      "quantErrorTail",
    );
    disposeAll([all, tail]);
    family.dispose();
    assert.equal(device.memory().liveBytes, before);
  });

  withDevices(
    `latentTracer() of ${name} finds a latent that draws the image better, image by image`,
    async (device) => {
      const before = device.memory().liveBytes;
      const family = await families[name](device);
      const all = scope(() => {
        const x = images(device, family);
        const { fHat } = familySignals(family, x);
        return { x, fHat, few: latentTracer(family, x, fHat, { iterations: 1 }) };
      });
      const traced = latentTracer(family, all.x, all.fHat, { iterations: 12, lr: 0.05, decayEvery: 8 });
      const start = errors(
        await data(scope(() => reconstruct(family, all.fHat))),
        await all.x.data(),
        3,
      );
      near(await all.few.data(), start, "before the first step");
      const found = await traced.data();
      start.forEach((error, i) => assert.ok(found[i] < 0.95 * error, `image ${i}: ${found[i]} after, ${error} before`));
      // Alone, an image gets what it gets among others.
      const single = scope(() => {
        const { imageSize: size } = family;
        const one = fromArray(device, uniforms(11, 1, size * size * 3).map(toRange(family)), [1, size, size, 3]);
        return latentTracer(family, one, familySignals(family, one).fHat, { iterations: 12, lr: 0.05, decayEvery: 8 });
      });
      near(await single.data(), [found[0]], "alone");
      disposeAll([all, traced, single]);
      family.dispose();
      assert.equal(device.memory().liveBytes, before);
    },
  );

  // On the processor alone: the descents are tested above and in parity on both, and take a software adapter a minute.
  withDevices(`measureSignals() of ${name} measures what its level says`, async (device) => {
    const family = await families[name](device);
    for (const [level, count] of [["core", 5], ["all", 8], ["baselines", 9]] as const) {
      const { tokens, signals } = scope(() => measureSignals(family, images(device, family), level));
      assert.equal(Object.keys(signals).length, count);
      for (const [signal, tensor] of Object.entries(signals)) assert.deepEqual(tensor.shape, [3], signal);
      disposeAll([tokens, signals]);
    }
    family.dispose();
  }, [cpuTarget]);
}

function toRange({ valueRange: [low, high] }: ImageTokenizer): (x: number) => number {
  return (x) => x * (high - low) + low;
}

async function data(tensor: Tensor): Promise<Float32Array> {
  const values = await tensor.data();
  tensor.dispose();
  return values;
}

withDevices("rowQuantile() is numpy's, whichever ranks it lies between", async (device) => {
  for (const n of [1, 2, 7, 11, 64, 256]) {
    const rows = uniforms(3, n, 2 * n);
    for (const q of [0, 0.5, 0.9, 1]) {
      const x = fromArray(device, rows, [2, n]);
      const found = scope(() => rowQuantile(x, q));
      near(await found.data(), [quantile(rows.subarray(0, n), q), quantile(rows.subarray(n), q)], `n ${n}, q ${q}`);
      disposeAll([x, found]);
    }
  }
});

withDevices("every quantiser gives tokens of the family and the fHat that they stand for", async (device) => {
  const family = await families.var(device);
  for (const name of quantizerNames) {
    const quantizer = await openQuantizer(name, family);
    const found = scope(() => {
      const { f, tokens, fHat, signals } = familySignals(family, images(device, family), quantizer.quantize);
      return { f, tokens, fHat, again: family.dequantize(tokens), quantLoss: signals.quantLoss };
    });
    const tokens = await found.tokens.ints();
    assert.equal(tokens.length, 3 * family.tokenCount);
    assert.ok(tokens.every((token) => token >= 0 && token < family.codes));
    const [again, fHat] = [await found.again.data(), await found.fHat.data()];
    again.forEach((value, i) => assert.ok(Math.abs(value - fHat[i]) < 1e-5, `${name}: fHat[${i}]`));
    near(await found.quantLoss.data(), errors(await found.f.data(), fHat, 3), `${name}: quantLoss`);
    disposeAll(found);
    quantizer.dispose();
  }
  family.dispose();
}, [cpuTarget]);

Deno.test("levelFor() is the level that measures all of the signals, and scoreOf() names what was not measured", () => {
  assert.equal(levelFor([]), "core");
  assert.equal(levelFor(["quantLoss", "encLoss"]), "core");
  assert.equal(levelFor(["quantLoss", "changedTokens"]), "all");
  const evidence = { quantLoss: 0, encLoss: 1, encLossUncalibrated: 1, combined: 0, quantErrorTail: 0 };
  assert.throws(() => scoreOf("reconstruction", evidence), /reconstruction: was not measured; .*"all" has it/);
  assert.equal(scoreOf("changedTokens", { ...evidence, unchangedTokens: 0.75 }), 0.25);
  for (const name of signalNames) assert.ok(Number.isFinite(toScale(name, 0)), `${name} of an error of 0`);
});
