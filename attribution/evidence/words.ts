/**
 * Findings, likelihood ratios and poses in words. Command line, page, API and decision take their sentences
 * from here, so that all say the same.
 */
import { families } from "../../models/registry.ts";
import { describeFacts } from "../images/facts/describe.ts";
import type { ImageFacts, Unsuitable } from "../images/facts/facts.ts";
import type { Pose } from "../images/pose.ts";
import { type Label, outlierLabel } from "../labels.ts";
import type { Evidence, Finding, Verdict } from "./evidence.ts";

/** What a finding is called, and what it means in a sentence. */
export interface FindingWords {
  /** A few words without a capital letter or a full stop. */
  readonly title: string;
  /** One sentence. */
  readonly explanation: string;
}

/** Words for every finding. */
export const findingWords: Readonly<Record<Finding, FindingWords>> = {
  variant: {
    title: "made by a known model",
    explanation: "A model of this set made the image, and the label says which one.",
  },
  family: {
    title: "fits a known tokenizer",
    explanation: "The image fits the tokenizer of a family, but which model made it is not settled: " +
      "it may be one that this set does not have.",
  },
  none: {
    title: "no trace of a known model",
    explanation: "No model of this set left a trace, and in most images like this one a trace would have been seen.",
  },
  inconclusive: {
    title: "cannot tell",
    explanation:
      "Traces are too weak to tell, or hidden by what happened to this image: a model of this set may have made it.",
  },
  unsuitable: {
    title: "nothing to measure",
    explanation: "The image is too small, has no texture or is too elongated for any model to be recognised.",
  },
};

/** What the label `outlier` means. */
export const outlierMeaning =
  "not made by a model of this set, as far as can be seen; it may be a photograph or another generator's image";

/** How verdicts are to be read, and what they cannot say: for reports that leave the program. */
export const readingNotes: readonly string[] = [
  "A verdict is about the models of this set alone. Most generators are not in it: `no trace` does not say that an " +
  "image is a photograph, and `outlier` means no more than that no model of this set is seen to have made it.",
  "The finding comes before the label. Tables need a label in every row, so images of the findings `inconclusive` and " +
  "`unsuitable` have one, too; it is no accusation.",
  "A confidence says how often verdicts like this one were right on the labelled images of the calibration, and assumes " +
  "their share of generated images. The likelihood ratio does not depend on that share. Its words are those of the " +
  "ENFSI Guideline for Evaluative Reporting in Forensic Science (2015).",
  "Compression, resampling, noise and other processing remove traces. What is known of it was found in the file and its " +
  "pixels; processing unlike that of the calibration makes confidences and miss rates guesses.",
  "Whole images are judged. An image that was edited in parts, or composed of several, is none of a model's.",
  "A typical range has 19 of 20 images that the family or model made itself, without processing. A number outside of it " +
  "is unusual, and no verdict by itself.",
];

/** What the label of a verdict means, in a few words. */
export function labelMeaning({ finding, label, family }: Pick<Verdict, "finding" | "label" | "family">): string {
  if (label === outlierLabel) return outlierMeaning;
  const which = family === null ? "of this set" : `of the family ${familyTitle(family)}`;
  if (finding === "variant") return `a model ${which}`;
  return finding === "family"
    ? `the likeliest model ${which}`
    : "the likeliest model, if one of this set made the image";
}

/** What was found in an image, in a few words: the finding's title with the names of model and family. */
export function titleOf({ finding, label, family }: Pick<Verdict, "finding" | "label" | "family">): string {
  if (finding === "variant") return `made by ${label}`;
  if (finding === "family" && family !== null) return `fits ${familyTitle(family)}'s tokenizer, model not settled`;
  return findingWords[finding].title;
}

/** A family as its paper writes it, such as `RAR`; the name itself if the program does not know it. */
function familyTitle(name: string): string {
  return families.find((family) => family.name === name)?.title ?? name;
}

/** Least log10 of the ratio for each strength of support, the weakest first. */
const supportScale: readonly (readonly [least: number, strength: string])[] = [
  [Math.log10(2), "weak"],
  [1, "moderate"],
  [2, "moderately strong"],
  [3, "strong"],
  [4, "very strong"],
  [6, "extremely strong"],
];

/**
 * A likelihood ratio in the words of the ENFSI Guideline for Evaluative Reporting in Forensic Science (2015). A ratio
 * of 2 to 10 is weak support, up to 100 moderate, up to 1000 moderately strong, up to 10,000 strong, up to 1,000,000
 * very strong, and above extremely strong. Ratios below 1 support an outlier by the same scale.
 *
 * `log10Ratio` is that of the likeliest model against outlier. Throws a RangeError if it is not a number.
 *
 * @example
 * ```ts
 * import { verbalSupport } from "@model-tracer/model-tracer";
 *
 * console.log(verbalSupport(3.4)); // strong support for a known model
 * console.log(verbalSupport(-1)); // moderate support for outlier
 * console.log(verbalSupport(0.2)); // no support for either side
 * ```
 */
export function verbalSupport(log10Ratio: number): string {
  if (Number.isNaN(log10Ratio)) throw new RangeError("verbalSupport: expected the log10 of a ratio, got NaN");
  const strength = supportScale.findLast(([least]) => Math.abs(log10Ratio) >= least)?.[1];
  if (strength === undefined) return "no support for either side";
  return `${strength} support for ${log10Ratio > 0 ? "a known model" : outlierLabel}`;
}

/**
 * How an image lies in the stored image, in phrases such as `mirrored` and `3 pixels cropped off left and top`. Empty
 * for an image as it is. `image` is the size of the stored image in pixels.
 */
export function describePose(pose: Pose, image: { readonly width: number; readonly height: number }): string[] {
  const { left, top, width, height } = pose;
  const margins: [side: string, pixels: number][] = [
    ["left", left],
    ["top", top],
    ["right", image.width - left - width],
    ["bottom", image.height - top - height],
  ].map(([side, pixels]) => [side as string, Math.round(10 * (pixels as number)) / 10]);
  const cropped = margins.filter(([, pixels]) => pixels < 0);
  const added = margins.filter(([, pixels]) => pixels > 0);
  const phrases = turnPhrases(pose);
  if (cropped.length > 0) phrases.push(sidesPhrase(cropped, "cropped off"));
  if (added.length > 0) {
    phrases.push(
      cropped.length > 0
        ? sidesPhrase(added, "added at")
        : `within a canvas at ${round(left)},${round(top)} (${round(width)}x${round(height)} pixels)`,
    );
  }
  return phrases;
}

function turnPhrases({ turn, mirror }: Pose): string[] {
  if (mirror && turn === 180) return ["mirrored top to bottom"];
  const turns = { 0: [], 90: ["turned right by 90 degrees"], 180: ["turned by 180 degrees"] } as const;
  return [...mirror ? ["mirrored"] : [], ...turn === 270 ? ["turned left by 90 degrees"] : turns[turn]];
}

/** `3 pixels cropped off left and top, 1 pixel cropped off right`. */
function sidesPhrase(margins: readonly [side: string, pixels: number][], verb: string): string {
  const bySize = Map.groupBy(margins, ([, pixels]) => Math.abs(pixels));
  return Array.from(bySize, ([pixels, group]) => {
    const sides = group.length === 4 ? "each side" : listed(group.map(([side]) => side));
    return `${pixels} ${pixels === 1 ? "pixel" : "pixels"} ${verb} ${sides}`;
  }).join(", ");
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function round(pixels: number): number {
  return Math.round(pixels);
}

/** `26 %`; `less than 1 %` and `more than 99 %` at the ends, which measured rates never reach. */
export function sharePhrase(share: number): string {
  if (share < 0.01) return "less than 1 %";
  return share > 0.99 ? "more than 99 %" : `${Math.round(100 * share)} %`;
}

/** The reason of `none` and `inconclusive`: how often traces are missed. `missRate` is 0 to 1. */
export function missedReason(missRate: number): string {
  return `Of generated images processed like this, ${sharePhrase(missRate)} are missed.`;
}

/** The reason of `inconclusive`: what hides traces, in phrases such as `JPEG of quality 60`. */
export function hiddenReason(history: readonly string[]): string {
  return history.length === 0
    ? "What happened to the image may hide traces."
    : `Traces may be hidden by what happened to the image: ${history.join("; ")}.`;
}

/** The reason of `inconclusive` for an image that is cropped or within a canvas. */
export const displacedReason = "The image is cropped, or lies within a canvas: the search may have missed its place.";

/** The likelihood ratio as a reason. `label` is the likeliest model, `log10Ratio` its ratio against outlier. */
export function supportReason(label: Label, log10Ratio: number): string {
  const times = ratioPhrase(10 ** Math.abs(log10Ratio));
  const [likelier, other] = log10Ratio > 0
    ? [`if ${label} made the image`, "if it is an outlier"]
    : ["if it is an outlier", `if ${label} made the image`];
  return `What was measured is ${times} as likely ${likelier} as ${other}: ${verbalSupport(log10Ratio)}.`;
}

function ratioPhrase(ratio: number): string {
  if (ratio >= 1e6) return "more than a million times";
  const digits = Number(ratio.toPrecision(2));
  // Not by toLocaleString(), which takes longer than the decision.
  return digits === 1 ? "about" : `${String(digits).replace(/\B(?=(\d{3})+$)/g, ",")} times`;
}

/** A reason of `none`: all but a share `p`, 0 to 1, of a family's own images fit its tokenizer better. */
export function misfitReason(family: string, p: number): string {
  const title = familyTitle(family);
  return `The image fits ${title}'s tokenizer worse than ${sharePhrase(1 - p)} of ${title}'s own images.`;
}

/** The reason of `family` where no known model of the family explains the tokens. */
export function unknownModelReason(family: string): string {
  return `The image fits ${familyTitle(family)}'s tokenizer, but its tokens are unlikely under every model of the ` +
    "family that this set has: another model drew them, one of these with other settings of its sampler, or nobody (a " +
    "picture that went through the tokenizer).";
}

/** The reason of `family` where two of its models are about equally likely. Shares are 0 to 1. */
export function unsettledReason(
  first: { readonly label: Label; readonly share: number },
  second: { readonly label: Label; readonly share: number },
): string {
  return `${first.label} (${sharePhrase(first.share)}) and ${second.label} (${
    sharePhrase(second.share)
  }) are too close ` +
    "to choose between them.";
}

/** The reason of a verdict in another pose. `image` is the size of the stored image. */
export function poseReason(pose: Pose, image: { readonly width: number; readonly height: number }): string {
  const phrases = describePose(pose, image);
  return phrases.length === 0
    ? "The image was found moved by a fraction of a pixel."
    : `The image was found in another pose: ${phrases.join("; ")}.`;
}

/** The reason of `unsuitable`. `image` is the size of the stored image. */
export function unsuitableReason(
  unsuitable: Unsuitable,
  { width, height }: { readonly width: number; readonly height: number },
): string {
  if (unsuitable === "no-texture") return "The image has no texture in which a model could leave traces.";
  const size = `${width}x${height} pixels`;
  return unsuitable === "too-small"
    ? `The image has ${size}, too few to measure.`
    : `The image has ${size}: too little of it fits the square that is measured.`;
}

/** Why an image is judged at a size, of those that a set's models draw. */
const sizeRules: Readonly<Record<NonNullable<ImageFacts["native"]>["by"], string>> = {
  exact: "which is the image's size",
  picture: "which is the size of the picture within the canvas",
  enlargement: "from which the image was enlarged",
  multiple: "of which the image's size is a whole multiple",
  nearest: "which is the nearest to the image's size",
};

/** What is said with every verdict of a set whose models draw images of several sizes. */
export function sizeReason({ size, by, others }: NonNullable<ImageFacts["native"]>): string {
  return `Models for images of ${size} pixels were considered, ${sizeRules[by]}; those for ${
    others.join(" and ")
  } pixels were not.`;
}

/** A verdict in words. */
export interface VerdictWords extends FindingWords {
  /** Meaning of the label. */
  readonly labelMeaning: string;
  /** Of the likelihood ratio; null without one, and where nothing was measured. */
  readonly support: string | null;
  /** What happened to the image. */
  readonly history: string[];
  /** The pose in which it was found; empty for the image as it is. */
  readonly found: string[];
}

/** What a verdict and the facts about its image say in words. */
export function wordsOf(
  line: Pick<
    Evidence,
    "finding" | "label" | "family" | "log10LikelihoodRatio" | "pose" | "facts" | "width" | "height"
  >,
): VerdictWords {
  const { finding, log10LikelihoodRatio: ratio, pose, facts } = line;
  return {
    title: titleOf(line),
    explanation: findingWords[finding].explanation,
    labelMeaning: labelMeaning(line),
    support: ratio === undefined || finding === "unsuitable" ? null : verbalSupport(ratio),
    history: facts === undefined ? [] : describeFacts(facts),
    found: pose === undefined ? [] : describePose(pose, line),
  };
}
