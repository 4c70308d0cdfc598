/** Examples of measuredLines() for fitting `joint`: originals of all labels, and generated images off their grid. */
import type { Example } from "../../attribution/calibration/fit_joint.ts";
import { featuresOf } from "../../attribution/evidence/features.ts";
import { measuredLine, measuredLines, type Structure } from "./measured_lines.ts";

/** `each` originals of every label, and as many images of every variant that have no traces. */
export function examples(each: number, seed: number, structure?: Structure): Example[] {
  return measuredLines(each, seed, structure).flatMap(({ label, line }, i): Example[] => {
    const group = line.image;
    const original: Example = { label, row: featuresOf(line), role: "original", group };
    if (label === "outlier") return [original];
    // What an image without traces measures like.
    const moved = measuredLine("outlier", seed + 1, i, structure);
    return [original, { label, row: featuresOf(moved), role: "moved", group }];
  });
}
