/** Case 09: scaled scores, ROC curves and what is read off them, in float64. No device takes part. */
import { accuracyAtHalf, auc, rocCurve, scaleAndOrder, tprAtFpr } from "../attribution/metrics/mod.ts";
import type { Comparison, ParityCase } from "./case.ts";

/** Results of one direction, as the case lists them. */
interface Expected {
  readonly scaled_members: readonly number[];
  readonly scaled_nonmembers: readonly number[];
  readonly tpr_at_fpr: Readonly<Record<string, number>>;
  readonly auc: number;
  readonly accuracy: number;
  readonly roc_fpr: readonly number[];
  readonly roc_tpr: readonly number[];
  readonly roc_thresholds: readonly number[];
}

interface MetricSet {
  readonly name: string;
  readonly members: readonly number[];
  readonly nonmembers: readonly number[];
  readonly results: Readonly<Record<string, Expected>>;
}

/** Sums in float64 may be taken in another order than numpy's. */
const relativeTolerance = 1e-12;

/** Compares everything that the case lists, named `<set> <direction> <metric>`. */
export function* metrics(parityCase: ParityCase): Generator<Comparison> {
  for (const { name, members, nonmembers, results } of parityCase.manifest.sets as readonly MetricSet[]) {
    for (const [direction, expected] of Object.entries(results)) {
      const options = { membersLower: direction === "members_lower" };
      const scaled = scaleAndOrder(members, nonmembers, options.membersLower);
      const roc = rocCurve(members, nonmembers, options);
      const rates = Object.keys(expected.tpr_at_fpr);
      const computed: { readonly [Name in keyof Expected]: ArrayLike<number> } = {
        scaled_members: scaled.members,
        scaled_nonmembers: scaled.nonmembers,
        tpr_at_fpr: rates.map((rate) => tprAtFpr(members, nonmembers, Number(rate), options)),
        auc: [auc(members, nonmembers, options)],
        accuracy: [accuracyAtHalf(members, nonmembers, options)],
        roc_fpr: roc.fpr,
        roc_tpr: roc.tpr,
        roc_thresholds: roc.thresholds,
      };
      for (const metric of Object.keys(expected)) {
        const tensor = `${name} ${direction} ${metric}`;
        if (!(metric in computed)) {
          yield { tensor, maxAbs: NaN, relative: NaN, tolerance: NaN, verdict: "MISSING" };
          continue;
        }
        const key = metric as keyof Expected, wanted = expected[key];
        const list = typeof wanted === "number" ? [wanted] : Array.isArray(wanted) ? wanted : Object.values(wanted);
        yield comparison(tensor, list.map(Number), computed[key]);
      }
    }
  }
}

function comparison(tensor: string, expected: readonly number[], got: ArrayLike<number>): Comparison {
  let maxAbs = 0, magnitude = 0;
  expected.forEach((value, i) => {
    magnitude = Math.max(magnitude, Math.abs(value));
    const difference = Math.abs(value - got[i]);
    maxAbs = Number.isNaN(difference) ? Infinity : Math.max(maxAbs, difference);
  });
  const tolerance = relativeTolerance * Math.max(magnitude, Number.MIN_VALUE);
  const sameLength = expected.length === got.length;
  return {
    tensor,
    maxAbs: sameLength ? maxAbs : Infinity,
    relative: magnitude > 0 ? maxAbs / magnitude : maxAbs,
    tolerance,
    verdict: sameLength && maxAbs <= tolerance ? "ok" : "FAIL",
    note: sameLength ? undefined : `expected ${expected.length} numbers, got ${got.length}`,
  };
}
