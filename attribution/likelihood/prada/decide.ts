/**
 * PRADA as a method of one step: the scores of an image under all models say at once whether it was generated, and by
 * which of them. A pure function of scores; where they come from is scorer.ts.
 *
 * Source: PRADA (arXiv 2511.20068); jonasricker/prada, predict.py: the largest score wins, "real" being fixed at 0.
 */

export interface PradaDecision {
  /** The model of the largest score, null where no score is above `real`. */
  readonly model: string | null;
  /** The largest score, which is the detection score: above `real` for images held to be generated. */
  readonly detection: number;
  /** By model: softmax of the scores and of `real`, which stands for none of them. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** What the softmax leaves for none of the models. */
  readonly none: number;
}

/**
 * Decides by scores, in any order but of distinct models; of equal largest scores the first wins, and one equal to `real`
 * is no verdict. `real` is the score of images that none of the models generated: 0 as the score functions are fitted,
 * higher for fewer false alarms. The softmax orders verdicts; it is no calibrated probability. Throws on no scores and on
 * NaN.
 */
export function decidePrada(scores: Readonly<Record<string, number>>, real = 0): PradaDecision {
  const entries = Object.entries(scores);
  if (entries.length === 0) throw new Error("decidePrada: expected the scores of at least one model, got none");
  const wrong = entries.find(([, score]) => Number.isNaN(score));
  if (wrong) throw new Error(`decidePrada: the score of ${wrong[0]} is NaN`);
  if (!Number.isFinite(real)) throw new Error(`decidePrada: real expects a finite score, got ${real}`);
  let model: string | null = null, detection = -Infinity;
  for (const [name, score] of entries) {
    if (score > detection) {
      detection = score;
      if (score > real) model = name;
    }
  }
  const top = Math.max(real, detection);
  // A difference of two infinities stands for none: both are the top.
  const weight = (score: number) => score === top ? 1 : Math.exp(score - top);
  const total = entries.reduce((sum, [, score]) => sum + weight(score), weight(real));
  return {
    model,
    detection,
    probabilities: Object.fromEntries(entries.map(([name, score]) => [name, weight(score) / total])),
    none: weight(real) / total,
  };
}
