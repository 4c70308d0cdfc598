import assert from "node:assert/strict";
import {
  logSumExp,
  mixSummaries,
  summarise,
  summaryNames,
  type TokenScores,
} from "../../../attribution/likelihood/mod.ts";

const scores: TokenScores = {
  conditional: Float32Array.of(-1, -2, -6, -3, -8, -4),
  unconditional: Float32Array.of(-2, -2, -7, -3, -8, -8),
  guided: Float32Array.of(-0.5, -1, -9, -2, -10, -1.5),
  rank: Float32Array.of(1, 2, 8, 4, 16, 1),
  supported: Float32Array.of(1, 1, 0, 1, 0, 1),
  extra: {},
};

function near(got: number, expected: number): void {
  assert.ok(Math.abs(got - expected) <= 1e-12 * Math.max(1, Math.abs(expected)), `${got}, expected ${expected}`);
}

Deno.test("summarise() gives sums, means, the lowest fifth, ranks and support", () => {
  const got = summarise(scores);
  assert.deepEqual(Object.keys(got), summaryNames());
  assert.equal(got["conditional.sum"], -24);
  assert.equal(got["conditional.mean"], -4);
  assert.equal(got["conditional.lowest20"], -7); // two of six tokens, -8 and -6
  near(got["conditional.perplexity"], Math.exp(4));
  assert.equal(got["unconditional.sum"], -30);
  assert.equal(got["unconditional.lowest20"], -8);
  assert.equal(got["guided.sum"], -24);
  assert.equal(got["guided.lowest20"], -9.5);
  assert.equal(got["difference.mean"], 1);
  near(got["rank.mean"], 32 / 6);
  near(got["rank.logMean"], Math.log(2) * (0 + 1 + 3 + 2 + 4 + 0) / 6);
  near(got["support.rate"], 4 / 6);
});

Deno.test("summarise() gives the means of every scale", () => {
  const got = summarise(scores, [0, 1, 6]);
  assert.deepEqual(Object.keys(got), summaryNames(2));
  assert.equal(got["scale1.conditional"], -1);
  assert.equal(got["scale2.conditional"], -23 / 5);
  assert.equal(got["scale2.unconditional"], -28 / 5);
  near(got["scale2.guided"], -23.5 / 5);
  near(got["scale2.logRank"], 10 * Math.log(2) / 5);
  assert.equal(got["scale1.support"], 1);
  near(got["scale2.support"], 3 / 5);
});

Deno.test("summarise() keeps perplexities at least 1 and finite, and throws on nothing", () => {
  const of = (value: number): TokenScores => ({
    conditional: Float32Array.of(value),
    unconditional: Float32Array.of(value),
    guided: Float32Array.of(value),
    rank: Float32Array.of(1),
    supported: Float32Array.of(1),
    extra: {},
  });
  assert.equal(summarise(of(1e-7))["guided.perplexity"], 1);
  assert.equal(summarise(of(-2000))["guided.perplexity"], Number.MAX_VALUE);
  const nothing = new Float32Array(0);
  const empty = { conditional: nothing, unconditional: nothing, guided: nothing, rank: nothing, supported: nothing };
  assert.throws(() => summarise({ ...empty, extra: {} }), /summarise: expected at least one token, got none/);
});

Deno.test("mixSummaries() mixes whole images, and averages what belongs to tokens by the posterior", () => {
  const half = (x: Float32Array) => x.map((value) => value + 0.5);
  const other = { ...scores, conditional: half(scores.conditional), rank: scores.rank.map((r) => r + 1) };
  const each = [summarise(scores, [0, 1, 6]), summarise(other, [0, 1, 6])];
  const got = mixSummaries(each, [3, 1], 6);
  assert.deepEqual(Object.keys(got), Object.keys(each[0]));
  const all = Math.log(0.75 * Math.exp(-24) + 0.25 * Math.exp(-21));
  near(got["conditional.sum"], all);
  near(got["conditional.mean"], all / 6);
  near(got["conditional.perplexity"], Math.exp(-all / 6));
  near(got["difference.mean"], all / 6 + 5);
  const posterior = 0.25 * Math.exp(-21) / Math.exp(all);
  near(got["conditional.lowest20"], -7 + 0.5 * posterior);
  near(got["scale2.conditional"], -23 / 5 + 0.5 * posterior);
  // Both classes have the same guided likelihood: the weights stay as they were.
  near(got["rank.mean"], 32 / 6 + 0.25);
  near(got["guided.sum"], -24);
  near(got["unconditional.sum"], -30);
});

Deno.test("mixSummaries() of one class is that class, and a class that fits nothing does not matter", () => {
  const one = summarise(scores, [0, 1, 6]);
  const same = mixSummaries([one], [0.3], 6);
  for (const [name, value] of Object.entries(one)) near(same[name], value);
  const far = summarise({ ...scores, guided: scores.guided.map((x) => x - 100), rank: scores.rank.map(() => 99) });
  near(mixSummaries([summarise(scores), far], [0.5, 0.5], 6)["rank.mean"], 32 / 6);
  assert.throws(() => mixSummaries([], [], 6), /expected a weight per class, got 0 classes, 0 weights/);
});

Deno.test("logSumExp() is exact far from 0", () => {
  near(logSumExp([-2000, -2000]), -2000 + Math.log(2));
  assert.equal(logSumExp([-Infinity, -Infinity]), -Infinity);
});
