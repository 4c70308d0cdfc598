/** A calibration without the likelihoods that signals make needless decides as one with all of them. */
import assert from "node:assert/strict";
import { chooseScored, defaultLikelihoods } from "../../../attribution/calibration/choose_scored.ts";
import { exampleOf, nonmembersOf } from "../../../attribution/calibration/classifiers.ts";
import {
  type Example,
  familiesToScore,
  fitJoint,
  leastWithoutTraces,
} from "../../../attribution/calibration/fit_joint.ts";
import { largest, openFamilies, posterior, readFeatures } from "../../../attribution/decision/classifiers/joint.ts";
import { fitCalibration } from "../../../attribution/calibration/thresholds.ts";
import { rulesOf, uncalibrated } from "../../../attribution/decision/calibration_file.ts";
import { chooseFamily } from "../../../attribution/decision/methods.ts";
import { officialLabels } from "../../labels.ts";
import { examples } from "../joint_examples.ts";
import { measuredLines } from "../measured_lines.ts";

/** An example without likelihoods under other families' variants. */
function scoredBy({ row, ...rest }: Example, families: readonly string[]): Example {
  const left = officialLabels.families.filter((name) => !families.includes(name))
    .flatMap((name) => officialLabels.variants[name]);
  const kept = Object.entries(row).filter(([name]) => !left.includes(name.split(".")[0]));
  return { ...rest, row: Object.fromEntries(kept) };
}

const all = examples(60, 3);
const wanted = familiesToScore(all.map((example) => scoredBy(example, [])), officialLabels);

Deno.test("familiesToScore() wants images of a family, those that it leaves open, and so many others at least", () => {
  for (const family of officialLabels.families) {
    const scored = all.filter((_, i) => wanted[i].includes(family));
    const isOwn = ({ label, role }: Example) => officialLabels.familyOf(label) === family && role === "original";
    assert.equal(scored.filter(isOwn).length, all.filter(isOwn).length);
    const others = scored.length - scored.filter(isOwn).length;
    assert.ok(others >= leastWithoutTraces && others < 0.6 * all.length, `${others} of ${all.length}`);
  }
});

Deno.test("fitJoint() to open likelihoods reads other images as a fit to all of them", () => {
  const whole = fitJoint(all, officialLabels);
  const open = fitJoint(all.map((example, i) => scoredBy(example, wanted[i])), officialLabels, "open");
  let [same, differences, images] = [0, 0, 0];
  for (const { row, role } of examples(30, 8)) {
    if (role === "moved") continue;
    const families = openFamilies(open.model, row);
    assert.deepEqual(families, openFamilies(whole.model, row), "signals do not depend on likelihoods");
    const [a, b] = [whole, open].map(({ model }) => {
      const readings = readFeatures(model, scoredBy({ label: "outlier", role, row, group: "" }, families).row);
      return posterior([{ weight: 1, readings }]).scores;
    });
    images++;
    if (largest(a) === largest(b)) same++;
    differences += Math.abs(a.outlier - b.outlier);
  }
  assert.ok(same >= 0.98 * images, `${same} of ${images} labels`);
  assert.ok(differences / images < 0.02, `${differences / images}`);
  for (const family of officialLabels.families) {
    // Closed images count as such that were seen to have no traces.
    assert.equal(open.model.families[family].trace.bound, whole.model.families[family].trace.bound);
  }
});

Deno.test("chooseScored() adds the family that thresholds choose, and PRADA's nonmembers", () => {
  const lines = measuredLines(12, 5);
  const val = measuredLines(12, 6).map(({ label, line: { families } }) => ({ label, families }));
  const train = val.filter(({ label }) => label !== "outlier"), { families } = officialLabels;
  const fitted = fitCalibration(train, val, officialLabels);
  const rules = rulesOf({ ...uncalibrated({ hash: "b".repeat(64), families }), ...fitted }, officialLabels);
  const named = lines.map((item, i) => ({ ...item, line: { ...item.line, sha256: String(i) } }));
  const open = familiesToScore(named.map(exampleOf), officialLabels);
  const plain = chooseScored(named, rules, { prada: false }), more = chooseScored(named, rules, { prada: true });
  named.forEach(({ line }, i) => {
    const chosen = chooseFamily(line.families, rules);
    const expected = officialLabels.families.filter((name) => open[i].includes(name) || name === chosen);
    assert.deepEqual(plain.wanted(line.sha256), expected);
  });
  for (const family of officialLabels.families) {
    for (const variant of officialLabels.variants[family]) {
      for (const { line } of nonmembersOf(named, variant, family)) {
        assert.ok(more.wanted(line.sha256).includes(family));
      }
    }
  }
  assert.ok(plain.share > 0 && plain.share <= more.share && more.share <= 1);
});

Deno.test("defaultLikelihoods(): all where tokenizers are small", () => {
  const set = (tokenCount: number) => ({
    families: ["var"],
    tokenizerFacts: () => ({ patchNums: [1, 2], tokenCount, channels: 32 }) as never,
  });
  assert.equal(defaultLikelihoods(set(5)), "all");
  assert.equal(defaultLikelihoods(set(680)), "open");
});
