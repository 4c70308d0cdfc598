/**
 * Losses of the transformers: against the cross-entropy of the reference's logits, their gradients, and what is random.
 */
import assert from "node:assert/strict";
import {
  affine,
  type Device,
  differentiate,
  disposeAll,
  fromArray,
  scope,
  sub,
  type Tensor,
} from "../../core/tensor/mod.ts";
import { syntheticSource } from "../../models/checkpoint/mod.ts";
import { llamagenLoss } from "../../models/llamagen/training.ts";
import { transformerSpecs as llamagenSpecs } from "../../models/llamagen/transformer.ts";
import { randomOrderShare, rarLoss, sampleOrders } from "../../models/rar/training.ts";
import { transformerSpecs as rarSpecs } from "../../models/rar/transformer.ts";
import { distinctLabels, draws, dropLabels } from "../../models/training.ts";
import { varLoss } from "../../models/var/training.ts";
import { transformerSpecs as varSpecs } from "../../models/var/transformer.ts";
import { loadWeights, partNames, Weights, type WeightSpec } from "../../models/weights.ts";
import { ParityCase } from "../../parity/case.ts";
import { gptConfig } from "../../parity/llamagen/configs.ts";
import { rarConfig } from "../../parity/rar/configs.ts";
import { varConfig } from "../../parity/var/configs.ts";
import { withDevices } from "../core/devices.ts";

async function golden(name: string): Promise<ParityCase> {
  const parityCase = await ParityCase.open(new URL(`../fixtures/golden/${name}.json`, import.meta.url).pathname);
  assert.ok(parityCase);
  return parityCase;
}

/** Mean of -log softmax(row)[target] in float64 over the rows of logits[batch, stride, codes] that have a target. */
function referenceLoss(logits: Float32Array, codes: number, stride: number, targets: ArrayLike<number>, batch: number) {
  const n = targets.length / batch;
  let sum = 0;
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < n; t++) {
      const row = logits.subarray((b * stride + t) * codes, (b * stride + t + 1) * codes);
      const max = Math.max(...row);
      sum += max + Math.log(row.reduce((total, x) => total + Math.exp(x - max), 0)) - row[targets[b * n + t]];
    }
  }
  return sum / targets.length;
}

function dense(device: Device, salt: string, specs: readonly WeightSpec[]): Promise<Weights> {
  const source = syntheticSource(salt, specs);
  return loadWeights(device, source, specs, { what: "test", dense: () => true });
}

/** A network with the weights of a golden case, its loss, and the same from the reference's logits. */
interface Subject {
  readonly specs: readonly WeightSpec[];
  readonly weights: Weights;
  readonly loss: () => Tensor;
  readonly expected: number;
}

async function rarSubject(device: Device): Promise<Subject> {
  const parityCase = await golden("case02_rar");
  const config = rarConfig(parityCase.manifest.config.rar);
  const specs = rarSpecs(config), weights = await dense(device, parityCase.salt, specs);
  const tokens = Int32Array.from(await parityCase.ints("tokens"));
  const labels = Array.from(await parityCase.ints("condition_labels"));
  const flat = Int32Array.from(await parityCase.ints("orders"));
  const orders = labels.map((_, b) => flat.slice(b * 64, (b + 1) * 64));
  const logits = await parityCase.floats("logits_perm"), targets = await parityCase.ints("labels_perm");
  parityCase.close();
  return {
    specs,
    weights,
    loss: () => rarLoss(device, weights, config, { tokens, labels, orders }),
    expected: referenceLoss(logits, config.codes, 65, targets, 2),
  };
}

async function varSubject(device: Device, name: string): Promise<Subject> {
  const parityCase = await golden(name);
  const config = varConfig(parityCase.manifest.config.var, { zChannels: 16, codes: 64 });
  const specs = varSpecs(config), weights = await dense(device, parityCase.salt, specs);
  const tokens = Int32Array.from(await parityCase.ints("tokens"));
  const labels = Array.from(await parityCase.ints("labels"));
  const values = await parityCase.floats("var_input");
  const logits = await parityCase.floats("logits_cond");
  parityCase.close();
  return {
    specs,
    weights,
    loss: () =>
      scope(() => {
        const input = fromArray(device, Float32Array.from(values), parityCase.info("var_input").shape);
        return varLoss(device, weights, config, { tokens, labels, input });
      }),
    expected: referenceLoss(logits, config.codes, tokens.length / 2, tokens, 2),
  };
}

async function llamagenSubject(device: Device, name: string): Promise<Subject> {
  const parityCase = await golden(name);
  const config = gptConfig(parityCase.manifest.config.gpt), { tokenCount, codes } = config;
  const specs = llamagenSpecs(config), weights = await dense(device, parityCase.salt, specs);
  const tokens = Int32Array.from(await parityCase.ints("tokens"));
  const labels = Array.from(await parityCase.ints("labels"));
  const logits = await parityCase.floats("logits_cond");
  parityCase.close();
  return {
    specs,
    weights,
    loss: () => llamagenLoss(device, weights, config, { tokens, labels }),
    expected: referenceLoss(logits, codes, tokenCount + 1, tokens, labels.length),
  };
}

const subjects: readonly [string, (device: Device) => Promise<Subject>][] = [
  ["rarLoss() in given orders", rarSubject],
  ["varLoss()", (device) => varSubject(device, "case04_var_l2norm")],
  ["llamagenLoss()", (device) => llamagenSubject(device, "case22_llamagen_gpt")],
  ["llamagenLoss() of odd sizes", (device) => llamagenSubject(device, "case22b_llamagen_gpt_odd")],
  ["varLoss() with shared adaLN", (device) => varSubject(device, "case04_var_sharedaln")],
];

for (const [name, open] of subjects) {
  withDevices(`${name} is the cross-entropy of the reference's logits`, async (device) => {
    const before = device.memory().liveBytes;
    const { weights, loss, expected } = await open(device);
    const result = loss();
    // Logits agree within 1e-5 (parity), and so does a mean of their differences.
    assert.ok(Math.abs(await result.item() - expected) < 1e-5, `${await result.item()}, expected ${expected}`);
    result.dispose();
    weights.dispose();
    assert.equal(device.memory().liveBytes, before);
  });

  withDevices(`${name} gives every parameter a finite gradient, which says how the loss changes`, async (device) => {
    const before = device.memory().liveBytes;
    const { specs, weights, loss } = await open(device);
    const names = specs.flatMap(partNames), parameters = names.map((part) => weights.get(part));
    const { result, gradients } = differentiate(parameters, () => ({ loss: loss() }));
    const values: Float32Array[] = [];
    for (const [i, part] of names.entries()) {
      assert.ok(gradients[i], `${part} has no gradient`);
      const own = await gradients[i].data();
      assert.ok(own.every(Number.isFinite), part);
      assert.ok(own.some((x) => x !== 0), `${part}: its gradient is zero`);
      values.push(own);
    }
    // Along the gradient, scaled to a step of 1e-2, the central difference of the loss is the gradient's own length.
    const length = Math.sqrt(values.reduce((sum, own) => sum + own.reduce((s, x) => s + x * x, 0), 0));
    const at = async (sign: number) => {
      const moved = new Map(names.map((part, i) => {
        return [part, scope(() => sub(parameters[i], affine(gradients[i]!, -sign * 1e-2 / length)))];
      }));
      const original = await Promise.all(parameters.map((tensor) => tensor.data()));
      for (const [i, part] of names.entries()) device.write(parameters[i].storage, await moved.get(part)!.data());
      const value = loss();
      const number = await value.item();
      parameters.forEach((tensor, i) => device.write(tensor.storage, original[i]));
      disposeAll([value, moved]);
      return number;
    };
    const slope = (await at(1) - await at(-1)) / 2e-2;
    // Truncation of the central difference at this step is below 1e-3 of it, rounding (1e-6 / 2e-2) below 1e-4.
    assert.ok(Math.abs(slope / length - 1) < 5e-3, `slope ${slope}, length of the gradient ${length}`);
    disposeAll([result, gradients]);
    weights.dispose();
    assert.equal(device.memory().liveBytes, before);
  });
}

Deno.test("randomOrderShare() is 1 in the first half and falls to 0 at three quarters", () => {
  assert.deepEqual([0, 0.49, 0.5, 0.625, 0.75, 1].map((at) => randomOrderShare(at)), [1, 1, 1, 0.5, 0, 0]);
});

Deno.test("sampleOrders() gives permutations, random ones with the given probability, by seed and step alone", () => {
  const at = { seed: 7, step: 3 };
  const raster = Array.from({ length: 16 }, (_, i) => i);
  const orders = sampleOrders(4000, 16, 0.25, at);
  for (const order of orders) assert.deepEqual([...order].sort((a, b) => a - b), raster);
  const random = orders.filter((order) => order.some((o, i) => o !== i));
  // Binomial with n = 4000, p = 0.25: four standard deviations are 0.027.
  assert.ok(Math.abs(random.length / 4000 - 0.25) < 0.028, `${random.length}`);
  // Every token is equally likely to come first: 62.5 each on average, four standard deviations are 31.
  const first = new Array<number>(16).fill(0);
  for (const order of random) first[order[0]]++;
  for (const n of first) assert.ok(Math.abs(n - random.length / 16) < 31, `${first}`);
  assert.deepEqual(sampleOrders(4000, 16, 0.25, at), orders);
  assert.notDeepEqual(sampleOrders(4000, 16, 0.25, { seed: 7, step: 4 }), orders);
  assert.ok(sampleOrders(10, 16, 0, at).every((order) => order.every((o, i) => o === i)));
});

Deno.test("dropLabels() drops the given share, by seed and step alone", () => {
  const labels = Array.from({ length: 4000 }, (_, i) => i % 10);
  const dropped = dropLabels(labels, 0.1, 1, 2);
  const count = dropped.filter((label) => label === null).length;
  // Binomial with n = 4000, p = 0.1: four standard deviations are 76.
  assert.ok(Math.abs(count - 400) < 76, `${count}`);
  assert.ok(dropped.every((label, i) => label === null || label === labels[i]));
  assert.deepEqual(dropLabels(labels, 0.1, 1, 2), dropped);
  assert.notDeepEqual(dropLabels(labels, 0.1, 1, 3), dropped);
});

Deno.test("draws() depend on nothing but seed, stream and step", () => {
  const few = draws(1, 2, 3, 5), many = draws(1, 2, 3, 400);
  assert.deepEqual([...few], [...many.subarray(0, 5)]);
  const mean = many.reduce((sum, u) => sum + u, 0) / 400;
  assert.ok(Math.abs(mean - 0.5) < 4 * Math.sqrt(1 / 12 / 400), `${mean}`);
  for (const other of [draws(2, 2, 3, 5), draws(1, 3, 3, 5), draws(1, 2, 4, 5)]) assert.notDeepEqual(other, few);
});

Deno.test("distinctLabels() lists labels once, null last", () => {
  const { distinct, places } = distinctLabels([3, null, 1, 3, null]);
  assert.deepEqual(distinct, [1, 3, null]);
  assert.deepEqual([...places], [1, 2, 0, 1, 2]);
});
