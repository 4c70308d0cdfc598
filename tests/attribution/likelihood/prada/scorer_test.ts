/** PRADA scores against their definition in float64, gradients against differences, streaming, memory, bad input. */
import assert from "node:assert/strict";
import { network, Scales, scoreTokens, uploadParameters } from "../../../../attribution/likelihood/prada/network.ts";
import {
  decidePrada,
  initialScoreFunction,
  PradaScorer,
  scoreFunction,
} from "../../../../attribution/likelihood/prada/mod.ts";
import { parameterNames, type TokenPairs } from "../../../../attribution/likelihood/prada/score_function.ts";
import { pairTensors } from "../../../../attribution/likelihood/prada/scorer.ts";
import { type Device, disposeAll, fromArray, gradcheck, normals, type Tensor } from "../../../../core/tensor/mod.ts";
import { withDevices } from "../../../core/devices.ts";
import { exactScores, randomPairs, randomScoreFunction } from "./functions.ts";

function close(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(got.length, expected.length, what);
  for (let i = 0; i < got.length; i++) {
    const allowed = tolerance * Math.max(1, Math.abs(expected[i]));
    assert.ok(Math.abs(got[i] - expected[i]) <= allowed, `${what} ${i}: expected ${expected[i]}, got ${got[i]}`);
  }
}

async function scoreAll(device: Device, own: ReturnType<typeof randomScoreFunction>, images: Iterable<TokenPairs>) {
  const scorer = new PradaScorer(device, own);
  try {
    return await Array.fromAsync(scorer.scores(images));
  } finally {
    scorer.dispose();
  }
}

for (const scaleLengths of [null, [1, 4, 6]]) {
  withDevices(`PradaScorer agrees with float64, scales [${scaleLengths}]`, async (device) => {
    const before = device.memory().liveBytes;
    const own = randomScoreFunction(scaleLengths);
    const images = Array.from({ length: 7 }, (_, i) => randomPairs(11, i));
    const scores = await scoreAll(device, own, images);
    assert.equal(scores.length, images.length);
    scores.forEach(({ score, scaleMeans, tokenScores }, i) => {
      const expected = exactScores(own, images[i]);
      close(tokenScores, expected.tokenScores, 2e-6, "token");
      close(scaleMeans, expected.scaleMeans, 2e-6, "scale");
      close([score], [expected.score], 2e-6, "image");
    });
    assert.equal(device.memory().liveBytes, before);
  });

  withDevices(`PRADA's gradients are those of the scores, noise included, scales [${scaleLengths}]`, async (device) => {
    const own = randomScoreFunction(scaleLengths);
    const scales = new Scales(device, scaleLengths, 11);
    const parameters = uploadParameters(device, own);
    const [conditional, unconditional] = pairTensors(device, [1, 2, 3].map((seed) => randomPairs(11, seed)));
    const noise = { values: fromArray(device, normals(5, 0, 33), [3, 11]), scale: 0.4 };
    const body = (...tensors: Tensor[]) => {
      const moved = Object.fromEntries(parameterNames.map((name, i) => [name, tensors[i]])) as typeof parameters;
      return scoreTokens(moved, conditional, unconditional, scales, noise).scores;
    };
    await gradcheck(parameterNames.map((name) => parameters[name]), body, { step: 2e-3, tolerance: 1e-2 });
    scales.dispose();
    disposeAll([parameters, conditional, unconditional, noise.values]);
  });
}

withDevices("noise has the standard deviation of a scale's inputs, scaled", async (device) => {
  // alpha 1 and a network that hands its input on: two scales whose inputs deviate by 1 and by 10.
  const own = scoreFunction({
    "alpha": Float32Array.of(1),
    "w": Float32Array.of(1, 0),
    "net.0.weight": Float32Array.of(1),
    "net.0.bias": Float32Array.of(1000),
    "net.2.weight": Float32Array.of(1),
    "net.2.bias": Float32Array.of(0),
    "net.4.weight": Float32Array.of(1),
    "net.4.bias": Float32Array.of(-1000),
  }, [2, 2]);
  const scales = new Scales(device, own.scaleLengths, 4);
  const parameters = uploadParameters(device, own);
  const rows = [[1, -1, 10, -10], [0, 0, 0, 0]].map((row) => ({
    conditional: Float32Array.from(row),
    unconditional: new Float32Array(4),
  }));
  const [conditional, unconditional] = pairTensors(device, rows);
  const values = fromArray(device, new Float32Array(8).fill(1), [2, 4]);
  const result = scoreTokens(parameters, conditional, unconditional, scales, { values, scale: 0.5 });
  const got = await result.tokenScores.data();
  const [small, large] = [0.5 * Math.sqrt(2 / 3), 0.5 * Math.sqrt(200 / 3)];
  const expected = [1 + small, -1 + small, 10 + large, -10 + large, small, small, large, large];
  close(got, expected, 2e-4, "token");
  scales.dispose();
  disposeAll([parameters, conditional, unconditional, values, result]);
});

withDevices("PradaScorer takes images as they come, in batches, with the same result", async (device) => {
  const own = randomScoreFunction(null, 16), tokens = 4000, count = 40;
  let asked = 0;
  async function* images() {
    for (let i = 0; i < count; i++) {
      asked++;
      yield await Promise.resolve(randomPairs(tokens, i % 3));
    }
  }
  const scorer = new PradaScorer(device, own);
  const got: number[] = [];
  for await (const { score } of scorer.scores(images())) {
    if (got.length === 0) assert.ok(asked < count, `the first score came after ${asked} images`);
    got.push(score);
  }
  assert.equal(got.length, count);
  got.forEach((score, i) => assert.equal(score, got[i % 3]));
  // Another number of tokens is fine where there are no scales.
  assert.equal((await Array.fromAsync(scorer.scores([randomPairs(5, 1)]))).length, 1);
  scorer.dispose();
});

withDevices("PradaScorer.curve() is the network over weighed differences", async (device) => {
  const own = randomScoreFunction([2, 3]);
  const scorer = new PradaScorer(device, own);
  const curve = await scorer.curve([-3, 0, 2.5]);
  scorer.dispose();
  const alpha = own.parameters.alpha[0];
  const pairs = {
    conditional: Float32Array.of(-3, 0, 2.5).map((x) => x / (2 - alpha)),
    unconditional: new Float32Array(3),
  };
  close(curve, exactScores({ ...own, scaleLengths: null }, pairs).tokenScores, 1e-5, "curve");
});

withDevices("PradaScorer refuses pairs that do not fit, are not finite, or do not fill the scales", async (device) => {
  const own = randomScoreFunction([1, 4, 6]);
  const before = device.memory().liveBytes;
  const good = randomPairs(11, 1);
  const scored = (...images: TokenPairs[]) => scoreAll(device, own, images);
  await assert.rejects(
    scored(good, { ...good, unconditional: new Float32Array(3) }),
    /image 1 expects 11 .* got 11 and 3/,
  );
  await assert.rejects(scored(good, randomPairs(10, 1)), /image 1 expects 11 .* got 10 and 10/);
  await assert.rejects(scored(randomPairs(10, 1)), /scales \[1,4,6\] expect 11 tokens, at least one, got 10/);
  const broken = { ...good, conditional: good.conditional.with(2, -Infinity) };
  await assert.rejects(scored(broken), /image 0: the conditional value of token 2 is -Infinity/);
  await assert.rejects(scored(randomPairs(0, 1)), /image 0 expects at least one/);
  assert.equal(device.memory().liveBytes, before);
});

withDevices("the network is finite far from everything it was fitted on", async (device) => {
  const parameters = uploadParameters(device, initialScoreFunction(null));
  const x = fromArray(device, [-1e4, -100, 100, 1e4], [4, 1]);
  const y = network(parameters, x);
  assert.ok((await y.data()).every(Number.isFinite));
  disposeAll([parameters, x, y]);
});

Deno.test("scoreFunction() names the parameter that does not fit", () => {
  const { parameters } = randomScoreFunction([1, 4, 6]);
  assert.throws(() => scoreFunction(parameters, null), /w expects 1 values, one per scale of \[one scale\], got 3/);
  assert.throws(() => scoreFunction(parameters, [1, 0, 2]), /expect positive whole numbers, got \[1,0,2\]/);
  const broken = { ...parameters, "net.2.bias": parameters["net.2.bias"].with(1, NaN) };
  assert.throws(() => scoreFunction(broken, [1, 4, 6], "x.pt"), /^RangeError: x\.pt: net\.2\.bias\[1\] is NaN/);
  const short = { ...parameters, "net.2.weight": new Float32Array(3) };
  assert.throws(() => scoreFunction(short, [1, 4, 6]), /net\.2\.weight expects 25 values, got 3/);
  assert.throws(() => initialScoreFunction(null, { hidden: 0 }), /hidden expects a positive whole number, got 0/);
});

Deno.test("initialScoreFunction() draws layers within their bounds, the same for a seed, others for another", () => {
  const { parameters } = initialScoreFunction([3, 5], { hidden: 16, seed: 4 });
  assert.deepEqual([...parameters.alpha, ...parameters.w], [1, 0.5, 0.5]);
  const bounds = { "net.0.weight": 1, "net.0.bias": 1, "net.2.weight": 0.25, "net.2.bias": 0.25, "net.4.weight": 0.25 };
  for (const [name, bound] of Object.entries(bounds)) {
    const values = parameters[name as keyof typeof bounds];
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    assert.ok(largest <= bound && largest > bound / 2, `${name}: ${largest}`);
  }
  assert.deepEqual(initialScoreFunction([3, 5], { seed: 4 }).parameters, parameters);
  assert.notDeepEqual(initialScoreFunction([3, 5], { seed: 5 }).parameters, parameters);
});

Deno.test("decidePrada() takes the largest score above 0, and none of the models otherwise", () => {
  const { model, detection, probabilities, none } = decidePrada({ rarb: -1, rarl: 2, var16: 1 });
  assert.deepEqual([model, detection], ["rarl", 2]);
  const total = 1 + Math.exp(-1) + Math.exp(2) + Math.exp(1);
  assert.ok(Math.abs(probabilities.rarl - Math.exp(2) / total) < 1e-12);
  assert.ok(Math.abs(none - 1 / total) < 1e-12);
  assert.ok(Math.abs(Object.values(probabilities).reduce((a, b) => a + b, none) - 1) < 1e-12);
  assert.deepEqual(decidePrada({ rarb: -1, rarl: -0.5 }).model, null);
  assert.deepEqual(decidePrada({ rarb: -1, rarl: -0.5 }).detection, -0.5);
  assert.equal(decidePrada({ rarb: 0 }).model, null);
  assert.equal(decidePrada({ rarl: 3, rarb: 3 }).model, "rarl");
  assert.deepEqual(decidePrada({ rarl: 5000, rarb: -5000 }).probabilities, { rarl: 1, rarb: 0 });
  assert.deepEqual(decidePrada({ rarl: Infinity, rarb: 1 }).probabilities, { rarl: 1, rarb: 0 });
  const strict = decidePrada({ rarl: 2, rarb: 1 }, 3);
  assert.deepEqual([strict.model, strict.detection], [null, 2]);
  assert.ok(Math.abs(strict.none - 1 / (1 + Math.exp(-1) + Math.exp(-2))) < 1e-12);
  assert.equal(decidePrada({ rarl: -2, rarb: -3 }, -2.5).model, "rarl");
  assert.throws(() => decidePrada({ rarl: 1 }, NaN), /real expects a finite score, got NaN/);
  assert.throws(() => decidePrada({}), /at least one model, got none/);
  assert.throws(() => decidePrada({ rarl: 1, rarb: NaN }), /the score of rarb is NaN/);
});
