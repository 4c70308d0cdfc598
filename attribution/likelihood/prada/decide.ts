/**
 * Decides by PRADA scores. The scores of an image under all models tell in one step whether it was generated, and by
 * which model.
 *
 * Source: PRADA (arXiv 2511.20068); jonasricker/prada, predict.py: the largest score wins, and "real" has the score 0.
 */

/** A decision by scores. */
export interface PradaDecision {
  /** The model with the largest score, null if no score is above `real`. */
  readonly model: string | null;
  /** The largest score. The image counts as generated if it is above `real`. */
  readonly detection: number;
  /** Probabilities by model: a softmax over the scores and `real`. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** Probability of none of the models. */
  readonly none: number;
}

/**
 * Decides by the scores of models. Of equal largest scores the first wins. `real` is the score above which an image
 * counts as generated: 0 as score functions are fitted, higher for fewer false alarms. The probabilities order
 * verdicts; they are not calibrated. Throws without scores, and on NaN.
 */
export function decidePrada(scores: Readonly<Record<string, number>>, real = 0): PradaDecision {
  const entries = Object.entries(scores);
  if (entries.length === 0) throw new RangeError("decidePrada: expected the scores of at least one model, got none");
  const wrong = entries.find(([, score]) => Number.isNaN(score));
  if (wrong) throw new RangeError(`decidePrada: the score of ${wrong[0]} is NaN`);
  if (!Number.isFinite(real)) throw new RangeError(`decidePrada: real expects a finite score, got ${real}`);
  let model: string | null = null, detection = -Infinity;
  for (const [name, score] of entries) {
    if (score > detection) {
      detection = score;
      if (score > real) model = name;
    }
  }
  const top = Math.max(real, detection);
  // Scores may be infinite. Infinity - Infinity is NaN, so the top score is handled first.
  const weight = (score: number) => score === top ? 1 : Math.exp(score - top);
  const total = entries.reduce((sum, [, score]) => sum + weight(score), weight(real));
  return {
    model,
    detection,
    probabilities: Object.fromEntries(entries.map(([name, score]) => [name, weight(score) / total])),
    none: weight(real) / total,
  };
}
