/** Score functions and token pairs for tests, and the definition of a score in float64. Nothing here is a test. */
import {
  type ParameterName,
  parameterShapes,
  type ScoreFunction,
  scoreFunction,
  type TokenPairs,
} from "../../../../attribution/likelihood/prada/score_function.ts";
import { normals, uniforms } from "../../../../core/tensor/mod.ts";

/** A score function with random parameters everywhere. */
export function randomScoreFunction(scaleLengths: readonly number[] | null, hidden = 5, seed = 1): ScoreFunction {
  const shapes = parameterShapes(hidden, scaleLengths?.length ?? 1);
  const parameters = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], stream) => {
      const count = shape.reduce((product, d) => product * d, 1);
      return [name, normals(seed, stream, count).map((x) => x * 0.5 + (name === "alpha" ? 1 : 0))];
    }),
  ) as Record<ParameterName, Float32Array<ArrayBuffer>>;
  return scoreFunction(parameters, scaleLengths);
}

/** Log-probabilities of one image: unconditional ones around -5, conditional ones higher by `gain` on average. */
export function randomPairs(tokens: number, seed: number, gain = 0): TokenPairs {
  const unconditional = uniforms(seed, 0, tokens).map((u) => -0.5 - 9 * u);
  const changes = normals(seed, 1, tokens);
  return { unconditional, conditional: unconditional.map((u, t) => u + gain + 0.5 * changes[t]) };
}

const elu = (x: number) => x > 0 ? x : Math.expm1(x);

/** Scores by the definition, in float64. */
export function exactScores(own: ScoreFunction, { conditional, unconditional }: TokenPairs) {
  const { parameters: p, hidden } = own;
  const layer = (x: readonly number[], i: 0 | 2 | 4, outputs: number) =>
    Array.from(
      { length: outputs },
      (_, o) =>
        x.reduce((sum, value, k) => sum + value * p[`net.${i}.weight`][o * x.length + k], p[`net.${i}.bias`][o]),
    );
  const tokenScores = Array.from(conditional, (c, t) => {
    const x = (2 - p.alpha[0]) * c - p.alpha[0] * unconditional[t];
    const first = layer([x], 0, hidden).map(elu);
    return layer(layer(first, 2, hidden).map(elu), 4, 1)[0];
  });
  let start = 0;
  const scaleMeans = (own.scaleLengths ?? [tokenScores.length]).map((length) => {
    const part = tokenScores.slice(start, start += length);
    return part.reduce((sum, value) => sum + value, 0) / length;
  });
  return { tokenScores, scaleMeans, score: scaleMeans.reduce((sum, mean, s) => sum + mean * p.w[s], 0) };
}
