/** Confusion matrices, and the rates that follow from them. A rate whose denominator is 0 is null. */

/** Counts of predicted labels by true label. */
export interface ConfusionMatrix {
  /** Labels of rows and columns, in order. */
  readonly labels: readonly string[];
  /** counts[actual][predicted]. */
  readonly counts: readonly (readonly number[])[];
}

/**
 * Counts pairs of true and predicted labels. Throws a RangeError if the lists differ in length, and on a label that is
 * not among `labels`.
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
  const indices = new Map(labels.map((label, i) => [label, i]));
  const at = (label: string) => {
    const i = indices.get(label);
    if (i === undefined) {
      throw new RangeError(`confusionMatrix: expected one of the labels ${labels.join(", ")}, got ${label}`);
    }
    return i;
  };
  const counts = labels.map(() => labels.map(() => 0));
  actual.forEach((label, i) => counts[at(label)][at(predicted[i])]++);
  return { labels, counts };
}

/** Share of right predictions; null without predictions. */
export function accuracy({ counts }: ConfusionMatrix): number | null {
  return ratio(sum(counts.map((row, i) => row[i])), sum(counts.map(sum)));
}

/** Of the items whose true label this is, the share that was predicted so; null without such items. */
export function recall(matrix: ConfusionMatrix, label: string): number | null {
  const i = indexOf(matrix, label);
  return ratio(matrix.counts[i][i], sum(matrix.counts[i]));
}

/** Of the items for which this label was predicted, the share whose true label it is; null without such items. */
export function precision(matrix: ConfusionMatrix, label: string): number | null {
  const i = indexOf(matrix, label);
  return ratio(matrix.counts[i][i], sum(matrix.counts.map((row) => row[i])));
}

/** Mean recall over the labels that occur, so that each weighs the same however frequent it is. Null without items. */
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
