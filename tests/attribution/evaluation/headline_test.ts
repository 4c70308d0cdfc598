/** The figures of verdicts against counts by hand, and intervals by picture. */
import assert from "node:assert/strict";
import { figureNames, figureTable, sourceFigureNames } from "../../../attribution/evaluation/figures.ts";
import { headline, headlineBySource } from "../../../attribution/evaluation/headline.ts";
import { judgedVerdict } from "../../../attribution/evaluation/judged.ts";
import type { Finding } from "../../../attribution/evidence/evidence.ts";
import { clopperPearson } from "../../../attribution/metrics/mod.ts";
import { officialLabels as labels } from "../../labels.ts";
import { near } from "../metrics/near.ts";

const options = { labels, bootstrap: { resamples: 50 } };

function judged(
  label: string,
  verdict: string,
  finding: Finding,
  confidence: number,
  log10LikelihoodRatio?: number,
  place: { source?: string; picture?: string; name?: string } = {},
) {
  const { source = label, picture, name = `${label}-${verdict}-${confidence}.png` } = place;
  return judgedVerdict(
    { imageName: name, label, source, picture },
    { label: verdict, finding, confidence, log10LikelihoodRatio },
  );
}

const verdicts = [
  judged("rarb", "rarb", "variant", 0.99, 3),
  judged("rarb", "rarl", "family", 0.6, 2),
  judged("var16", "var16", "variant", 0.95, 1),
  judged("var16", "outlier", "none", 0.9, -1.5),
  judged("var20", "outlier", "inconclusive", 0.5, -0.5),
  judged("outlier", "outlier", "none", 0.97, -3, { source: "photograph", picture: "a" }),
  judged("outlier", "outlier", "none", 0.8, -2, { source: "photograph", picture: "a" }),
  judged("outlier", "rarb", "variant", 0.92, 2, { source: "twin" }),
  judged("outlier", "var16", "variant", 0.7, 0.5, { source: "twin" }),
  judged("outlier", "outlier", "unsuitable", 0.1, undefined, { source: "flat" }),
];

Deno.test("headline() counts rates of images, members and outliers", () => {
  const { images, pictures, members, outliers, findings, figures } = headline(verdicts, options);
  assert.deepEqual({ images, pictures, members, outliers }, { images: 10, pictures: 9, members: 5, outliers: 5 });
  assert.deepEqual(findings, {
    members: { variant: 2, family: 1, none: 1, inconclusive: 1 },
    outliers: { variant: 2, none: 2, unsuitable: 1 },
  });
  const value = (name: keyof typeof figures) => figures[name].value;
  assert.equal(value("accuracy"), 5 / 10);
  assert.equal(value("membersRight"), 2 / 5);
  assert.equal(value("surelyNamed"), 1 / 5);
  assert.equal(value("familyAccuracy"), 6 / 10);
  assert.equal(value("outlierRecall"), 3 / 5);
  assert.equal(value("accused"), 2 / 5);
  assert.equal(value("surelyAccused"), 1 / 5);
  assert.equal(value("exonerated"), 1 / 5);
  assert.equal(value("surelyExonerated"), 1 / 5);
  assert.equal(value("inconclusive"), 1 / 10);
  assert.equal(value("outliersInconclusive"), 0);
  assert.equal(value("outliersFamily"), 0);
  assert.equal(value("membersBelow1"), 2 / 5);
  assert.equal(value("membersBelow01"), 1 / 5);
  assert.equal(value("outliersAbove1"), 2 / 5); // the flat image without a ratio speaks for nothing
  assert.equal(value("outliersAbove10"), 1 / 5);
  // Right at 0.99, 0.97, 0.95, 0.8, 0.1; wrong at 0.92, 0.9, 0.7, 0.6, 0.5: 3 x 5 + 3 pairs are in order.
  near(value("auroc")!, 18 / 25);
  near(value("accuracyAt80")!, 4 / 8);
  near(value("constantCalibrationError")!, 0.743 - 0.5);
  near(value("constantBrier")!, 0.5 * (0.257 ** 2 + 0.743 ** 2));
});

Deno.test("rates count pictures: the interval is that of as many trials", () => {
  const copies = (picture?: string) =>
    Array.from(
      { length: 12 },
      (_, i) => judged("outlier", "outlier", "none", 0.9, -1, { picture, name: `${i}.png` }),
    );
  const alone = headline(copies(), options).figures.accused, together = headline(copies("a"), options).figures.accused;
  assert.equal(alone.value, 0);
  near(alone.interval!.high, clopperPearson(0, 12).high);
  near(together.interval!.high, clopperPearson(0, 1).high);
});

Deno.test("a constant confidence is unmasked: half the pairs in order, AURC as the share of wrong verdicts", () => {
  const constant = verdicts.map((item) => ({ ...item, confidence: 0.982 }));
  const { figures } = headline(constant, options);
  assert.equal(figures.auroc.value, 0.5);
  near(figures.aurc.value!, 0.5);
  near(figures.accuracyAt80.value!, 0.5);
  near(figures.brier.value!, figures.constantBrier.value!);
  near(figures.calibrationError.value!, figures.constantCalibrationError.value!);
});

Deno.test("headlineBySource() has the figures of each source of outliers", () => {
  const sources = headlineBySource(verdicts, options);
  assert.deepEqual(Object.keys(sources).sort(), ["flat", "photograph", "twin"]);
  assert.equal(sources.twin.figures.accused.value, 1);
  assert.equal(sources.photograph.figures.accused.value, 0);
  assert.equal(sources.photograph.figures.minCllr.value, 0);
  assert.ok(sources.twin.figures.cllr.value! > 0.5);
  for (const name of figureNames) {
    assert.ok(sourceFigureNames.includes(name) || sources.twin.figures[name].value === null, name);
  }
});

Deno.test("what is not defined is null", () => {
  const own = headline(verdicts.filter(({ label }) => label !== "outlier"), options).figures;
  assert.equal(own.accused.value, null);
  assert.equal(own.cllr.value, null);
  const silent = headline(verdicts.map(({ log10LikelihoodRatio: _, ...item }) => item), options).figures;
  assert.deepEqual([silent.cllr, silent.outliersAbove1], new Array(2).fill({ value: null, interval: null }));
  assert.equal(headline([], options).figures.accuracy.value, null);
});

Deno.test("every figure is explained in one sentence", () => {
  for (const { about, title } of Object.values(figureTable)) {
    assert.match(about, /^[A-Z].*[^.]\.$/, title);
    assert.doesNotMatch(about, /\. [A-Z]/, title);
  }
});
