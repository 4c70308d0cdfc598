import assert from "node:assert/strict";
import {
  defaultInference,
  inferenceOf,
  type InferenceSettings,
} from "../../../attribution/likelihood/class_inference.ts";
import {
  type CountedSet,
  inferenceLadder,
  inferenceWithin,
  transformerOperations,
  usualBudget,
  usualInference,
} from "../../../attribution/likelihood/operations.ts";
import { withOfficial } from "../../official_sizes.ts";

Deno.test("inferenceWithin() compares and keeps fewer classes the smaller the budget is, and never costs more", async () => {
  await withOfficial((set, device) => {
    const costOf = (inference: InferenceSettings, family: string) =>
      transformerOperations(set, { condition: "infer", inference }, device, [family]);
    const cost = (inference: InferenceSettings) => Math.max(...set.families.map((family) => costOf(inference, family)));
    assert.deepEqual(inferenceWithin(set, 1e15, device), defaultInference);
    let before = Infinity;
    for (const budget of [60, 40, 30, 25, 20, 15]) {
      const found = inferenceWithin(set, budget * 1e12, device);
      assert.ok(cost(found) <= budget * 1e12 && cost(found) <= before, `${budget}: ${cost(found) / 1e12}`);
      assert.ok(found.top >= 1 && found.budget >= 5 && found.sharpness === defaultInference.sharpness);
      before = cost(found);
    }
    // RAR's transformers are smaller, so that a budget which VAR's exceed leaves its classes as they are.
    const split = inferenceWithin(set, 30e12, device);
    const [rar, var_] = ["rar", "var"].map((family) => inferenceOf(split, family));
    assert.deepEqual(rar, defaultInference);
    assert.ok(var_.top < rar.top && var_.budget < rar.budget && !("families" in var_));
    assert.ok(costOf(split, "var") < costOf(defaultInference, "var"));
    assert.equal(costOf(split, "rar"), costOf(defaultInference, "rar"));
    assert.ok(before < cost(defaultInference) / 2.5, `${before / 1e12} of ${cost(defaultInference) / 1e12} TFLOP`);
    assert.throws(
      () => inferenceWithin(set, 1e12, device),
      /^RangeError: --budget: expected [\d.]+ TFLOP or more with classes inferred, got 1; --condition none takes [\d.]+$/,
    );
  });
});

Deno.test("usualInference() leaves small networks alone, and takes what is possible of the largest", async () => {
  await withOfficial((set, device) => {
    assert.deepEqual(usualInference(set, device), inferenceWithin(set, usualBudget, device));
    const { footprint } = set;
    const scaled = (factor: number): CountedSet => ({
      ...{ families: set.families, variants: set.variants.bind(set), variantFacts: set.variantFacts.bind(set) },
      footprint: (...parts) => {
        const { weights, ...rest } = footprint.apply(set, parts);
        return { ...rest, weights: weights * factor };
      },
    });
    assert.deepEqual(usualInference(scaled(0.1), device), defaultInference);
    const { budget, top } = inferenceLadder[inferenceLadder.length - 1];
    assert.deepEqual(usualInference(scaled(100), device), { ...defaultInference, budget, top });
    assert.throws(() => inferenceWithin(scaled(100), usualBudget, device), /^RangeError: --budget: expected/);
  });
});

Deno.test("transformerOperations() counts no more passes than are made", async () => {
  await withOfficial((set, device) => {
    const [none, given, infer] = (["none", "given", "infer"] as const).map((condition) =>
      transformerOperations(set, { condition }, device)
    );
    assert.equal(given, 2 * none);
    // Five classes and none, and inference.
    assert.ok(infer > 6 * none && infer < 12 * none, `${infer / none}`);
    const rar = transformerOperations(set, { condition: "infer" }, device, ["rar"]);
    const both = rar + transformerOperations(set, { condition: "infer" }, device, ["var"]);
    assert.ok(Math.abs(both - infer) < 1e-6 * infer);
  });
});
