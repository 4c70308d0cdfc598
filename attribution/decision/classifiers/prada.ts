/**
 * PRADA's score functions on the host, in float64, for images whose log-probabilities are known. `PradaScorer` computes
 * the same on a device (likelihood/prada/scorer.ts); likelihood/prada/fit.ts fits them.
 */
import type { ExtraScores } from "../../likelihood/variant_scorer.ts";
import { type ScoreFunction, scoreFunction, type TokenPairs } from "../../likelihood/prada/mod.ts";
import type { Classifiers } from "./schema.ts";

/** Score functions by variant, as a calibration file has them. */
export type StoredPrada = NonNullable<Classifiers["prada"]>;

/** The score of one token, from x = (2 - alpha) x conditional - alpha x unconditional log-probability in nats. */
export function pradaTokenScore({ parameters, hidden }: ScoreFunction, x: number): number {
  const [w0, b0, w1, b1, w2, b2] = [
    ...[parameters["net.0.weight"], parameters["net.0.bias"], parameters["net.2.weight"], parameters["net.2.bias"]],
    ...[parameters["net.4.weight"], parameters["net.4.bias"]],
  ];
  const elu = (x: number) => x > 0 ? x : Math.expm1(x);
  const first = Array.from({ length: hidden }, (_, i) => elu(w0[i] * x + b0[i]));
  let score = b2[0];
  for (let i = 0; i < hidden; i++) {
    let sum = b1[i];
    for (let j = 0; j < hidden; j++) sum += w1[i * hidden + j] * first[j];
    score += w2[i] * elu(sum);
  }
  return score;
}

/** The score of one image under one variant. Above 0, the variant more likely generated the image than not. */
export function pradaScore(scorer: ScoreFunction, { conditional, unconditional }: TokenPairs): number {
  const alpha = scorer.parameters.alpha[0];
  let score = 0, t = 0;
  (scorer.scaleLengths ?? [conditional.length]).forEach((length, s) => {
    let total = 0;
    for (let i = 0; i < length; i++, t++) {
      total += pradaTokenScore(scorer, (2 - alpha) * conditional[t] - alpha * unconditional[t]);
    }
    score += scorer.parameters.w[s] * total / length;
  });
  return score;
}

/** Score functions by variant, as a calibration file stores them. */
export function storePrada(functions: ReadonlyMap<string, ScoreFunction>): StoredPrada {
  return Object.fromEntries([...functions].map(([label, { parameters, scaleLengths }]) => [label, {
    scaleLengths: scaleLengths === null ? null : [...scaleLengths],
    parameters: Object.fromEntries(Object.entries(parameters).map(([name, values]) => [name, [...values]])),
  }]));
}

/** Score functions by variant from a calibration file. Throws where parameters have unexpected sizes. */
export function readPrada(stored: StoredPrada): Map<string, ScoreFunction> {
  return new Map(
    Object.entries(stored).map(([label, { parameters, scaleLengths }]) => {
      const values = Object.fromEntries(
        Object.entries(parameters).map(([name, values]) => [name, Float32Array.from(values)]),
      );
      return [label, scoreFunction(values as ScoreFunction["parameters"], scaleLengths, `PRADA of ${label}`)];
    }),
  );
}

/**
 * Adds the feature `<variant>.prada.score` for every variant that has a score function. `hash` identifies the
 * functions, so that cached scores of other ones are not reused.
 */
export function pradaExtras(functions: ReadonlyMap<string, ScoreFunction>, hash: string): ExtraScores {
  return {
    id: `prada/${hash.slice(0, 16)}`,
    summarise({ conditional, unconditional }, _tokens, variant): Readonly<Record<string, number>> {
      const scorer = functions.get(variant);
      return scorer === undefined ? {} : { "prada.score": pradaScore(scorer, { conditional, unconditional }) };
    },
  };
}
