/**
 * Drawing codes from given logits: the support against a plain float64 version of the reference's rule, frequencies against
 * probabilities, and what the random numbers depend on. Both devices.
 */
import assert from "node:assert/strict";
import { type Device, disposeAll, fromArray, normals, scope, slice, uniforms } from "../../core/tensor/mod.ts";
import { randomClass, seriesSeed, type Support, TokenDraw, TokenNoise } from "../../models/sampling.ts";
import { withDevices } from "../core/devices.ts";
import { chiSquare } from "./chi_square.ts";

/**
 * VAR's sample_with_top_k_top_p_ for one row, in float64: the probabilities, and how near the sum at the border of top-p is
 * to where another code would stay or go.
 */
function reference(logits: ArrayLike<number>, { topK, topP }: Support): { p: number[]; margin: number } {
  let kept = Array.from(logits);
  if (topK > 0) {
    const threshold = [...kept].sort((a, b) => b - a)[topK - 1];
    kept = kept.map((x) => (x < threshold ? -Infinity : x));
  }
  const softmax = (x: readonly number[]) => {
    const top = Math.max(...x);
    const e = x.map((value) => Math.exp(value - top));
    const total = e.reduce((a, b) => a + b);
    return e.map((value) => value / total);
  };
  let margin = Infinity;
  if (topP > 0) {
    const order = kept.map((_, i) => i).sort((a, b) => kept[a] - kept[b] || a - b);
    const p = softmax(order.map((i) => kept[i]));
    let sum = 0;
    order.forEach((i, at) => {
      sum += p[at];
      if (p[at] > 0 && at < order.length - 1) margin = Math.min(margin, Math.abs(sum - (1 - topP)));
      if (sum <= 1 - topP && at < order.length - 1) kept[i] = -Infinity;
    });
  }
  return { p: softmax(kept), margin };
}

/** Rows of logits; `steps` above 0 rounds them to so many levels per unit, so that many are equal. */
function randomLogits(seed: number, rows: number, codes: number, spread: number, steps: number) {
  return normals(seed, codes, rows * codes).map((x) =>
    steps > 0 ? Math.round(spread * x * steps) / steps : Math.fround(spread * x)
  );
}

/** Codes for rows of logits: row r takes the numbers of token 0 of image r. */
async function drawRows(device: Device, draw: TokenDraw, logits: Float32Array, rows: number, seed: number) {
  const noise = new TokenNoise(device, seed, Array.from({ length: rows }, (_, r) => r), 1);
  const codes = scope(() => draw.draw(fromArray(device, logits, [rows, draw.codes]), ...noise.at(0, 1)));
  const values = await codes.ints();
  codes.dispose();
  noise.dispose();
  return values;
}

const supports: Support[] = [
  { topK: 0, topP: 0 },
  { topK: 1, topP: 0 },
  { topK: 17, topP: 0 },
  { topK: 0, topP: 0.96 },
  { topK: 40, topP: 0.9 },
  { topK: 60, topP: 0.3 },
  { topK: 5, topP: 1 },
  { topK: 60, topP: 1e-6 },
];

withDevices(
  "TokenDraw.weights() keeps the codes that the reference keeps, with their probabilities",
  async (device) => {
    const rows = 48;
    let close = 0, checked = 0, tied = 0;
    for (const codes of [64, 97, 60, 768]) {
      for (const [i, support] of supports.entries()) {
        for (const [spread, steps] of [[2, 0], [1, 4], [3, 1], [12, 0]]) {
          const logits = randomLogits(100 + i, rows, codes, spread, steps);
          const draw = new TokenDraw(device, codes, support);
          const weights = scope(() => draw.weights(fromArray(device, logits, [rows, codes])));
          const w = await weights.data();
          for (let r = 0; r < rows; r++) {
            const own = logits.subarray(r * codes, (r + 1) * codes);
            const { p, margin } = reference(own, support);
            if (margin < 2e-6) {
              close++; // float32 sums may fall on the other side
              continue;
            }
            checked++;
            let total = 0;
            for (let c = 0; c < codes; c++) total += w[r * codes + c];
            for (let c = 0; c < codes; c++) {
              const got = w[r * codes + c];
              const what = `${codes} codes, top-k ${support.topK}, top-p ${support.topP}, row ${r}, code ${c}`;
              // A probability below the smallest normal float32 number may come out as 0.
              if (p[c] === 0 || p[c] > 1e-37) assert.equal(got > 0, p[c] > 0, `${what}: p = ${p[c]}, weight ${got}`);
              assert.ok(Math.abs(got / total - p[c]) <= 2e-6, `${what}: expected ${p[c]}, got ${got / total}`);
            }
            if (steps > 0) tied++;
          }
          disposeAll(weights);
          draw.dispose();
        }
      }
    }
    assert.ok(close < checked / 100, `${close} of ${close + checked} rows too close to call`);
    assert.ok(tied > 2000);
  },
);

withDevices("TokenDraw keeps equal logits together at top-k and the higher codes at top-p", async (device) => {
  const one = async (logits: number[], support: Support) => {
    const draw = new TokenDraw(device, logits.length, support);
    const weights = scope(() => draw.weights(fromArray(device, logits, [1, logits.length])));
    const kept = Array.from(await weights.data()).flatMap((w, i) => (w > 0 ? [i] : []));
    disposeAll(weights);
    draw.dispose();
    return kept;
  };
  const logits = [1, 3, 1, 2, 1, 1, 0, -1];
  assert.deepEqual(await one(logits, { topK: 3, topP: 0 }), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(await one(logits, { topK: 2, topP: 0 }), [1, 3]);
  assert.deepEqual(await one(logits, { topK: 6, topP: 0 }), [0, 1, 2, 3, 4, 5]);
  // Probabilities 0.4953 (code 1), 0.1822 (3), 4 x 0.0670 (0, 2, 4, 5), 0.0247, 0.0091: 0.8 needs two of the equal four.
  assert.deepEqual(await one(logits, { topK: 0, topP: 0.8 }), [1, 3, 4, 5]);
  assert.deepEqual(await one(logits, { topK: 0, topP: 0.7 }), [1, 3, 5]);
  // Of the six equal ones that top-k leaves, top-p 0.5 keeps three, and the largest is kept in any case.
  assert.deepEqual(await one([7, 7, 7, 7, 7, 7], { topK: 1, topP: 0.5 - 1e-4 }), [3, 4, 5]);
  assert.deepEqual(await one([7, 7, 7, 7, 7, 7], { topK: 4, topP: 1e-6 }), [5]);
});

withDevices("TokenDraw draws codes as often as their probabilities say, and none of the others", async (device) => {
  // 64 and 60 codes are drawn in two steps of groups, 7 and 1 in one.
  for (const [codes, support] of [[64, supports[0]], [7, supports[0]], [60, { topK: 30, topP: 0.9 }]] as const) {
    const own = randomLogits(5, 1, codes, 1.5, 0);
    const { p } = reference(own, support);
    const rows = 40_000;
    const logits = new Float32Array(rows * codes);
    for (let r = 0; r < rows; r++) logits.set(own, r * codes);
    const draw = new TokenDraw(device, codes, support);
    const drawn = await drawRows(device, draw, logits, rows, 11);
    draw.dispose();
    const observed = new Float64Array(codes);
    for (const code of drawn) observed[code]++;
    const { statistic, degrees, bound } = chiSquare(observed, p.map((x) => x * rows));
    assert.ok(degrees >= 6 && statistic < bound, `${codes} codes: ${statistic} of ${degrees} degrees, bound ${bound}`);
    // Another distribution is told apart: that of a temperature of 1.1.
    const warm = reference(own.map((x) => x / 1.1), support).p;
    const wrong = chiSquare(observed, warm.map((x, c) => (p[c] === 0 ? 0 : Math.max(x, 1e-9)) * rows));
    assert.ok(wrong.statistic > wrong.bound, `${codes} codes: ${wrong.statistic} does not exceed ${wrong.bound}`);
  }
});

withDevices("TokenDraw draws rows in parts as it draws them at once", async (device) => {
  const codes = 64, rows = 40_000; // more than 2^21 logits
  const logits = randomLogits(3, rows, codes, 2, 0);
  const draw = new TokenDraw(device, codes, { topK: 30, topP: 0.9 });
  const all = await drawRows(device, draw, logits, rows, 1);
  const noise = new TokenNoise(device, 1, Array.from({ length: rows }, (_, r) => r), 1);
  const [first, second] = noise.at(0, 1);
  for (const start of [0, 32_000, 32_768, 39_900]) {
    const part = scope(() => {
      const own = logits.slice(start * codes, (start + 100) * codes);
      const at = (x: typeof first) => slice(x, 0, start, start + 100);
      return draw.draw(fromArray(device, own, [100, codes]), at(first), at(second));
    });
    assert.deepEqual(await part.ints(), all.slice(start, start + 100));
    part.dispose();
  }
  for (const item of [draw, noise, first, second]) item.dispose();
});

withDevices("TokenDraw frees what it makes", async (device) => {
  await device.sync();
  const before = device.memory().liveBytes;
  const draw = new TokenDraw(device, 60, { topK: 20, topP: 0.9 });
  await drawRows(device, draw, randomLogits(1, 10, 60, 1, 0), 10, 1);
  draw.dispose();
  assert.equal(device.memory().liveBytes, before);
});

withDevices("TokenDraw refuses a top-k and a top-p out of range", (device) => {
  assert.throws(() => new TokenDraw(device, 64, { topK: 65, topP: 0 }), /top-k: expected .* the 64 codes, got 65/);
  assert.throws(() => new TokenDraw(device, 64, { topK: 1.5, topP: 0 }), /top-k: expected a whole number/);
  assert.throws(() => new TokenDraw(device, 64, { topK: 0, topP: 1.01 }), /top-p: expected a number from 0/);
});

withDevices("TokenNoise gives every token of every image numbers of its own, whatever the batch", async (device) => {
  const tokens = 6;
  const read = async (images: number[], start: number, end: number) => {
    const noise = new TokenNoise(device, 9, images, tokens);
    const [first, second] = noise.at(start, end);
    const values = [...await first.data(), ...await second.data()];
    for (const item of [noise, first, second]) item.dispose();
    return values;
  };
  const whole = await read([4, 7, 4_000_000_000], 0, tokens);
  assert.equal(new Set(whole).size, whole.length);
  assert.deepEqual(await read([7], 2, 5), [...whole.slice(8, 11), ...whole.slice(26, 29)]);
  const own = uniforms(9, 7, 12);
  assert.deepEqual(whole.slice(6, 12), Array.from({ length: 6 }, (_, t) => own[2 * t]));
});

Deno.test("seriesSeed() tells variants and seeds apart", () => {
  const names = ["rarb", "rarl", "rarxl", "rarxxl", "var16", "var20", "var24", "var30"];
  const seeds = names.flatMap((name) => [0, 1, 2 ** 32 - 1].map((seed) => seriesSeed(seed, name)));
  assert.equal(new Set(seeds).size, 24);
  for (const seed of seeds) assert.ok(Number.isSafeInteger(seed) && seed >= 0);
  assert.throws(() => seriesSeed(-1, "rarb"), /seed: expected a whole number from 0 to 4294967295, got -1/);
  assert.throws(() => seriesSeed(2 ** 32, "rarb"), /seed: expected/);
});

Deno.test("randomClass() is uniform over the classes and one per image", () => {
  const seed = seriesSeed(3, "var16");
  const counts = new Float64Array(10);
  for (let image = 0; image < 20_000; image++) counts[randomClass(seed, image, 10)]++;
  const { statistic, bound } = chiSquare(counts, new Array(10).fill(2000));
  assert.ok(statistic < bound, `${statistic}, bound ${bound}`);
  assert.equal(randomClass(seed, 17, 10), randomClass(seed, 17, 10));
});
