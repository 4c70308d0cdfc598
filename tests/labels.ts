/** The labels of the embedded set, which are those of the official one. */
import { type Labels, makeLabels } from "../attribution/labels.ts";

export const officialLabels: Labels = makeLabels({
  rar: ["rarb", "rarl", "rarxl", "rarxxl"],
  var: ["var16", "var20", "var24", "var30"],
});

/** All of them, `outlier` last. */
export const labels = officialLabels.all;
export const variantLabels = officialLabels.variants;
export const familyNames = officialLabels.families;
