/** Thresholds, their costs and the choice among them, on scores whose distribution is known. */
import { officialLabels } from "../../labels.ts";
import assert from "node:assert/strict";
import { rulesOf, uncalibrated } from "../../../attribution/decision/calibration_file.ts";
import { type Labelled, rocThreshold } from "../../../attribution/calibration/fit_thresholds.ts";
import { fitCalibration, requireFittable } from "../../../attribution/calibration/thresholds.ts";
import type { FamilyEvidence } from "../../../attribution/evidence/evidence.ts";
import { groupOf, type Label } from "../../../attribution/labels.ts";
import { chooseFamily } from "../../../attribution/decision/methods.ts";
import { familyScore } from "../../../attribution/decision/family_distance.ts";
import { normals } from "../../../core/tensor/mod.ts";

/** Evidence in which QuantLoss is as given and nothing else tells anything. */
function scores(quantLoss: number, more: Partial<FamilyEvidence> = {}): FamilyEvidence {
  return { quantLoss, quantErrorTail: 1, encLoss: 1, encLossUncalibrated: 1, combined: 1, ...more };
}

function image(label: Label, rar: number, other: number, more: Partial<FamilyEvidence> = {}): Labelled {
  return { label, families: { rar: scores(rar, more), var: scores(other, more) } };
}

/** n images whose ln QuantLoss is normal: members around -2 (their own family) and 0 (the other), outliers around -0.5. */
function images(label: Label, n: number, seed: number, deviation = 0.2): Labelled[] {
  const noise = normals(seed, 1, 2 * n);
  const own = groupOf(officialLabels, label);
  const mean = (family: string) => own === "outlier" ? -0.5 : own === family ? -2 : 0;
  return Array.from({ length: n }, (_, i) =>
    image(
      label,
      Math.exp(mean("rar") + deviation * noise[2 * i]),
      Math.exp(mean("var") + deviation * noise[2 * i + 1]),
    ));
}

const train = [...images("rarb", 100, 1), ...images("var16", 100, 2)];
const val = [...images("rarl", 50, 3), ...images("var30", 50, 4), ...images("outlier", 50, 5)];

Deno.test("fitCalibration() fits quantile and gaussian thresholds to the family's own scores of train and val", () => {
  const { families } = fitCalibration(train, val, officialLabels);
  const own = [...train, ...val].filter(({ label }) => groupOf(officialLabels, label) === "rar")
    .map(({ families }) => Math.log(families.rar.quantLoss)).sort((a, b) => a - b);
  const mean = own.reduce((a, b) => a + b) / own.length;
  const deviation = Math.sqrt(own.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (own.length - 1));
  const { mean: m, deviation: d, thresholds } = families.rar.quantLoss!;
  assert.ok(Math.abs(m - mean) < 1e-9 && Math.abs(d - deviation) < 1e-9);
  assert.ok(Math.abs(Math.log(thresholds.gaussian!.threshold) - (mean + 3 * deviation)) < 1e-9);
  // 150 scores: the 0.99-quantile lies between the last but one and the last.
  const quantile = Math.log(thresholds.quantile!.threshold);
  assert.ok(quantile > own.at(-3)! && quantile < own.at(-1)!);
  const passing = own.filter((x) => x <= quantile).length;
  assert.equal(passing, 148);
});

Deno.test("fitCalibration() takes its parameters, and writes them beside the thresholds", () => {
  const { families } = fitCalibration(train, val, officialLabels, { quantile: 0.5, sigmas: 1, falseAlarms: 0.1 });
  const { mean, deviation, thresholds } = families.var.quantLoss!;
  assert.deepEqual(
    [thresholds.quantile!.parameter, thresholds.gaussian!.parameter, thresholds.roc!.parameter],
    [0.5, 1, 0.1],
  );
  assert.ok(Math.abs(Math.log(thresholds.gaussian!.threshold) - (mean + deviation)) < 1e-9);
  const outliers = val.filter(({ label, families }) =>
    label === "outlier" && families.var.quantLoss <= thresholds.roc!.threshold
  );
  assert.equal(outliers.length, 5);
});

Deno.test("rocThreshold() lies in the middle of the gap where own scores and outliers lie apart", () => {
  assert.equal(rocThreshold([1, 2, 3], [5, 6, 7], 1, 0.01), 4);
  // One of four may pass: the second outlier is the first that must not.
  assert.equal(rocThreshold([1, 2, 3], [3.5, 5, 6, 7], 1, 0.25), 4.25);
  // Own scores among outliers: the largest that still is below the first outlier.
  assert.equal(rocThreshold([1, 2, 9], [4, 5], 1, 0), 3);
  // All own scores above all outliers: nothing seen passes.
  assert.ok(rocThreshold([7, 8], [4, 5], 1, 0) < 4);
  assert.equal(rocThreshold([7, 8], [4, 5], 1, 1), 8);
  // Equal scores: an outlier at the threshold would pass.
  assert.ok(rocThreshold([4, 4], [4, 4], 1, 0) < 4);
});

Deno.test("fitCalibration() counts what thresholds cost on val, and cross-fitted", () => {
  const { families } = fitCalibration(train, val, officialLabels);
  const { onVal, crossFitted, threshold } = families.rar.quantLoss!.thresholds.quantile!;
  const count = (label: Label, isIn: boolean) =>
    val.filter((item) => item.label === label && (item.families.rar.quantLoss <= threshold) === isIn).length;
  assert.deepEqual(onVal, {
    misses: { count: count("rarl", false), of: 50 },
    falseAlarms: { count: count("outlier", true), of: 50 },
    otherFamily: { count: count("var30", true), of: 50 },
  });
  assert.deepEqual([crossFitted!.misses.of, crossFitted!.falseAlarms.of, crossFitted!.otherFamily.of], [50, 50, 50]);
});

Deno.test("cross-fitted costs are those of thresholds that did not see the image", () => {
  // One outlier far below the others: fitted with it, roc lets nothing pass; without it, it passes itself.
  const odd = [
    ...images("rarl", 50, 3),
    ...images("var30", 50, 4),
    ...images("outlier", 49, 5),
    image("outlier", 1e-6, 1),
  ];
  const { onVal, crossFitted } = fitCalibration(train, odd, officialLabels).families.rar.quantLoss!.thresholds.roc!;
  assert.equal(onVal!.falseAlarms.count, 0);
  assert.equal(onVal!.misses.count, 50);
  assert.equal(crossFitted!.falseAlarms.count, 1);
  assert.equal(crossFitted!.misses.count, 40); // four folds of five are fitted with it
});

Deno.test("fitCalibration() decides by QuantLoss and quantile where nothing is better by more than chance", () => {
  const { decision, families, candidates } = fitCalibration(train, val, officialLabels);
  assert.deepEqual(decision, { signals: { rar: "quantLoss", var: "quantLoss" }, threshold: "quantile" });
  assert.equal(candidates.length, 6 * 3);
  const best = candidates.find(({ signals, threshold }) => signals.rar === "quantLoss" && threshold === "roc")!;
  assert.ok(best.balanced > 0.97, `${best.balanced}`);
  assert.equal(best.matrix.counts.flat().reduce((a, b) => a + b), 150);
  // And it works on images that were not seen.
  const rules = rulesOf({
    ...uncalibrated({ hash: "", families: officialLabels.families }),
    decision,
    families,
  }, officialLabels);
  const fresh = [...images("rarxl", 200, 7), ...images("var24", 200, 8), ...images("outlier", 200, 9)];
  const right = fresh.filter(({ label, families }) =>
    (chooseFamily(families, rules) ?? "outlier") === groupOf(officialLabels, label)
  );
  // The quantile gives up one in a hundred of each family; the groups themselves hardly overlap.
  assert.ok(right.length >= 585, `${right.length} of 600`);
});

Deno.test("fitCalibration() decides by another signal where that is clearly better", () => {
  // QuantLoss says nothing; EncLoss tells RAR's images from everything, VAR's from everything.
  const blind = (label: Label, n: number, seed: number) => {
    const noise = normals(seed, 9, 2 * n);
    return images(label, n, seed).map(({ label, families }, i): Labelled => ({
      label,
      families: {
        rar: { ...scores(Math.exp(noise[2 * i])), encLoss: families.rar.quantLoss },
        var: { ...scores(Math.exp(noise[2 * i + 1])), encLoss: families.var.quantLoss },
      },
    }));
  };
  const { decision } = fitCalibration(
    [...blind("rarb", 60, 1), ...blind("var16", 60, 2)],
    [...blind("rarb", 40, 3), ...blind("var16", 40, 4), ...blind("outlier", 40, 5)],
    officialLabels,
  );
  assert.deepEqual(decision.signals, { rar: "encLoss", var: "encLoss" });
});

Deno.test("fitCalibration() decides by what the user chooses", () => {
  const { decision, candidates } = fitCalibration(train, val, officialLabels, {
    threshold: "quantile",
    signals: { rar: "encLoss" },
  });
  assert.equal(decision.threshold, "quantile");
  assert.equal(decision.signals.rar, "encLoss");
  assert.ok(candidates.every(({ threshold, signals }) => threshold === "quantile" && signals.rar === "encLoss"));
});

Deno.test("fitCalibration() without outliers has no roc thresholds, and gaussian ones decide", () => {
  const own = val.filter(({ label }) => label !== "outlier");
  const { decision, families, candidates } = fitCalibration(train, own, officialLabels);
  assert.deepEqual(decision, { signals: { rar: "oneClass", var: "oneClass" }, threshold: "gaussian" });
  const few = fitCalibration([], [...images("rarb", 19, 1), ...images("var16", 40, 2)], officialLabels);
  assert.deepEqual(few.decision.signals, { rar: "quantLoss", var: "quantLoss" });
  assert.equal(families.rar.quantLoss!.thresholds.roc, null);
  assert.deepEqual(families.rar.quantLoss!.thresholds.gaussian!.onVal!.falseAlarms, { count: 0, of: 0 });
  assert.equal(candidates.length, 0);
  assert.throws(
    () => fitCalibration(train, own, officialLabels, { threshold: "roc" }),
    /--threshold roc: val has no outliers, .*: add val\/outlier, or use --threshold gaussian or quantile/,
  );
});

Deno.test("fitCalibration() fits signals of the level `all` where all images have them, and only then", () => {
  const share = { reconstruction: 1, encLossQuantized: 1, unchangedTokens: 0.5 };
  const full = [train, val].map((items) =>
    items.map(({ label, families }) => ({
      label,
      families: { rar: { ...families.rar, ...share }, var: { ...families.var, ...share } },
    }))
  );
  const { families } = fitCalibration(full[0], full[1], officialLabels);
  assert.equal(Object.keys(families.rar).length, 9);
  // Scores that are all the same: a deviation of 0 would make every distance infinite.
  assert.ok(families.rar.changedTokens!.deviation > 0);
  assert.equal(families.rar.changedTokens!.thresholds.quantile!.threshold, 0.5);
  assert.equal(Object.keys(fitCalibration(train, full[1], officialLabels).families.rar).length, 6);
  assert.throws(
    () => fitCalibration(train, val, officialLabels, { signals: { var: "changedTokens" } }),
    /--signal: expected one of quantLoss, .* for var, which were measured; got changedTokens/,
  );
});

Deno.test("fitCalibration() refuses a family with fewer than two images", () => {
  assert.throws(
    () => fitCalibration(images("rarb", 1, 1), images("outlier", 5, 2), officialLabels),
    /expected two images or more of each family .*, got 1 of rar \(rarb, .*\) and 0 of var \(var16, .*\)/,
  );
  // Two images, of which a part of the cross-validation would have one: known before anything is measured.
  assert.throws(
    () => requireFittable(images("rarb", 1, 1), [...images("rarb", 1, 2), ...images("var16", 9, 3)], officialLabels),
    /and as many without a fifth of val's, got 2 of rar/,
  );
  requireFittable(images("rarb", 2, 1), images("var16", 3, 3), officialLabels);
});

Deno.test("fitCalibration() does not choose distances that were fitted to a handful of images", () => {
  const few = [...images("rarb", 6, 21), ...images("var16", 6, 22)], outliers = images("outlier", 30, 23);
  for (const { signals } of fitCalibration(few, [...few, ...outliers].slice(0, 40), officialLabels).candidates) {
    assert.ok(Object.values(signals).every((name) => name !== "oneClass"), JSON.stringify(signals));
  }
});

/** Images whose losses under both tokenizers go together, so that only their combination tells an outlier. */
function together(label: Label, n: number, seed: number): Labelled[] {
  const noise = normals(seed, 3, 6 * n);
  const own = groupOf(officialLabels, label);
  return Array.from({ length: n }, (_, i) => {
    const [difficulty, a, b, c, d] = noise.subarray(6 * i, 6 * i + 5);
    const losses = (family: string, x: number, y: number) => {
      const level = own === family ? -1.5 : 0;
      return scores(Math.exp(difficulty + level + 0.1 * x), { encLoss: Math.exp(difficulty + level + 0.1 * y) });
    };
    return { label, families: { rar: losses("rar", a, b), var: losses("var", c, d) } };
  });
}

Deno.test("fitCalibration() decides by the distance of several signals where single ones overlap", () => {
  const { decision, candidates, families, oneClass } = fitCalibration(
    [...together("rarb", 100, 1), ...together("var16", 100, 2)],
    [...together("rarl", 50, 3), ...together("var30", 50, 4), ...together("outlier", 50, 5)],
    officialLabels,
  );
  assert.deepEqual(decision.signals, { rar: "oneClass", var: "oneClass" });
  const [best] = candidates;
  const single = candidates.find(({ signals }) => signals.rar !== "oneClass" && signals.var !== "oneClass")!;
  assert.ok(best.balanced > 0.97 && single.balanced < 0.8, `${best.balanced}, ${single.balanced}`);
  // Judged by what is stored, images that were not seen come out as well.
  const rules = rulesOf({
    ...uncalibrated({ hash: "", families: officialLabels.families }),
    decision,
    families,
    oneClass,
  }, officialLabels);
  const fresh = [...together("rarxl", 200, 7), ...together("var24", 200, 8), ...together("outlier", 200, 9)];
  const right = fresh.filter(({ label, families }) =>
    (chooseFamily(families, rules) ?? "outlier") === groupOf(officialLabels, label)
  );
  assert.ok(right.length >= 570, `${right.length} of 600`);
});

Deno.test("thresholds on distances are fitted to images that the distance was not", () => {
  // With few images and eight numbers each, those that were fitted to seem much nearer than others.
  const val = [...together("rarl", 20, 3), ...together("var30", 20, 4), ...together("outlier", 20, 5)];
  const { families, oneClass } = fitCalibration([], val, officialLabels, { quantile: 0.9 });
  const { threshold } = families.rar.oneClass!.thresholds.quantile!;
  const passing = (items: readonly Labelled[]) =>
    items.filter((item) => familyScore("oneClass", item.families, "rar", oneClass.rar) <= threshold).length /
    items.length;
  assert.equal(passing(val.filter(({ label }) => label === "rarl")), 1);
  const fresh = passing(together("rarb", 500, 11));
  assert.ok(fresh > 0.8, `${fresh}`);
});
