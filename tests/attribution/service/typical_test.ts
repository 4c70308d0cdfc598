/** What is typical of own images, beside which the page shows an image's numbers. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseCalibration, uncalibrated } from "../../../attribution/decision/calibration_file.ts";
import { typicalValues } from "../../../attribution/service/typical.ts";
import { familyNames, officialLabels, variantLabels } from "../../labels.ts";
import { root } from "./server.ts";

const text = await Deno.readTextFile(join(root, "weights", "tiny", "calibration.json"));
const hash: string = JSON.parse(text).modelSet;
const calibration = parseCalibration(text, { hash, families: [...familyNames] });

Deno.test("typicalValues() has the ranges of the calibration, in the units of the evidence", () => {
  const { families, variants } = typicalValues(calibration, officialLabels);
  const { mean, deviation } = calibration.families.rar.quantLoss!;
  const { low, middle, high, title, meaning } = families.rar.quantLoss;
  assert.equal(title, "QuantLoss");
  assert.match(meaning, /Lower means closer/);
  const expected = [mean - 1.96 * deviation, mean, mean + 1.96 * deviation].map(Math.exp);
  [low, middle, high].forEach((value, i) => assert.ok(Math.abs(value / expected[i] - 1) < 1e-12));
  assert.ok(!("changedTokens" in families.rar), "evidence does not have it");
  assert.deepEqual(Object.keys(variants), [...variantLabels.rar, ...variantLabels.var]);
  for (const rows of Object.values(variants)) {
    assert.ok(rows["conditional.mean"].high <= 0, "a log-probability");
    assert.ok(rows["own.support.rate"].high <= 1, "a share");
    for (const { low, middle, high, title } of Object.values(rows)) {
      assert.ok(low <= middle && middle <= high && Number.isFinite(low) && Number.isFinite(high), title);
      assert.doesNotMatch(title, /\./, "words, not a name");
    }
  }
});

Deno.test("typicalValues() is empty for a set that is not calibrated", () => {
  const set = { hash, families: [...familyNames] };
  assert.deepEqual(typicalValues(uncalibrated(set), officialLabels), { families: {}, variants: {} });
});
