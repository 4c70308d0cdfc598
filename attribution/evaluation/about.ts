/** What the numbers of an evaluation depend on, and what limits them, in words. */
import type { Rules } from "../decision/calibration_file.ts";
import { methodOf } from "../decision/methods.ts";
import { familyNamed } from "../../models/registry.ts";
import type { Summary } from "../run/attribute.ts";
import { scoreTable } from "../signals/table.ts";
import type { Evaluation } from "./evaluate.ts";
import type { Context } from "./stages.ts";
import { type ZeroPixels, zeroPixelWarnings } from "./zero_pixels.ts";

/** The table that ends the report: everything that the numbers depend on. */
export function aboutEvaluation(
  { options, calibration, rules, images, shared }: Context,
  { summary, calibrationHash, fingerprint }: {
    readonly summary: Summary;
    readonly calibrationHash: string | null;
    readonly fingerprint: string;
  },
): Record<string, string> {
  const { val, labels, seed = 0, resamples = 1000 } = options;
  const threshold = options.rules?.threshold ?? calibration.decision.threshold;
  const { modelSet, method, settings, device } = summary;
  const { data } = calibration;
  const fittedOn = data === null
    ? "nothing, set by hand"
    : `train ${data.train.fingerprint.slice(0, 12)}, val ${data.val.fingerprint.slice(0, 12)}`;
  return {
    images: `${val}${labels === undefined ? "" : ` with ${labels}`}, ${images.length} images`,
    fingerprint,
    "model set": `${modelSet.name} ${modelSet.hash}`,
    calibration: calibrationHash ?? "none",
    "fitted on": fittedOn,
    decides: methodOf(method).byThresholds
      ? `${threshold ?? "no"} thresholds on ${describeRules(rules)}; variants by ${method}`
      : method,
    quantisation: shared.quantization,
    device: `${settings.device}, ${device}`,
    weights: settings.weightType,
    seed: String(seed),
    date: new Date().toISOString(),
    intervals: `95 % by picture: exact for rates, ${resamples} bootstrap samples for the others`,
  };
}

/** `Distance (RAR, 2.71) and Distance (VAR, 3.14)`. */
function describeRules({ labels, families }: Rules): string {
  return labels.families.map((name) => {
    const { signal, threshold } = families[name];
    return `${scoreTable[signal].title} (${familyNamed(name).title}, ${show(threshold)})`;
  }).join(" and ");
}

/** Notes on what limits the numbers of this evaluation. */
export function describeLimits(
  { labels, images, strategies }: Evaluation,
  { isFitted, zeroPixels }: { readonly isFitted: boolean; readonly zeroPixels: ZeroPixels },
): string[] {
  const notes = zeroPixelWarnings(zeroPixels);
  const outliers = labels.outlier ?? 0;
  if (outliers === 0) notes.push("There are no outliers: their recall, and rates against them, are not defined.");
  if (images === outliers) notes.push("There are outliers only: no signal has members to find.");
  if (images < 100) {
    notes.push(`These are ${images} images: the intervals are wide.`);
  }
  if (strategies.length === 0) notes.push("The set is not calibrated for what decides: every image passes.");
  if (isFitted) {
    notes.push(
      "The calibration was fitted on these very images (its val): rates of verdicts are too good; " +
        "calibrate prints cross-fitted ones.",
    );
  }
  return notes;
}

function show(threshold: number | null): string {
  return threshold === null ? "no threshold" : String(Number(threshold.toPrecision(4)));
}
