/** The numbers of an evaluation against counts by hand, and what a page is made of. */
import { officialLabels } from "../../labels.ts";
import assert from "node:assert/strict";
import { type Calibration, calibrationFormat, rulesOf } from "../../../attribution/decision/calibration_file.ts";
import { aucFigure, confusionFigure, rocFigure } from "../../../attribution/evaluation/charts.ts";
import { robustnessPanels } from "../../../attribution/evaluation/robustness_charts.ts";
import { scoreFigure } from "../../../attribution/evaluation/score_chart.ts";
import { curvesOf } from "../../../attribution/evaluation/processing.ts";
import { reliabilityFigure, riskFigure, tippettFigure } from "../../../attribution/evaluation/verdict_charts.ts";
import { clopperPearson } from "../../../attribution/metrics/mod.ts";
import { evaluate, type Judged } from "../../../attribution/evaluation/evaluate.ts";
import { evaluationTitle } from "../../../attribution/evaluation/report.ts";
import { darkColors, escapeHtml, figure, htmlTable, page } from "../../../attribution/evaluation/html.ts";
import { attackedImages, robustnessPoint } from "../../../attribution/evaluation/robustness.ts";
import { strengthRanges, transformNames } from "../../../attribution/images/augment/mod.ts";
import type { FamilyEvidence } from "../../../attribution/evidence/evidence.ts";
import type { Label } from "../../../attribution/labels.ts";

const thresholds = (value: number) => ({
  quantile: { threshold: value },
  gaussian: { threshold: 2 * value },
  roc: { threshold: value / 2 },
});
const calibration: Calibration = {
  format: calibrationFormat,
  modelSet: "a".repeat(64),
  quantization: "greedy",
  data: null,
  decision: { signals: { rar: "quantLoss", var: "quantLoss" }, threshold: "quantile" },
  families: {
    rar: { quantLoss: { mean: 0, deviation: 1, thresholds: thresholds(1) } },
    var: { quantLoss: { mean: 0, deviation: 1, thresholds: thresholds(1) } },
  },
  variants: { scale: 1 },
};
const rules = rulesOf(calibration, officialLabels);
const options = {
  ...{ calibration, rules, threshold: "quantile" as const, byThresholds: true },
  bootstrap: { resamples: 50 },
};

function scores(quantLoss: number): FamilyEvidence {
  return { quantLoss, quantErrorTail: quantLoss, encLoss: 1, encLossUncalibrated: 1, combined: 1 };
}

function judged(label: Label, verdict: Label, rar: number, other: number, source: string = label): Judged {
  const families = { rar: scores(rar), var: scores(other) };
  const finding = verdict === "outlier" ? "none" as const : "variant" as const;
  const image = `${label} ${verdict} ${rar}.png`;
  return { image, label, source, picture: image, verdict, finding, confidence: 1, families };
}

const items = [
  judged("rarb", "rarb", 0.4, 3),
  judged("rarb", "rarl", 0.6, 3),
  judged("rarl", "outlier", 1.5, 3),
  judged("var16", "var16", 3, 0.4),
  judged("var20", "rarb", 0.9, 2),
  judged("outlier", "outlier", 1.2, 4, "outlier/a"),
  judged("outlier", "outlier", 5, 4, "outlier/b"),
  judged("outlier", "var30", 5, 0.7, "outlier/b"),
];

Deno.test("evaluate() counts verdicts of nine labels, of families, and of variants given the family", () => {
  const found = evaluate(items, options);
  assert.equal(found.images, 8);
  assert.deepEqual(found.labels, { rarb: 2, rarl: 1, var16: 1, var20: 1, outlier: 3 });
  assert.equal(found.accuracy.value, 4 / 8);
  assert.equal(found.familyAccuracy.value, 5 / 8);
  assert.equal(found.variantAccuracy.value, 2 / 3);
  assert.equal(found.outlierRecall.value, 2 / 3);
  assert.equal(found.outlierPrecision.value, 2 / 3);
  assert.deepEqual(found.familyConfusion.counts, [[2, 0, 1], [1, 1, 0], [0, 1, 2]]);
  assert.deepEqual(found.familyAccuracy.interval, clopperPearson(5, 8));
});

Deno.test("evaluate() decides anew by the thresholds of each strategy", () => {
  const { strategies } = evaluate(items, options);
  assert.deepEqual(strategies.map(({ threshold, decides }) => [threshold, decides]), [
    ["quantile", true],
    ["gaussian", false],
    ["roc", false],
  ]);
  // Thresholds 1, 2 and 0.5 on both families' scores.
  assert.deepEqual(strategies.map(({ familyAccuracy }) => familyAccuracy.value), [5 / 8, 5 / 8, 5 / 8]);
  assert.deepEqual(strategies.map(({ outlierRecall }) => outlierRecall.value), [2 / 3, 1 / 3, 1]);
});

Deno.test("nothing about thresholds is marked as deciding when the method does not decide by them", () => {
  const { strategies, signals } = evaluate(items, { ...options, byThresholds: false });
  assert.ok([...strategies, ...signals].every(({ decides }) => !decides));
});

Deno.test("evaluate() separates members from each kind of nonmembers", () => {
  const { signals } = evaluate(items, options);
  const quant = signals.find(({ family, signal }) => family === "rar" && signal === "quantLoss")!;
  assert.equal(quant.decides, true);
  assert.deepEqual(quant.separations.map(({ nonmembers, members, others }) => [nonmembers, members, others]), [
    ["everything else", 3, 5],
    ["outlier", 3, 3],
    ["outlier/a", 3, 1],
    ["outlier/b", 3, 2],
    ["var", 3, 2],
    ["var16", 3, 1],
    ["var20", 3, 1],
  ]);
  // 0.4, 0.6, 1.5 against 3, 0.9, 1.2, 5, 5: pairs in the right order 5 + 5 + 3 of 15.
  assert.ok(Math.abs(quant.separations[0].auc.value! - 13 / 15) < 1e-12);
  assert.equal(quant.separations[0].tpr.value, 2 / 3);
  assert.ok(!signals.some(({ signal }) => signal === "reconstruction"), "what was not measured has no row");
});

Deno.test("evaluate() of one image, of one family, and of outliers only leaves undefined what is undefined", () => {
  const [one] = items;
  const single = evaluate([one], options);
  assert.equal(single.accuracy.value, 1);
  assert.equal(single.outlierRecall.value, null);
  assert.equal(single.outlierPrecision.value, null);
  assert.ok(single.signals.every(({ separations }) => separations.length === 0));
  const outliers = evaluate(items.filter(({ label }) => label === "outlier"), options);
  assert.equal(outliers.outlierRecall.value, 2 / 3);
  assert.equal(outliers.variantAccuracy.value, null);
  assert.equal(rocFigure(outliers.signals), null);
  assert.equal(aucFigure(outliers.signals), null);
  assert.throws(() => evaluate([], options), /expected at least one image that could be read, got none/);
});

Deno.test("evaluate() has rows for baselines where they were measured", () => {
  const withBaselines = items.map((item): Judged => {
    const more = {
      reconstruction: 2,
      encLossQuantized: 1,
      unchangedTokens: 1,
      latentTracer: item.families.rar.quantLoss,
    };
    return { ...item, baselines: { rar: { ...scores(1), ...more }, var: { ...scores(1), ...more } } };
  });
  const { signals } = evaluate(withBaselines, options);
  const tracer = signals.find(({ family, signal }) => family === "rar" && signal === "LatentTracer")!;
  assert.equal(tracer.title, "LatentTracer (baseline)");
  assert.ok(Math.abs(tracer.separations[0].auc.value! - 13 / 15) < 1e-12);
  assert.deepEqual(
    signals.filter(({ family, title }) => family === "var" && title.includes("baseline")).map(({ signal }) => signal),
    ["AEDR", "Reconstruction", "LatentTracer"],
  );
});

const labelled = ["a", "b", "c"].map((name) => ({
  path: `/x/${name}`,
  imageName: name,
  label: "rarb" as const,
  source: "rarb",
}));

Deno.test("attackedImages() has every image under every strength of the reference, drawn by seed and place alone", () => {
  const all = attackedImages(labelled, 5);
  const strengths = transformNames.reduce((total, name) => total + strengthRanges[name].length, 0);
  assert.equal(strengths, 68);
  assert.equal(all.length, 3 * strengths);
  assert.equal(new Set(all.map(({ imageName }) => imageName)).size, all.length);
  assert.deepEqual(attackedImages(labelled, 5), all);
  const some = attackedImages(labelled, 5, ["noise", "kernel"]);
  for (const image of some) assert.deepEqual(image, all.find(({ imageName }) => imageName === image.imageName));
  const sigmas = some.flatMap(({ augmentation: a }) => a.name === "kernel" ? [a.sigma] : []);
  assert.equal(new Set(sigmas).size, 3, "one sigma per image, whatever the kernel's width");
  assert.ok(sigmas.every((sigma) => sigma >= 0.1 && sigma < 2));
  assert.notDeepEqual(attackedImages(labelled, 6, ["noise"]), attackedImages(labelled, 5, ["noise"]));
});

Deno.test("robustnessPoint() has the figures of the verdicts at one strength, and null where there are none", () => {
  const point = robustnessPoint("jpeg", 60, items, { labels: officialLabels, bootstrap: { resamples: 10 } });
  assert.equal(point.images, 8);
  assert.equal(point.figures.familyAccuracy.value, 5 / 8);
  assert.equal(point.figures.accused.value, 1 / 3);
  const members = items.filter(({ label }) => label.startsWith("rar"));
  const own = robustnessPoint("jpeg", 60, members, { labels: officialLabels, bootstrap: { resamples: 10 } });
  assert.equal(own.figures.accused.value, null);
  assert.equal(own.figures.exonerated.value, 1 / 3);
});

Deno.test("every diagram names its axes, and has no colour that a dark page would swallow", async () => {
  const { confusion, signals } = evaluate(items, options);
  const points = transformNames.flatMap((name) =>
    strengthRanges[name].map((strength) =>
      robustnessPoint(name, strength, items, { labels: officialLabels, bootstrap: { resamples: 1 } })
    )
  );
  const verdicts = items.map((item, i) => ({ ...item, log10LikelihoodRatio: i - 4 }));
  const groups = ["as stored", "all of these"].map((title) => ({ title, curves: curvesOf(verdicts) }));
  const figures = {
    confusion: confusionFigure(confusion),
    roc: rocFigure(signals)!,
    auc: aucFigure(signals)!,
    scores: scoreFigure(items, calibration, rules),
    robustness: robustnessPanels(points)[0].figure,
    risk: riskFigure(groups),
    tippett: tippettFigure(groups)!,
  };
  // Cells of the confusion matrix stay light, with dark numbers; the last curves have colours that serve on both.
  const both = /^(none|#10151a|#c3ccd5|#e69f00|rgb\((24[0-9]|2[0-3]\d|1\d\d),(24[0-9]|2[0-3]\d|1\d\d),2\d\d\))$/;
  for (const [name, found] of Object.entries(figures)) {
    const html = await figure(found, "A caption & more");
    const { xAxis, yAxis, grid } = found.option as Record<string, { name?: string }[] | { name?: string }>;
    const axes = [xAxis, yAxis].map((axis) => Array.isArray(axis) ? axis : [axis]);
    assert.ok(axes.every((own) => own.length === (Array.isArray(grid) ? grid.length : 1)), name);
    assert.ok(axes[0].every((axis) => axis.name !== undefined && axis.name !== ""), `${name}: x axes have names`);
    assert.ok(axes[1].some((axis) => axis.name !== ""), `${name}: y axes have names`);
    assert.ok(html.includes("<figcaption>A caption &#38; more</figcaption>"));
    const drawn = html.replaceAll(/<clipPath[\s\S]*?<\/clipPath>/g, "");
    for (const [element] of drawn.matchAll(/<(?:text|path|rect|line|polyline|polygon|circle)\b[^>]*>/g)) {
      // Areas that only widen what the pointer hits, and lines of no width, are not seen.
      if (/fill-opacity="0"/.test(element) || /stroke-width="0"/.test(element)) continue;
      for (const [, property, color] of element.matchAll(/\b(fill|stroke)="([^"]+)"/g)) {
        const hex = /^rgb\((\d+),(\d+),(\d+)\)$/.exec(color);
        const light = hex ? "#" + hex.slice(1).map((n) => Number(n).toString(16).padStart(2, "0")).join("") : color;
        assert.ok(light in darkColors || both.test(color), `${name}: ${property} ${color} in ${element}`);
      }
    }
  }
});

Deno.test("axes of risk and reliability end where the data are, and numbers of images stand in them", () => {
  const verdicts = Array.from({ length: 100 }, (_, i) => ({
    ...items[0],
    confidence: 0.9 + i / 1001,
    verdict: i % 10 === 0 ? "outlier" : items[0].label,
    log10LikelihoodRatio: 1,
  }));
  const groups = [{ title: "as stored", curves: curvesOf(verdicts) }];
  // deno-lint-ignore no-explicit-any -- chart options have hundreds of types
  const [risk, reliability] = [riskFigure(groups), reliabilityFigure(groups)].map(({ option }) => option as any);
  assert.equal(risk.yAxis.max, 0.2, "of ten images in a hundred that are wrong");
  assert.deepEqual(risk.legend.data, ["as stored (100)"]);
  const marks = risk.series[0].markPoint.data.map(({ label }: { label: { formatter: string } }) => label.formatter);
  assert.deepEqual(marks, ["50", "80", "90", "100"]);
  assert.deepEqual([reliability.xAxis.min, reliability.yAxis.min], [0.8, 0.8]);
  const counts = reliability.series[0].data.map(({ label }: { label: { formatter: string } }) => label.formatter);
  assert.deepEqual(counts, Array(10).fill("10"));
});

Deno.test("ROC diagrams say how many nonmembers there are, and the title what was evaluated", () => {
  const titles = (rocFigure(evaluate(items, options).signals)!.option.title as { text: string }[]).map(({ text }) =>
    text
  );
  assert.match(titles[0], /^RAR against outliers: \d+, steps of [\d.]+ %$/);
  const about = {
    "model set": `tiny ${"0".repeat(64)}`,
    decides: "joint",
    images: "Dataset/val, 450 images",
    date: "2026-01-31T10:00:00.000Z",
  };
  assert.equal(evaluationTitle(about), "Evaluation of tiny by joint on Dataset/val, 450 images, 2026-01-31");
  const thresholds = { ...about, decides: "quantile thresholds on Distance (RAR, 2.7); variants by perplexity" };
  assert.match(evaluationTitle(thresholds), /^Evaluation of tiny by perplexity on /);
});

Deno.test("a page holds no script and no address of another file, and text stays text", () => {
  const html = page("A <title>", [{ title: "R&D", html: htmlTable(["a", "b"], [["<b>", "1.5 %"], ["x", "–"]], [1]) }]);
  assert.match(html, /^<!doctype html>/);
  assert.ok(html.includes("A &#60;title&#62;") && html.includes("R&#38;D") && html.includes("<td>&#60;b&#62;</td>"));
  assert.ok(html.includes('<td class="number">1.5 %</td>') && html.includes('<tr class="strong"><td>x</td>'));
  assert.ok(html.includes("prefers-color-scheme:dark"));
  assert.doesNotMatch(html, /<script|<link|src=|url\(|@import/);
  assert.equal(escapeHtml(`<a href="x">'&`), "&#60;a href=&#34;x&#34;&#62;&#39;&#38;");
});

Deno.test("scoreFigure() draws thresholds where they are, however small", async () => {
  const small = (value: number) => ({
    mean: 0,
    deviation: 1,
    thresholds: {
      quantile: { threshold: value },
      gaussian: { threshold: 1.5 * value },
      roc: { threshold: 2 * value },
    },
  });
  const own: Calibration = {
    ...calibration,
    families: { rar: { quantLoss: small(0.001) }, var: { quantLoss: small(0.002) } },
  };
  const scaled = items.map((item): Judged => ({
    ...item,
    families: { rar: scores(item.families.rar.quantLoss / 200), var: scores(item.families.var.quantLoss / 200) },
  }));
  const html = await figure(scoreFigure(scaled, own, rulesOf(own, officialLabels)), "");
  const lines = [...html.matchAll(/<path d="M([\d.]+) [\d.]+L\1 [\d.]+"[^>]*stroke-dasharray/g)].map(([, x]) =>
    Number(x)
  );
  assert.equal(lines.length, 6);
  // On a logarithmic axis, 1, 1.5 and 2 lie ln 1.5 and ln 2 apart.
  for (const [first, second, third] of [lines.slice(0, 3), lines.slice(3)]) {
    assert.ok(Math.abs((second - first) / (third - first) - Math.log(1.5) / Math.log(2)) < 0.02, `${lines}`);
  }
});
