/** Adam's update of parameters and moments in place; core/tensor/kernels.ts has the formula. */
import type { Kernels } from "../../tensor/kernels.ts";
import type { Context } from "../context.ts";
import { linearGroups, perItem, type Program } from "../program.ts";

const program: Program = {
  kernel: "adam",
  variant: "",
  build: () => ({
    params: {
      ...{ n: "u32", beta1: "f32", rest1: "f32", beta2: "f32", rest2: "f32" },
      ...{ l2: "f32", decay: "f32", stepSize: "f32", scale: "f32", eps: "f32" },
    } as const,
    buffers: {
      parameter: { type: "array<f32>", access: "write" },
      first: { type: "array<f32>", access: "write" },
      second: { type: "array<f32>", access: "write" },
      gradient: { type: "array<f32>", access: "read" },
    },
    code: perItem(
      64,
      "p.n",
      `let w = parameter[i];
  let g = gradient[i] + p.l2 * w;
  let m = p.beta1 * first[i] + p.rest1 * g;
  let v = p.beta2 * second[i] + p.rest2 * (g * g);
  first[i] = m;
  second[i] = v;
  parameter[i] = p.decay * w - m / (sqrt(v) * p.scale + p.eps) * p.stepSize;`,
    ),
  }),
};

export function adam(gpu: Context, args: Kernels["adam"]): void {
  const { parameter, first, second, gradient, n, beta1, beta2, l2, decay, stepSize, correction, eps } = args;
  if (n === 0) return;
  gpu.dispatch(
    program,
    { parameter, first, second, gradient },
    { n, beta1, rest1: 1 - beta1, beta2, rest2: 1 - beta2, l2, decay, stepSize, scale: 1 / correction, eps },
    linearGroups(Math.ceil(n / 64)),
  );
}
