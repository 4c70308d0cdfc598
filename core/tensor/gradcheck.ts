/**
 * Compares gradients with central differences. Float32 differences are noisy. So steps are large, and gradients are
 * compared along a few random directions, not element by element.
 */
import { fromArray } from "./create.ts";
import { normals } from "./random.ts";
import { keep, scope } from "./scope.ts";
import { formatShape } from "./shape.ts";
import { differentiate } from "./tape.ts";
import type { Tensor } from "./tensor.ts";
import { mul, sum } from "./ops/mod.ts";

/** Options of `gradcheck`. */
export interface GradcheckOptions {
  /** Length of the step, relative to directions of unit variance (default 1e-2). */
  readonly step?: number;
  /** Allowed difference relative to the size of the directional derivatives (default 5e-3). */
  readonly tolerance?: number;
  /** Random directions per input (default 3). */
  readonly directions?: number;
  /** Of the directions and the weighting (default 1). */
  readonly seed?: number;
}

/**
 * Checks the gradient of `body` with respect to each of `inputs` (dense f32): for random directions d, the gradient
 * times d must agree with (body(x + h d) - body(x - h d)) / 2h to second order (Richardson: the steps h and h / 2 are
 * combined). The result of `body`, of any shape, is first reduced to a scalar by a fixed random weighting. Resolves to
 * the largest relative difference; rejects, naming the input, when it exceeds the tolerance.
 */
export async function gradcheck(
  inputs: readonly Tensor[],
  body: (...inputs: Tensor[]) => Tensor,
  options: GradcheckOptions = {},
): Promise<number> {
  const { step = 1e-2, tolerance = 5e-3, directions = 3, seed = 1 } = options;
  const device = inputs[0].device;
  const weighted = (xs: readonly Tensor[]) =>
    scope(() => {
      const y = body(...xs);
      return sum(mul(y, fromArray(device, normals(seed, 1000, y.size), y.shape)));
    });
  const { result, gradients } = differentiate(inputs, () => ({ loss: weighted(inputs) }));
  result.loss.dispose();
  const host = await Promise.all(inputs.map((x) => x.data()));
  const slopes = await Promise.all(gradients.map((gradient) => gradient?.data()));
  gradients.forEach((gradient) => gradient?.dispose());

  let worst = 0;
  for (const [i, x] of inputs.entries()) {
    for (let d = 0; d < directions; d++) {
      const direction = normals(seed, i * directions + d, x.size);
      const valueAt = async (length: number) => {
        const moved = fromArray(device, host[i].map((value, j) => value + length * direction[j]), x.shape);
        const loss = scope(() => keep(weighted(inputs.map((input, j) => (j === i ? moved : input)))));
        const value = await loss.item();
        moved.dispose();
        loss.dispose();
        return value;
      };
      // All at once: a GPU makes every wait for a result dear.
      const [above, below, farAbove, farBelow] = await Promise.all([step / 2, -step / 2, step, -step].map(valueAt));
      const numeric = (4 * (above - below) / step - (farAbove - farBelow) / (2 * step)) / 3;
      const slope = slopes[i] ?? new Float32Array(x.size);
      let analytic = 0, norm = 0;
      for (let j = 0; j < slope.length; j++) {
        analytic += slope[j] * direction[j];
        norm += slope[j] * slope[j];
      }
      // Directional derivatives spread as widely as the gradient is long; a small one is compared with that spread.
      const relative = Math.abs(numeric - analytic) / Math.max(Math.abs(analytic), Math.sqrt(norm), 1e-3);
      worst = Math.max(worst, relative);
      if (!(relative <= tolerance)) {
        throw new Error(
          `gradcheck: input ${i} ${formatShape(x.shape)}: slope ${analytic} by gradient, ${numeric} by differences`,
        );
      }
    }
  }
  return worst;
}
