/** Minimisation on functions whose minimum is known. */
import assert from "node:assert/strict";
import { minimize } from "../../../attribution/calibration/lbfgs.ts";

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} and ${b}`);

Deno.test("minimize() finds the minimum of Rosenbrock's valley and of an ill-conditioned quadratic", () => {
  const valley = minimize((x, gradient) => {
    const [a, b] = x;
    gradient[0] = -2 * (1 - a) - 400 * a * (b - a * a);
    gradient[1] = 200 * (b - a * a);
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2;
  }, Float64Array.from([-1.2, 1]));
  assert.ok(valley.converged && valley.iterations < 100);
  near(valley.x[0], 1, 1e-7);
  near(valley.x[1], 1, 1e-7);
  const scales = Float64Array.from({ length: 50 }, (_, i) => 10 ** (i / 20));
  const bowl = minimize((x, gradient) => {
    let value = 0;
    scales.forEach((scale, i) => {
      gradient[i] = scale * (x[i] - i);
      value += scale / 2 * (x[i] - i) ** 2;
    });
    return value;
  }, new Float64Array(50));
  assert.ok(bowl.converged);
  bowl.x.forEach((value, i) => near(value, i, 1e-7));
});
