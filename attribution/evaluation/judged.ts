/** What is known of an image that was judged: the truth, and what the method that decides said. */
import type { Label } from "../labels.ts";
import type { Finding, Verdict } from "../evidence/evidence.ts";
import type { LabelledImage } from "../images/labelled.ts";

/** A verdict beside the truth. */
export interface JudgedVerdict {
  /** Name of the image, without its processing. */
  readonly image: string;
  /** The true label. */
  readonly label: Label;
  /** Name of the folder that the image is from, such as the generator of an outlier. */
  readonly source: string;
  /** The original that the image was made from: images of one original hang together. */
  readonly picture: string;
  /** The label of the verdict. */
  readonly verdict: Label;
  /** What was found. */
  readonly finding: Finding;
  /** 0 to 1. */
  readonly confidence: number;
  /** Of the likeliest model against outlier. Absent if the method gives none. */
  readonly log10LikelihoodRatio?: number;
}

/** A verdict beside the truth about its image. */
export function judgedVerdict(
  { imageName, label, source, picture = imageName }: Pick<LabelledImage, "imageName" | "label" | "source" | "picture">,
  { label: verdict, finding, confidence, log10LikelihoodRatio }: Pick<
    Verdict,
    "label" | "finding" | "confidence" | "log10LikelihoodRatio"
  >,
): JudgedVerdict {
  return { image: imageName, label, source, picture, verdict, finding, confidence, log10LikelihoodRatio };
}

/** Whether a verdict is right: its label is the true one. Confidences are judged by it. */
export function isRight({ label, verdict }: Pick<JudgedVerdict, "label" | "verdict">): boolean {
  return label === verdict;
}
