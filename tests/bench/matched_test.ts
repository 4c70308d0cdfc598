/** The tables of docs/matched.md, made of figures that are given; matched_slow_test.ts measures some. */
import assert from "node:assert/strict";
import { inferenceLadder } from "../../attribution/likelihood/operations.ts";
import { comparedBudgets } from "../../bench/matched/budgets.ts";
import type { LikelihoodFigures } from "../../bench/matched/likelihoods.ts";
import { oracleRows, recallAtPrecision, type TestVerdict } from "../../bench/matched/oracles.ts";
import { matchedCosts } from "../../bench/matched/cost.ts";
import { matchedTables } from "../../bench/matched/tables.ts";

Deno.test("comparedBudgets are settings that calibrate --budget chooses from", () => {
  for (const settings of comparedBudgets) {
    assert.ok(inferenceLadder.some(({ budget, top }) => budget === settings.budget && top === settings.top));
  }
});

const verdict = (picture: string, label: string, decided: string | null, outlier: number): TestVerdict => ({
  ...{ picture, label, decided, outlier },
  family: label === "outlier" ? null : label.slice(0, 3),
});

/** Two images of RAR, of which the case `nothing` finds one. */
const likelihoods: LikelihoodFigures = (() => {
  const spread = [3, 2, 4];
  const truth = { a: "rarb", b: "rarl" };
  const of = (b: string) => ({
    fitted: { a: "rarb", b },
    likeliest: { a: "rarl", b },
    margin: 1,
    nats: { rarb: { conditional: spread, guided: spread } },
  });
  const cases = { nothing: of("rarb"), class: of("rarb"), tokens: of("rarl"), both: of("rarl") };
  return { family: "rar", images: { test: 2, fit: 4 }, truth, cases };
})();

Deno.test("oracleRows() are right about sizes where families are, and leave out what was not scored", () => {
  const verdicts = [
    ...[verdict("a", "rarb", "rar", 0.1), verdict("b", "rarl", "var", 0.2), verdict("unscored", "rarl", "rar", 0)],
    ...[verdict("p", "outlier", null, 0.9), verdict("q", "outlier", "var", 0.4)],
  ];
  const rows = oracleRows([likelihoods], verdicts);
  assert.deepEqual(rows.map(({ sizes: [{ fitted }] }) => fitted.value), [0.5, 0.5, 1, 1]);
  assert.deepEqual(rows.map(({ sizes: [{ likeliest }] }) => likeliest.value), [0, 0, 0.5, 0.5]);
  // Of a, b, p and q: b's family and q are decided wrongly.
  assert.deepEqual(rows.map(({ labels }) => labels!.value), [0.5, 0.5, 0.5, 0.5]);
  assert.deepEqual(rows.map(({ familiesKnown }) => familiesKnown!.value), [0.75, 0.75, 1, 1]);
  assert.equal(oracleRows([likelihoods], undefined)[0].labels, null);
});

Deno.test("recallAtPrecision() is the best of all limits that are precise enough, and parts no ties", () => {
  const outlier = (p: number) => verdict(`${p}`, "outlier", null, p);
  const member = (p: number) => verdict(`m${p}`, "rarb", "rar", p);
  assert.equal(recallAtPrecision([outlier(0.9), member(0.8), outlier(0.7), outlier(0.1)], 0.66), 1);
  assert.equal(recallAtPrecision([outlier(0.9), member(0.8), outlier(0.7), outlier(0.1)], 0.9), 1 / 3);
  assert.equal(recallAtPrecision([outlier(0.9), member(0.9)], 0.9), 0);
  assert.equal(recallAtPrecision([member(0.9)], 0.9), null);
});

Deno.test("matchedTables() says what is not measured, and has rows as long as their heads", () => {
  const text = matchedTables({
    modelSet: "m 1",
    about: {},
    families: ["rar", "var"],
    scales: { var: [1, 2] },
    likelihoods: [likelihoods],
  });
  assert.match(
    text,
    /\| tokens found, inverse decoder \| about 85 % \| not measured yet \| 27 % \| not measured yet \|/,
  );
  assert.match(text, /### Methods\n\nNot measured yet\./);
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (!line.startsWith("| ") || !lines[i - 1].startsWith("| ")) continue;
    assert.equal(line.split(" | ").length, lines[i - 1].split(" | ").length, line);
  }
});

Deno.test("matchedTables() keeps the document's tables of parts without results, where the model set is the same", () => {
  const common = { modelSet: "m 1", families: ["rar"], scales: {} };
  const measured = matchedTables({ ...common, about: { likelihoods: "Two images." }, likelihoods: [likelihoods] });
  const oracles = measured.slice(measured.indexOf("### Oracles"), measured.indexOf("### Cheaper"));
  assert.match(oracles, /^### Oracles\n\nTwo images\.\n\n\| known \|/);
  const again = matchedTables({ ...common, about: {}, likelihoods: [] }, measured);
  assert.equal(again, measured);
  const other = matchedTables({ ...common, modelSet: "m 2", about: {}, likelihoods: [] }, measured);
  assert.match(other, /^Model set m 2\.\n/);
  assert.match(other, /### Oracles\n\nNot measured yet\./);
});

Deno.test("matchedCosts() are those of docs/matched.md, and an evaluation costs less than all methods on its images", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/matched.md", import.meta.url));
  const rows = text.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  for (const { title, images, flops } of matchedCosts()) {
    const row = [title, String(images), (flops / 1e9).toFixed(0), (images * flops / 1e12).toFixed(0)];
    assert.ok(rows.some((cells) => cells.slice(1, 5).join() === row.join()), row.join());
  }
  const totals = new Map(matchedCosts().map(({ title, images, flops }) => [title, { images, total: images * flops }]));
  const evaluated = totals.get("`evaluate` by `joint` alone")!, methods = totals.get("`matched.ts methods`")!;
  assert.ok(evaluated.images >= 1000 && methods.images === evaluated.images && methods.total > evaluated.total);
});
