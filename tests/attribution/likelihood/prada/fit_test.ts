/** Fitting PRADA: it learns, the same every time, what it is asked to; the rest stays; bad input; interruption. */
import assert from "node:assert/strict";
import {
  fitPrada,
  fitTargets,
  type PradaFitOptions,
  PradaScorer,
} from "../../../../attribution/likelihood/prada/mod.ts";
import { withDevices } from "../../../core/devices.ts";
import { randomPairs, randomScoreFunction } from "./functions.ts";

const tokens = 12;
const generated = Array.from({ length: 20 }, (_, i) => randomPairs(tokens, 100 + i, 0.4));
const others = Array.from({ length: 20 }, (_, i) => randomPairs(tokens, 200 + i, -0.1));
const scaleLengths = [1, 4, 7];
const quick: PradaFitOptions = { epochs: 60, lr: 1e-2, scaleLengths };

withDevices("fitPrada() learns to tell generated images from others, with noise, and on new images", async (device) => {
  const before = device.memory().liveBytes;
  const progress: number[] = [];
  const onProgress = (epochs: number) => progress.push(epochs);
  const { scoreFunction, losses, aurocs, alphas } = await fitPrada(device, generated, others, {
    ...quick,
    epochs: 120,
    onProgress,
  });
  assert.deepEqual(progress, [50, 100, 120]);
  assert.deepEqual([losses.length, aurocs.length, alphas.length], [120, 120, 120]);
  assert.ok(losses[119] < 0.6 * losses[0], `the loss went from ${losses[0]} to ${losses[119]}`);
  assert.ok(aurocs[119] > 0.95, `AUROC ${aurocs[119]}`);
  assert.equal(alphas[119], scoreFunction.parameters.alpha[0]);
  assert.deepEqual(scoreFunction.scaleLengths, scaleLengths);
  const scorer = new PradaScorer(device, scoreFunction);
  const fresh = [0.4, -0.1].map((gain) => Array.from({ length: 30 }, (_, i) => randomPairs(tokens, 900 + i, gain)));
  const [high, low] = await Promise.all(fresh.map((images) => Array.fromAsync(scorer.scores(images))));
  scorer.dispose();
  const right = high.filter(({ score }) => score > 0).length + low.filter(({ score }) => score <= 0).length;
  assert.ok(right >= 54, `${right} of 60 new images are right`);
  assert.equal(device.memory().liveBytes, before);
});

withDevices("fitPrada() is the same every time; another seed changes it", async (device) => {
  const [first, second] = [
    await fitPrada(device, generated, others, quick),
    await fitPrada(device, generated, others, quick),
  ];
  assert.deepEqual(first, second);
  const other = await fitPrada(device, generated, others, { ...quick, seed: 1 });
  assert.notDeepEqual(other.losses, first.losses);
  const init = randomScoreFunction(scaleLengths, 8);
  const noises = [0, 1].map((seed) => fitPrada(device, generated, others, { ...quick, init, seed }));
  const [one, two] = await Promise.all(noises);
  assert.notDeepEqual(one.losses, two.losses, "the noise depends on the seed");
  const quiet = await Promise.all(
    [0, 1].map((seed) => fitPrada(device, generated, others, { ...quick, init, seed, noise: 0 })),
  );
  assert.deepEqual(quiet[0].losses, quiet[1].losses);
});

withDevices("fitPrada() leaves alone what it is told to, and the weight of a single scale", async (device) => {
  const fixed = { ...quick, epochs: 5, learnDifference: false, learnScaleWeights: false };
  const { scoreFunction: { parameters } } = await fitPrada(device, generated, others, fixed);
  assert.deepEqual([...parameters.alpha], [1]);
  assert.deepEqual([...parameters.w], [...new Float32Array(3).fill(1 / 3)]);
  const learnt = (await fitPrada(device, generated, others, { ...quick, epochs: 5 })).scoreFunction.parameters;
  assert.notEqual(learnt.alpha[0], 1);
  assert.notDeepEqual([...learnt.w], [...parameters.w]);
  const single = await fitPrada(device, generated, others, { ...quick, epochs: 5, scaleLengths: null });
  assert.deepEqual([...single.scoreFunction.parameters.w], [1]);
  assert.equal(single.scoreFunction.scaleLengths, null);
});

withDevices("the term over scale weights pulls the sum of their sizes towards 1", async (device) => {
  const init = randomScoreFunction(scaleLengths, 8);
  const start = init.parameters.w.fill(1);
  assert.equal(start.length, 3);
  const sum = async (l1: number) => {
    const { scoreFunction } = await fitPrada(device, generated, others, { ...quick, init, l1, epochs: 150 });
    return scoreFunction.parameters.w.reduce((total, w) => total + Math.abs(w), 0);
  };
  assert.ok(Math.abs(await sum(100) - 1) < Math.abs(await sum(0) - 1) / 2);
});

withDevices("fitPrada() smooths labels: targets of its own give the same fit", async (device) => {
  const targets = [...others.map(() => 0.1), ...generated.map(() => 0.9)];
  const own = await fitTargets(device, [...others, ...generated], targets, quick);
  assert.deepEqual(await fitPrada(device, generated, others, { ...quick, labelSmoothing: 0.2 }), own);
  assert.notDeepEqual((await fitPrada(device, generated, others, quick)).losses, own.losses);
});

withDevices("fitPrada() copes with images that are all the same", async (device) => {
  const same = Array.from({ length: 3 }, () => ({
    conditional: new Float32Array(4).fill(-2),
    unconditional: new Float32Array(4).fill(-3),
  }));
  const { losses, aurocs } = await fitPrada(device, same, same, { epochs: 3 });
  assert.ok(losses.every(Number.isFinite));
  assert.deepEqual([...aurocs], [0.5, 0.5, 0.5]);
});

withDevices("fitPrada() refuses what cannot be fitted and leaves no memory behind", async (device) => {
  const before = device.memory().liveBytes;
  const fit = (change: PradaFitOptions, images = generated) =>
    fitPrada(device, images, others, { ...quick, ...change });
  await assert.rejects(fit({}, []), /expected generated and other images, got 0 generated and 20 others/);
  await assert.rejects(fitPrada(device, generated, [], quick), /got 20 generated and 0 others/);
  await assert.rejects(fit({ scaleLengths: [1, 4] }), /scales \[1,4\] expect 5 tokens, at least one, got 12/);
  await assert.rejects(fit({ scaleLengths: [] }), /expect positive whole numbers, got \[\]/);
  await assert.rejects(fit({ epochs: 0 }), /epochs expects 1 or more, got 0/);
  await assert.rejects(fit({ lr: -1 }), /lr expects 0 or more, got -1/);
  await assert.rejects(fit({ labelSmoothing: 1 }), /labelSmoothing expects 0 to 1, got 1/);
  await assert.rejects(fit({}, [randomPairs(11, 1)]), /image 20 expects 12 .* got 11 and 11/);
  await assert.rejects(fitTargets(device, generated, [1], quick), /a target per image, got 20 images and 1 targets/);
  await assert.rejects(fitTargets(device, others.slice(0, 2), [2, 0], quick), /target 0 expects 0 to 1, got 2/);
  await assert.rejects(fit({ lr: 1e30, noise: 0 }), /the loss of epoch \d+ is (NaN|Infinity): try a lower lr/);
  assert.equal(device.memory().liveBytes, before);
});

withDevices("fitPrada() ends with the reason of its signal", async (device) => {
  const before = device.memory().liveBytes;
  const controller = new AbortController();
  const seen: number[] = [];
  const onProgress = (epochs: number) => {
    seen.push(epochs);
    controller.abort(new Error("enough"));
  };
  await assert.rejects(
    fitPrada(device, generated, others, { ...quick, epochs: 1000, signal: controller.signal, onProgress }),
    /^Error: enough$/,
  );
  assert.deepEqual(seen, [50]);
  assert.equal(device.memory().liveBytes, before);
});
