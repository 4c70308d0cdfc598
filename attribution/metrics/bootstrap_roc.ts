/**
 * Bootstrap intervals of AUC and of TPR at a false positive rate. The numbers are those of bootstrapInterval() with
 * auc() and tprAtFpr(), in a hundredth of the time: scores are ranked once, and a sample only counts how often each
 * rank was drawn.
 */
import { type Interval, percentileInterval, type Samples } from "./bootstrap.ts";
import type { RocOptions } from "./roc.ts";
import { scaleAndOrder, type Scores } from "./scores.ts";

/**
 * Intervals of both over `samples`, drawn by drawSamples() from members and nonmembers, in this order. Throws a
 * RangeError on an empty group, and if the samples have other sizes. `maxFpr` is a rate from 0 to 1.
 */
export function bootstrapRoc(
  members: Scores,
  nonmembers: Scores,
  samples: Samples,
  maxFpr = 0.01,
  { membersLower = true }: RocOptions = {},
): { auc: Interval; tpr: Interval } {
  const { sizes: [memberCount, nonmemberCount], count, level, indices } = samples;
  if (memberCount !== members.length || nonmemberCount !== nonmembers.length) {
    throw new RangeError(
      `bootstrapRoc: expected samples of ${members.length} and ${nonmembers.length} items, got ${
        samples.sizes.join(" and ")
      }`,
    );
  }
  const scaled = scaleAndOrder(members, nonmembers, membersLower);
  const distinct = Float64Array.from(new Set([...scaled.members, ...scaled.nonmembers])).sort().reverse();
  const rankOf = new Map(Array.from(distinct, (score, rank) => [score, rank]));
  const ranks = (scores: Float64Array) => Uint32Array.from(scores, (score) => rankOf.get(score)!);
  const memberRanks = ranks(scaled.members), nonmemberRanks = ranks(scaled.nonmembers);
  const membersDrawn = new Uint32Array(distinct.length), nonmembersDrawn = new Uint32Array(distinct.length);
  const areas = new Float64Array(count), rates = new Float64Array(count);
  for (let n = 0, drawn = 0; n < count; n++) {
    membersDrawn.fill(0);
    nonmembersDrawn.fill(0);
    for (let i = 0; i < memberCount; i++) membersDrawn[memberRanks[indices[drawn++]]]++;
    for (let i = 0; i < nonmemberCount; i++) nonmembersDrawn[nonmemberRanks[indices[drawn++]]]++;
    areas[n] = orderedPairs(membersDrawn, nonmembersDrawn) / (memberCount * nonmemberCount);
    rates[n] = rateAtFpr(membersDrawn, nonmembersDrawn, memberCount, nonmemberCount, maxFpr);
  }
  return { auc: percentileInterval(areas, level)!, tpr: percentileInterval(rates, level)! };
}

/**
 * Pairs of a member and a nonmember in which the member ranks first; ties count half. Arguments count the drawn items
 * by rank, from the most member-like rank on.
 */
function orderedPairs(members: Uint32Array, nonmembers: Uint32Array): number {
  let pairs = 0, before = 0;
  for (let rank = 0; rank < members.length; rank++) {
    pairs += nonmembers[rank] * (before + members[rank] / 2);
    before += members[rank];
  }
  return pairs;
}

/**
 * tprAtFpr() over drawn ranks: the true positive rate at the last point of the curve with at most `maxFpr` false
 * positives. Like rocCurve(), it drops points in the middle of a straight run of equal steps.
 */
function rateAtFpr(
  members: Uint32Array,
  nonmembers: Uint32Array,
  memberCount: number,
  nonmemberCount: number,
  maxFpr: number,
): number {
  let truePositives = 0, falsePositives = 0, best = 0;
  let stepTrue = -1, stepFalse = -1; // the step that led to the last point; none before the first point
  for (let rank = 0; rank < members.length; rank++) {
    if (members[rank] + nonmembers[rank] === 0) continue;
    // If the next step equals the last one, the point between them lies on a straight run and is dropped.
    const bends = members[rank] !== stepTrue || nonmembers[rank] !== stepFalse;
    if (bends && stepTrue >= 0 && falsePositives / nonmemberCount <= maxFpr) best = truePositives;
    if (falsePositives / nonmemberCount > maxFpr) return best / memberCount;
    truePositives += members[rank];
    falsePositives += nonmembers[rank];
    if (stepTrue < 0) {
      // The first point of the curve is always kept. No step equals Infinity, so the next one bends.
      stepTrue = Infinity;
      stepFalse = Infinity;
      if (falsePositives / nonmemberCount <= maxFpr) best = truePositives;
    } else {
      stepTrue = members[rank];
      stepFalse = nonmembers[rank];
    }
  }
  return (falsePositives / nonmemberCount <= maxFpr ? truePositives : best) / memberCount;
}
