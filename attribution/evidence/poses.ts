/** All poses in which an image was measured, the image as it is among them, for decisions that weigh them. */
import type { Pose } from "../images/pose.ts";
import type { MeasuredLine, Measurements } from "./evidence.ts";

/** What was measured of an image in one pose. */
export interface MeasuredPose {
  /** The pose. Absent for the image as it is. */
  readonly pose?: Pose;
  /** Natural logarithm of the prior probability of the pose. The probabilities of all poses add up to less than 1. */
  readonly logPrior: number;
  /** By how much the pose fits its family better than others, see `PoseEvidence`. Absent for the image as it is. */
  readonly contrast?: number;
  /** What was measured. */
  readonly measured: Measurements;
}

/** The prior probability that an image of unsuspicious size is as its model made it. */
export const asItIsPrior = 0.7;

/**
 * The poses in which an image was measured, the image as it is first. An image that was not searched has that pose
 * alone, at the prior probability `asItIsPrior`.
 */
export function measuredPoses(
  line: Measurements & Pick<MeasuredLine, "search">,
): readonly [MeasuredPose, ...MeasuredPose[]] {
  const { search, families, classes, variants } = line;
  const measured = { families, ...classes && { classes }, variants };
  const others = search?.poses.map(({ pose, logPrior, contrast, families, classes, variants }) => ({
    ...{ pose, logPrior, contrast },
    measured: { families, ...classes && { classes }, variants },
  }));
  return [{ logPrior: search?.logPriorAsItIs ?? Math.log(asItIsPrior), measured }, ...others ?? []];
}
