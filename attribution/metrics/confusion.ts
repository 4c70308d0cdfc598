/**
 * Counts of what was said about what was true, and the rates that follow from them.
 * Rates that would divide by nothing are null, never 0 or 1.
 */

export interface ConfusionMatrix {
  /** What rows and columns stand for, in their order. */
  readonly labels: readonly string[];
  /** counts[actual][predicted]. */
  readonly counts: readonly (readonly number[])[];
}

/**
 * Counts pairs of labels. Throws when the lists differ in length, and on a label that is not among `labels`.
 */
export function confusionMatrix(
  actual: readonly string[],
  predicted: readonly string[],
  labels: readonly string[],
): ConfusionMatrix {
  if (actual.length !== predicted.length) {
    throw new RangeError(
      `confusionMatrix: expected as many predictions as true labels, ${actual.length}, got ${predicted.length}`,
    );
  }
  const place = new Map(labels.map((label, i) => [label, i]));
  const at = (label: string) => {
    const i = place.get(label);
    if (i === undefined) {
      throw new RangeError(`confusionMatrix: expected one of the labels ${labels.join(", ")}, got ${label}`);
    }
    return i;
  };
  const counts = labels.map(() => labels.map(() => 0));
  actual.forEach((label, i) => counts[at(label)][at(predicted[i])]++);
  return { labels, counts };
}

/** Share of right answers; null without any. */
export function accuracy({ counts }: ConfusionMatrix): number | null {
  return ratio(sum(counts.map((row, i) => row[i])), sum(counts.map(sum)));
}

/** Of those that are `label`, the share that was called so; null where there are none. */
export function recall(matrix: ConfusionMatrix, label: string): number | null {
  const i = indexOf(matrix, label);
  return ratio(matrix.counts[i][i], sum(matrix.counts[i]));
}

/** Of those that were called `label`, the share that is; null where none was. */
export function precision(matrix: ConfusionMatrix, label: string): number | null {
  const i = indexOf(matrix, label);
  return ratio(matrix.counts[i][i], sum(matrix.counts.map((row) => row[i])));
}

/** The mean recall over the labels that occur: accuracy as if every label were equally frequent. Null without any. */
export function balancedAccuracy(matrix: ConfusionMatrix): number | null {
  const recalls = matrix.labels.map((label) => recall(matrix, label)).filter((rate) => rate !== null);
  return ratio(sum(recalls), recalls.length);
}

function indexOf({ labels }: ConfusionMatrix, label: string): number {
  const i = labels.indexOf(label);
  if (i < 0) throw new RangeError(`confusion matrix: expected one of the labels ${labels.join(", ")}, got ${label}`);
  return i;
}

function ratio(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
