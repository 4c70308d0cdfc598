/** What a check makes of its numbers: ranges, shares of verdicts, and words. */
import assert from "node:assert/strict";
import type { Figure } from "../../../generation/check/figures.ts";
import {
  type Checked,
  classesFound,
  type InferredClasses,
  judge,
  marginOf,
  type TrialVerdict,
} from "../../../generation/check/judge.ts";
import type { TrialImage } from "../../../generation/check/trials.ts";

function image(variant: string, numbers: Partial<TrialImage> = {}): TrialImage {
  const nothing = { tokens: new Int32Array(0), png: new Uint8Array(0) };
  const usual = { recovered: 0.9, quantLoss: 0.1, drawnNats: 4, foundNats: 5, nats: { [variant]: 4 } };
  return { variant, family: variant.slice(0, 3), index: 0, class: 1, ...nothing, ...usual, ...numbers };
}

function verdict(variant: string, label: string): TrialVerdict {
  const labelFamily = label === "outlier" ? null : label.slice(0, 3);
  return { variant, family: variant.slice(0, 3), label, labelFamily, finding: "variant", confidence: 0.9 };
}

const figure = (row: Partial<Figure> & Pick<Figure, "of" | "quantity" | "value">): Figure => ({
  decides: true,
  source: "a test",
  ...row,
});

function check(figures: Figure[], checked: Partial<Checked>) {
  const rest = { images: [], verdicts: [], withEncoder: ["rar", "var"], isCalibrated: true };
  return judge({ about: "", figures }, { ...rest, ...checked });
}

Deno.test("marginOf() is the median lead over the next variant, of images that several variants have scored", () => {
  const leads: Record<string, number>[] = [{ rarb: 4, rarl: 4.5, rarxl: 6 }, { rarb: 4, rarl: 3 }, {
    rarb: 4,
    rarl: 5,
  }];
  assert.deepEqual(marginOf([...leads.map((nats) => image("rarb", { nats })), image("rarb")]), {
    value: 0.5,
    images: 3,
  });
  assert.equal(marginOf([image("rarb")]), undefined);
});

Deno.test("judge() allows a mean three deviations by the number of images, upwards only where more is better", () => {
  const recovered = figure({ of: "rar", quantity: "tokensRecovered", value: 0.9, deviation: 0.1 });
  const resultOf = (shares: number[], row: Figure) => {
    const { comparisons: [{ result }] } = check([row], {
      images: shares.map((value) => image("rarb", { recovered: value, drawnNats: 10 * value })),
    });
    return result;
  };
  assert.equal(resultOf([0.61], recovered), "within");
  assert.equal(resultOf([0.61, 0.61], recovered), "below");
  assert.equal(resultOf([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], recovered), "within");
  const nats = figure({ of: "rarb", quantity: "drawnNats", value: 9, deviation: 1 });
  assert.deepEqual([5, 9, 13].map((value) => resultOf([value / 10], nats)), ["below", "within", "above"]);
});

Deno.test("judge() says bad, and what is wrong, when a figure that decides is out of its range", () => {
  const figures = [
    figure({ of: "var", quantity: "tokensRecovered", value: 0.27, low: 0.2 }),
    figure({ of: "var16", quantity: "foundNats", value: 10.8, low: 10.6, high: 11.1, decides: false }),
  ];
  const images = [image("var16", { recovered: 0.1, foundNats: 12 })];
  const { result, summary } = check(figures, { images });
  assert.equal(result, "bad");
  assert.match(
    summary,
    /would not find its own images .*var: share of tokens found again is 10\.0 %, expected at least 20/,
  );
  assert.doesNotMatch(summary, /nats per found token/, "what decides nothing is not a reason");
  assert.equal(check(figures, { images: [image("var16", { recovered: 0.3, foundNats: 12 })] }).result, "good");
});

Deno.test("judge() holds verdicts against their share by chance, and leaves out figures of encoders that a set lacks", () => {
  const right = figure({ of: "all", quantity: "rightLabel", value: 0.94, withEncoder: true });
  const images = [image("rarb"), image("rarb"), image("rarb"), image("rarb")];
  const verdicts = (wrong: number) => images.map((_, i) => verdict("rarb", i < wrong ? "outlier" : "rarb"));
  assert.equal(check([right], { images, verdicts: verdicts(1) }).result, "good", "one of four may be wrong");
  assert.equal(check([right], { images, verdicts: verdicts(4) }).result, "bad");
  const without = check([right], { images, verdicts: verdicts(4), withEncoder: ["var"] });
  assert.equal(without.result, "unknown");
  assert.match(without.comparisons[0].reason!, /inverse decoder, which this set lacks/);
});

Deno.test("judge() without figures, and without a calibration, says so", () => {
  const checked: Checked = { images: [image("rarb")], verdicts: [], withEncoder: [], isCalibrated: false };
  const { result, summary } = judge(undefined, checked);
  assert.equal(result, "unknown");
  assert.match(summary, /cannot be said: there are no figures of this set .*deno task calibrate comes next/);
});

Deno.test("classesFound() counts images that keep their class, and says what chance would keep", () => {
  const verdict = {
    variant: "rarb",
    family: "rar",
    label: "rarb",
    labelFamily: "rar",
    finding: "variant",
    confidence: 1,
  };
  const of = (...classes: readonly (InferredClasses | undefined)[]) =>
    classesFound(classes.map((classes) => ({ ...verdict, classes })), 10);
  assert.equal(of(), undefined);
  assert.equal(of(undefined), undefined);
  assert.deepEqual(of({ kept: 3, own: 0 }, undefined, { kept: 1 }, { kept: 2, own: 1 }, { kept: 2 }), {
    ...{ images: 4, kept: 2, first: 1, chance: 0.2 },
  });
});
