/** Fitting the joint decision to images whose structure is known. */
import assert from "node:assert/strict";
import { fitJoint } from "../../../attribution/calibration/fit_joint.ts";
import { largest, openFamilies, posterior, readFeatures } from "../../../attribution/decision/classifiers/joint.ts";
import { officialLabels } from "../../labels.ts";
import { examples } from "../joint_examples.ts";

const all = examples(30, 3);
const { model, readings } = fitJoint(all, officialLabels);

Deno.test("fitJoint() reads images by models that have not seen their group", () => {
  const [first] = all, copy = { ...first, role: "copy" as const };
  // A copy that is in the same group changes nothing about what is left out; one in another group does.
  const same = fitJoint([...all, copy], officialLabels).readings;
  assert.equal(same.length, all.length + 1);
  assert.deepEqual(same[0], same[all.length]);
  assert.equal(readings.length, all.length);
});

Deno.test("fitJoint() bounds ratios by the number of images that it was fitted to", () => {
  for (const { trace, known } of Object.values(model.families)) {
    // 120 images of the family, each a group; outliers, other families' and moved images are more.
    assert.equal(trace.bound, Math.log(121));
    assert.equal(known!.ratio.bound, Math.log(121));
    assert.ok(trace.calibration.slope > 0 && known!.ratio.calibration.slope > 0);
  }
});

Deno.test("fitJoint() does not depend on how many outliers there are", () => {
  const outliers = all.filter(({ label }) => label === "outlier");
  const more = outliers.map((item) => ({ ...item, group: `${item.group} again` }));
  const fitted = fitJoint([...all, ...more], officialLabels);
  const shares = [readings, fitted.readings].map((list) =>
    all.map((_, i) => posterior([{ weight: 1, readings: list[i] }]).scores.outlier)
  );
  const differences = shares[0].map((share, i) => Math.abs(share - shares[1][i]));
  assert.ok(differences.reduce((a, b) => a + b) / differences.length < 0.02, `${Math.max(...differences)}`);
});

Deno.test("fitJoint() refuses a family without images that lack its traces", () => {
  const own = all.filter(({ label, role }) => label.startsWith("rar") && role === "original");
  assert.throws(
    () => fitJoint(own, { ...officialLabels, families: ["rar"], all: officialLabels.variants.rar }),
    /fitRatio: expected images of both hypotheses/,
  );
});

Deno.test("fitJoint() tells images of two sizes apart by the families of their size, as if there were no others", () => {
  // RAR's models draw one size here, and VAR's another; half of the outliers have each.
  const sized = all.map((example, i) => {
    const own = example.label === "outlier" ? ["rar", "var"][i % 2] : officialLabels.familyOf(example.label)!;
    const row = Object.fromEntries(Object.entries(example.row).filter(([name]) => name.startsWith(own)));
    return { own, example: { ...example, row } };
  });
  const fitted = fitJoint(sized.map(({ example }) => example), officialLabels);
  let right = 0, originals = 0;
  sized.forEach(({ own, example: { label, row, role } }, i) => {
    for (const [from, read] of Object.entries({ fit: fitted.readings[i], model: readFeatures(fitted.model, row) })) {
      assert.deepEqual(Object.keys(read), [own], from);
      const { scores } = posterior([{ weight: 1, readings: read }]);
      assert.deepEqual(Object.keys(scores), [...officialLabels.variants[own], "outlier"]);
      if (from !== "fit" || role !== "original") continue;
      originals++;
      if (largest(scores) === label) right++;
    }
    assert.deepEqual(openFamilies(fitted.model, row).filter((name) => name !== own), []);
  });
  assert.ok(right >= 0.95 * originals, `${right} of ${originals} labels`);
});
