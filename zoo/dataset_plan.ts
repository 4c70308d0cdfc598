/** How many images a recipe's dataset has, and from where: data that dataset.ts follows. */
import type { NonmemberSource } from "./nonmembers.ts";

/** Numbers of outliers by source. */
export type Counts = Readonly<Partial<Record<NonmemberSource, number>>>;

/** Images of a split. */
export interface SplitPlan {
  /** Of everything that is drawn for it. The seeds of a dataset's splits are disjoint. */
  readonly seed: number;
  /** Images of each variant. */
  readonly each: number;
}

/** The splits of a dataset. Photographs of val and of test are different ones. */
export interface DatasetPlan {
  readonly train: SplitPlan;
  readonly val: SplitPlan & { readonly outliers: Counts };
  readonly test: SplitPlan & {
    readonly outliers: Counts;
    /** Outliers behind all other images, whose names stay what they were. Default: none. */
    readonly added?: Counts;
  };
  /** Transforms of the first test images, one copy of this many images each. Default: none. */
  readonly processed?: { readonly each: number };
  /**
   * Whether the dataset is given on with this repository: then photographs without an entry of their own in a copyright
   * file are left out.
   */
  readonly isGivenOn: boolean;
  /**
   * Deciles of `sharpness` (blur.ts) of the variants' images, to which smoothed outliers are smoothed. Default: measured
   * on the images of train.
   */
  readonly sharpness?: readonly number[];
}

/** All outliers of test, by source. */
export function testOutliers({ test: { outliers, added = {} } }: DatasetPlan): Counts {
  const sum = { ...outliers };
  for (const [source, count] of Object.entries(added) as [NonmemberSource, number][]) {
    sum[source] = (sum[source] ?? 0) + count;
  }
  return sum;
}
