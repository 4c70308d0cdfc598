/** Labels are those of the model set, whatever its families. */
import assert from "node:assert/strict";
import { groupOf, labelsOf, makeLabels, mapFamilies } from "../../attribution/labels.ts";

const set = { families: ["var"], variants: () => ["large", "small"] };

Deno.test("labelsOf() has the variants in the set's order, then outlier", () => {
  const labels = labelsOf(set);
  assert.deepEqual(labels.families, ["var"]);
  assert.deepEqual(labels.variants, { var: ["large", "small"] });
  assert.deepEqual(labels.all, ["large", "small", "outlier"]);
});

Deno.test("Labels.familyOf() and groupOf() know variants and outlier, and nothing else", () => {
  const labels = makeLabels({ a: ["a1", "a2"], b: ["b1"] });
  assert.equal(labels.familyOf("a2"), "a");
  assert.equal(labels.familyOf("outlier"), null);
  assert.equal(groupOf(labels, "outlier"), "outlier");
  assert.equal(groupOf(labels, "b1"), "b");
  assert.throws(() => labels.familyOf("rarb"), new RangeError("label: expected one of a1, a2, b1, outlier, got rarb"));
});

Deno.test("mapFamilies() makes a value per family in their order", () => {
  assert.deepEqual(Object.entries(mapFamilies(["b", "a"], (name) => name + name)), [["b", "bb"], ["a", "aa"]]);
});
