/**
 * Which likelihoods a calibration rests on. All of every image are most of its work, and `joint` reads those alone that
 * signals leave open: with an official set a third of them suffices.
 */
import type { FamilyName } from "../../models/family.ts";
import type { ModelSet } from "../../models/model_set.ts";
import { chooseFamily, type Rules } from "../decision/methods.ts";
import { defaultQuantizer } from "../quantisation/quantizers.ts";
import { exampleOf, type LabelledLine, nonmembersOf } from "./classifiers.ts";
import { familiesToScore, type FittedTo } from "./fit_joint.ts";

/** `all` where tokenizers are small, and all likelihoods take little; else `open`. */
export function defaultLikelihoods(set: Pick<ModelSet, "families" | "tokenizerFacts">): FittedTo {
  return defaultQuantizer(set) === "search" ? "all" : "open";
}

/** Images by their content, and the families whose variants must score them. */
export interface Scored {
  readonly wanted: (sha256: string) => readonly FamilyName[];
  /** How many pairs of image and family, as a share of all, 0 to 1. */
  readonly share: number;
}

/**
 * Chooses the families whose variants score each image, from lines that have signals alone: what `fitJoint` needs, the
 * family that thresholds choose, and with `prada` the nonmembers of its score functions.
 */
export function chooseScored(
  lines: readonly LabelledLine[],
  rules: Rules,
  { prada }: { readonly prada: boolean },
): Scored {
  const { labels } = rules;
  const open = familiesToScore(lines.map(exampleOf), labels);
  const wanted = new Map<string, Set<FamilyName>>();
  const want = ({ line: { sha256 } }: LabelledLine, family: FamilyName) => {
    if (!wanted.has(sha256)) wanted.set(sha256, new Set());
    wanted.get(sha256)!.add(family);
  };
  const originals = lines.filter(({ role = "original" }) => role === "original");
  lines.forEach((item, i) => open[i].forEach((family) => want(item, family)));
  for (const item of originals) {
    const chosen = chooseFamily(item.line.families, rules);
    if (chosen !== null) want(item, chosen);
  }
  if (prada) {
    for (const family of labels.families) {
      for (const label of labels.variants[family]) {
        for (const item of nonmembersOf(originals, label, family)) want(item, family);
      }
    }
  }
  const pairs = lines.reduce((sum, { line: { sha256 } }) => sum + (wanted.get(sha256)?.size ?? 0), 0);
  return {
    wanted: (sha256) => labels.families.filter((family) => wanted.get(sha256)?.has(family)),
    share: pairs / lines.length / labels.families.length,
  };
}
