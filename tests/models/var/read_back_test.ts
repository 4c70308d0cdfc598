/** The terms that make VAR's tokens readable from their images: their values, where mixed tokens come from, that they teach. */
import assert from "node:assert/strict";
import {
  Adam,
  differentiate,
  disposeAll,
  fromArray,
  gradcheck,
  normals,
  scope,
  sum,
  uniforms,
} from "../../../core/tensor/mod.ts";
import { syntheticSource } from "../../../models/checkpoint/mod.ts";
import { scaleStarts } from "../../../models/family.ts";
import { type VqvaeConfig } from "../../../models/var/config.ts";
import { VarImageTokenizer } from "../../../models/var/family.ts";
import { anisotropy, mixedPlaces, mixTokens, readBackLoss, throughBytes } from "../../../models/var/read_back.ts";
import { vqvaeSpecs } from "../../../models/var/vqvae.ts";
import { loadWeights, partNames } from "../../../models/weights.ts";
import { openCpuForTests } from "../../core/devices.ts";

const device = await openCpuForTests({ threads: 1 });
globalThis.addEventListener("unload", () => device.close());

const config: VqvaeConfig = {
  ch: 8,
  chMult: [1, 2],
  resBlocks: 1,
  zChannels: 8,
  codes: 12,
  sharedPhi: 4,
  patchNums: [1, 2, 4],
  resolution: 8,
  normGroups: 4,
};
const starts = scaleStarts(config.patchNums), tokenCount = starts[3], batch = 6;

async function openFamily() {
  const specs = vqvaeSpecs(config);
  const source = syntheticSource("read-back", specs);
  const weights = await loadWeights(device, source, specs, { what: "test", dense: () => true });
  const parameters = new Map(specs.flatMap(partNames).map((part) => [part, weights.get(part)]));
  return { family: new VarImageTokenizer(device, weights, config), weights, parameters };
}

const someTokens = () =>
  fromArray(
    device,
    Int32Array.from(uniforms(3, 0, batch * tokenCount), (u) => Math.floor(u * config.codes)),
    [batch, tokenCount],
  );

Deno.test("throughBytes() gives what a PNG file of the image gives, and the gradient of the image inside the range", async () => {
  const values = Float32Array.from(uniforms(1, 0, 999), (u) => u * 2.4 - 1.2);
  using x = fromArray(device, values, [999]);
  const { result, gradients: [gradient] } = differentiate([x], () => ({ loss: sum(throughBytes(x)) }));
  using y = throughBytes(x);
  const found = await y.data(), slopes = await gradient!.data();
  values.forEach((value, i) => {
    const unit = (Math.min(1, Math.max(-1, value)) + 1) / 2;
    const byte = (found[i] + 1) * 127.5;
    assert.ok(Math.abs(byte - Math.round(byte)) < 1e-3, `${found[i]} is no byte`);
    // float32 may fall on either side of a border between two bytes.
    assert.ok(Math.round(byte) === Math.floor(255 * unit) || Math.abs(255 * unit - Math.round(255 * unit)) < 1e-3);
    if (Math.abs(Math.abs(value) - 1) > 1e-3) assert.equal(slopes[i], Math.abs(value) < 1 ? 1 : 0);
  });
  disposeAll([result, gradient]);
});

Deno.test("mixedPlaces() stays on a token's own scale, keeps some scales whole and repeats itself", () => {
  const places = mixedPlaces(4000, config.patchNums, { seed: 1, step: 2 });
  assert.deepEqual(mixedPlaces(4000, config.patchNums, { seed: 1, step: 2 }), places);
  assert.notDeepEqual(mixedPlaces(4000, config.patchNums, { seed: 1, step: 3 }), places);
  let own = 0, kept = 0;
  places.forEach((from, to) => {
    const scale = (place: number) => starts.findLastIndex((start) => start <= place % tokenCount);
    assert.equal(scale(from), scale(to));
    if (Math.floor(from / tokenCount) === Math.floor(to / tokenCount)) own++;
    if (from % tokenCount === to % tokenCount) kept++;
  });
  // Half of the scales are an image's own, a tenth of all tokens moves (within the coarsest scale, without being seen to).
  assert.ok(Math.abs(own / places.length - 0.46) < 0.03, `${own / places.length} of the own image`);
  assert.ok(Math.abs(kept / places.length - 0.91) < 0.02, `${kept / places.length} in their own place`);
});

Deno.test("mixTokens() takes tokens from where it is told", async () => {
  using tokens = someTokens();
  const places = mixedPlaces(batch, config.patchNums, { seed: 4, step: 0 });
  using mixed = mixTokens(tokens, places);
  const before = await tokens.ints();
  assert.deepEqual(mixed.shape, tokens.shape);
  assert.deepEqual(await mixed.ints(), Int32Array.from(places, (place) => before[place]));
});

Deno.test("readBackLoss() is the cross-entropy of squared distances, computed anew in float64", async () => {
  const { family, weights } = await openFamily();
  const { quantizer } = family;
  using tokens = someTokens();
  const { loss, error } = readBackLoss(tokens, weights, quantizer, config);
  const steps = quantizer.cumulative(tokens);
  const f = scope(() => family.encode(throughBytes(family.decode(steps[2]))));
  const [read, wanted, codes, chosen] = [
    await f.data(),
    await steps[2].data(),
    await family.codebook.data(),
    await tokens.ints(),
  ];
  const square = (xs: Iterable<number>) => [...xs].reduce((sum, x) => sum + x * x, 0);
  const difference = read.map((x, i) => x - wanted[i]);
  const energy = square(wanted) / wanted.length, squared = square(difference) / wanted.length;
  let expected = 0;
  for (const [scale, pn] of config.patchNums.entries()) {
    const before = scale === 0 ? new Float32Array(read.length) : await steps[scale - 1].data();
    const size = 4 / pn;
    let sum = 0;
    for (let row = 0; row < batch * pn * pn; row++) {
      const image = Math.floor(row / (pn * pn)), y = Math.floor(row / pn) % pn, x = row % pn;
      const rest = Array.from({ length: config.zChannels }, (_, c) => {
        let mean = 0;
        for (let i = 0; i < size * size; i++) {
          const at = ((image * 4 + y * size + Math.floor(i / size)) * 4 + x * size + i % size) * config.zChannels + c;
          mean += (read[at] - before[at]) / (size * size);
        }
        return mean;
      });
      const scores = Array.from(
        { length: config.codes },
        (_, k) => -square(rest.map((r, c) => r - codes[k * config.zChannels + c])) / 2 / (squared + 0.01 * energy),
      );
      const top = Math.max(...scores);
      const total = top + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - top), 0));
      sum += total - scores[chosen[image * tokenCount + starts[scale] + row % (pn * pn)]];
    }
    expected += pn / 7 * sum / (batch * pn * pn);
  }
  // Float32 sums of latents, through a network: relative error of a few 1e-6, times the size of the scores.
  assert.ok(Math.abs(await loss.item() - expected) < 1e-4 * expected, `${await loss.item()} and ${expected}`);
  assert.ok(Math.abs(await error.item() - squared / energy) < 1e-5);
  disposeAll([loss, error, f, steps]);
  family.dispose();
});

Deno.test("training on readBackLoss() makes tokens readable", async () => {
  const { family, weights, parameters } = await openFamily();
  const { quantizer } = family;
  using tokens = someTokens();
  const recovered = async () => {
    using again = scope(() =>
      family.quantize(family.encode(throughBytes(family.decode(family.dequantize(tokens))))).tokens
    );
    const [wanted, found] = [await tokens.ints(), await again.ints()];
    return wanted.reduce((sum, token, i) => sum + (token === found[i] ? 1 : 0), 0) / wanted.length;
  };
  const before = await recovered();
  const adam = new Adam(parameters);
  const losses: number[] = [];
  for (let step = 0; step < 50; step++) {
    const { result, gradients } = differentiate([...parameters.values()], () => {
      return { loss: readBackLoss(tokens, weights, quantizer, config).loss };
    });
    adam.update(new Map([...parameters.keys()].map((name, i) => [name, gradients[i]])), 2e-3);
    losses.push(await result.loss.item());
    disposeAll([result, gradients]);
  }
  const after = await recovered();
  assert.ok(losses.at(-1)! < 0.1 * losses[0], `${losses[0]} fell to ${losses.at(-1)}`);
  assert.ok(before < 0.35 && after > 0.95, `${before} of the tokens before, ${after} after`);
  adam.dispose();
  family.dispose();
});

Deno.test("anisotropy() is channels / effective dimension - 1, and its gradient agrees with differences", async () => {
  const spread = async (scales: readonly number[]) => {
    const values = normals(7, 0, 4096 * scales.length).map((value, i) => 5 + value * scales[i % scales.length]);
    using x = fromArray(device, values, [64, 8, 8, scales.length]);
    using y = anisotropy(x);
    return await y.item();
  };
  assert.ok(Math.abs(await spread([1, 1, 1, 1])) < 0.01);
  assert.ok(Math.abs(await spread([1, 0, 0, 0]) - 3) < 1e-4);
  assert.ok(Math.abs(await spread([1, 1, 0, 0]) - 1) < 0.01);
  using x = fromArray(device, normals(8, 0, 240), [2, 5, 6, 4]);
  await gradcheck([x], anisotropy);
});
