/** The loss of LlamaGen's tokenizer: its parts against their definitions in float64, and its gradients. */
import assert from "node:assert/strict";
import {
  affine,
  type Device,
  differentiate,
  disposeAll,
  randomUniform,
  scope,
  type Tensor,
} from "../../../core/tensor/mod.ts";
import { syntheticSource } from "../../../models/checkpoint/mod.ts";
import type { LlamagenTokenizerConfig } from "../../../models/llamagen/config.ts";
import { llamagen, type LlamagenImageTokenizer } from "../../../models/llamagen/family.ts";
import { tokenizerSpecs } from "../../../models/llamagen/tokenizer.ts";
import { tokenizerLoss } from "../../../models/llamagen/training.ts";
import { partNames } from "../../../models/weights.ts";
import { withDevices } from "../../core/devices.ts";

const config: LlamagenTokenizerConfig = {
  ch: 16,
  chMult: [1, 2],
  resBlocks: 1,
  zChannels: 8,
  codes: 24,
  codeChannels: 4,
  resolution: 8,
  normGroups: 4,
};
const specs = tokenizerSpecs(config), names = specs.flatMap(partNames);
const options = { latentWeight: 0.5, seed: 1, step: 0 };

async function open(device: Device): Promise<LlamagenImageTokenizer> {
  const source = syntheticSource("llamagen-training", specs);
  return await llamagen.loadTokenizer(device, source, config, { dense: () => true }) as LlamagenImageTokenizer;
}

/** Mean of `f` over the differences of two tensors. */
async function meanOf(a: Tensor, b: Tensor, f: (difference: number) => number): Promise<number> {
  const [x, y] = [await a.data(), await b.data()];
  return x.reduce((sum, value, i) => sum + f(value - y[i]), 0) / x.length;
}

withDevices(
  "tokenizerLoss() of LlamaGen is pixels, codebook and commitment over vectors of length 1",
  async (device) => {
    const before = device.memory().liveBytes;
    const tokenizer = await open(device);
    const images = scope(() => affine(randomUniform(device, [2, 8, 8, 3], 1), 2, -1));
    const { loss, mse, latent } = scope(() => tokenizerLoss(tokenizer, images, options));
    const f = tokenizer.encode(images), { tokens, fHat } = tokenizer.quantize(f), decoded = tokenizer.decode(fHat);
    const squares = await meanOf(f, fHat, (d) => d * d);
    const pixels = await meanOf(decoded, images, (d) => Math.abs(d) + d * d);
    // Float32 sums of a few hundred terms of order 1.
    assert.ok(Math.abs(await latent.item() - squares) < 1e-5);
    assert.ok(Math.abs(await loss.item() - (pixels + 0.5 * 1.25 * squares)) < 1e-5);
    assert.ok(Math.abs(await mse.item() - await meanOf(decoded, images, (d) => d * d / 4)) < 1e-5);
    assert.throws(
      () => tokenizerLoss(tokenizer, images, { ...options, readBack: { weight: 1, isotropyWeight: 1 } }),
      /LlamaGen's tokenizer has no terms `readBack`/,
    );
    disposeAll([images, loss, mse, latent, f, tokens, fHat, decoded]);
    tokenizer.dispose();
    assert.equal(device.memory().liveBytes, before);
  },
);

withDevices(
  "tokenizerLoss() of LlamaGen gives every parameter a gradient; the decoder's is the slope",
  async (device) => {
    const before = device.memory().liveBytes;
    const tokenizer = await open(device), parameters = names.map((name) => tokenizer.weights.get(name));
    const images = scope(() => affine(randomUniform(device, [2, 8, 8, 3], 2), 2, -1));
    const { result, gradients } = differentiate(parameters, () => tokenizerLoss(tokenizer, images, options));
    const slopes = new Map<string, Float32Array<ArrayBuffer>>();
    for (const [i, name] of names.entries()) {
      const own = await gradients[i]!.data();
      assert.ok(own.every(Number.isFinite) && own.some((x) => x !== 0), name);
      if (/^(decoder|post_quant_conv)\./.test(name)) slopes.set(name, own);
    }
    // Codes of length 1 have gradients at right angles to them.
    const codebook = await tokenizer.weights.get("quantize.embedding.weight").data();
    const toCodes = await gradients[names.indexOf("quantize.embedding.weight")]!.data();
    for (let code = 0; code < config.codes; code++) {
      const dot = toCodes.subarray(4 * code, 4 * code + 4).reduce((sum, x, i) => sum + x * codebook[4 * code + i], 0);
      assert.ok(Math.abs(dot) < 1e-5, `${code}: ${dot}`);
    }
    // Behind the quantiser the loss is smooth: along the gradient its central difference is the gradient's length.
    const length = Math.sqrt([...slopes.values()].reduce((sum, own) => sum + own.reduce((s, x) => s + x * x, 0), 0));
    const at = async (step: number) => {
      const originals = new Map<string, Float32Array<ArrayBuffer>>();
      for (const [name, slope] of slopes) {
        const tensor = tokenizer.weights.get(name), values = await tensor.data();
        originals.set(name, values.slice());
        device.write(tensor.storage, values.map((value, i) => value + step / length * slope[i]));
      }
      const all = scope(() => tokenizerLoss(tokenizer, images, options)), value = await all.loss.item();
      for (const [name, values] of originals) device.write(tokenizer.weights.get(name).storage, values);
      disposeAll(all);
      return value;
    };
    const slope = (await at(1e-2) - await at(-1e-2)) / 2e-2;
    // Absolute errors have kinks, a few of which lie within the step; rounding is 1e-6 / 2e-2.
    assert.ok(Math.abs(slope / length - 1) < 2e-2, `slope ${slope}, length of the gradient ${length}`);
    disposeAll([images, result, gradients]);
    tokenizer.dispose();
    assert.equal(device.memory().liveBytes, before);
  },
);
