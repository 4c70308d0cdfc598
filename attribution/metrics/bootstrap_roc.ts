/**
 * Bootstrap intervals of AUC and of TPR at a false positive rate, for many signals on the same images: scores are ranked
 * once, and a sample is how often each rank was drawn. The same numbers as bootstrapInterval() with auc() and tprAtFpr(),
 * in a hundredth of the time.
 */
import { type Interval, percentileInterval, type Samples } from "./bootstrap.ts";
import type { RocOptions } from "./roc.ts";
import { scaleAndOrder, type Scores } from "./scores.ts";

/**
 * Intervals over `samples` drawn from members and nonmembers, in this order (drawSamples). Throws on an empty group, and
 * when the samples are of other sizes.
 */
export function bootstrapRoc(
  members: Scores,
  nonmembers: Scores,
  samples: Samples,
  maxFpr = 0.01,
  { membersLower = true }: RocOptions = {},
): { auc: Interval; tpr: Interval } {
  const { sizes: [own, others], count, level, indices } = samples;
  if (own !== members.length || others !== nonmembers.length) {
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
  const ownRanks = ranks(scaled.members), otherRanks = ranks(scaled.nonmembers);
  const ownDrawn = new Uint32Array(distinct.length), otherDrawn = new Uint32Array(distinct.length);
  const areas = new Float64Array(count), rates = new Float64Array(count);
  for (let n = 0, drawn = 0; n < count; n++) {
    ownDrawn.fill(0);
    otherDrawn.fill(0);
    for (let i = 0; i < own; i++) ownDrawn[ownRanks[indices[drawn++]]]++;
    for (let i = 0; i < others; i++) otherDrawn[otherRanks[indices[drawn++]]]++;
    areas[n] = area(ownDrawn, otherDrawn) / (own * others);
    rates[n] = rate(ownDrawn, otherDrawn, own, others, maxFpr);
  }
  return { auc: percentileInterval(areas, level)!, tpr: percentileInterval(rates, level)! };
}

/** Pairs in the right order, ties counting half; ranks from the most member-like on. */
function area(own: Uint32Array, others: Uint32Array): number {
  let pairs = 0, before = 0;
  for (let rank = 0; rank < own.length; rank++) {
    pairs += others[rank] * (before + own[rank] / 2);
    before += own[rank];
  }
  return pairs;
}

/** tprAtFpr() over drawn ranks: the last point of the curve with few enough false alarms, straight stretches left out. */
function rate(own: Uint32Array, others: Uint32Array, members: number, nonmembers: number, maxFpr: number): number {
  let truePositives = 0, falsePositives = 0, best = 0;
  let stepTrue = -1, stepFalse = -1; // of the last point; the first point is always kept
  for (let rank = 0; rank < own.length; rank++) {
    if (own[rank] + others[rank] === 0) continue;
    // The last point is in the middle of a straight stretch when the next step is the same: then it does not count.
    const bends = own[rank] !== stepTrue || others[rank] !== stepFalse;
    if (bends && stepTrue >= 0 && falsePositives / nonmembers <= maxFpr) best = truePositives;
    if (falsePositives / nonmembers > maxFpr) return best / members;
    truePositives += own[rank];
    falsePositives += others[rank];
    if (stepTrue < 0) {
      // The curve's own first point: no step leads to it, so the next one bends whatever it is.
      stepTrue = Infinity;
      stepFalse = Infinity;
      if (falsePositives / nonmembers <= maxFpr) best = truePositives;
    } else {
      stepTrue = own[rank];
      stepFalse = others[rank];
    }
  }
  return (falsePositives / nonmembers <= maxFpr ? truePositives : best) / members;
}
