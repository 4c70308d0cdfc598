/**
 * Linear maps: the product of activations with a weight, with bias, activation, gate and residual fused in; and the
 * packing of weights for linear maps and convolutions.
 */
import type { Activation } from "../kernels.ts";
import { apply, defineOp, expectParameter, expectType, type Op, type TensorSpec } from "../op.ts";
import { formatShape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { sum } from "./broadcast.ts";
import { binary, mul, unary } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import {
  type Modulation,
  modulationGradient,
  type ModulationPosition,
  modulationPosition,
  modulationRows,
  rowTable,
} from "./modulation.ts";

interface LinearInputs {
  readonly [name: string]: Tensor | undefined;
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor;
  readonly residual?: Tensor;
  readonly gate?: Tensor;
}

interface LinearParams {
  readonly activation: Activation;
  readonly gateAt: ModulationPosition;
}

export const linearOp: Op<LinearInputs, LinearParams> = defineOp({
  name: "linear",
  infer({ x, weight, bias, residual, gate }: LinearInputs, { gateAt }: LinearParams): TensorSpec[] {
    expectType("linear", "x", x, "f32");
    if (weight.layout === "dense") expectType("linear", "weight", weight, "f32");
    else if (weight.layout !== "linear") throw new TypeError("linear: weight was packed for a convolution");
    const k = x.shape[x.rank - 1];
    const [n, weightK] = weight.shape;
    if (weight.rank !== 2 || weightK !== k) {
      throw new TypeError(`linear: weight expects shape [?, ${k}], got ${formatShape(weight.shape)}`);
    }
    if (bias) expectParameter("linear", "bias", bias, [n]);
    const shape = [...x.shape.slice(0, -1), n];
    if (residual) expectParameter("linear", "residual", residual, shape);
    if (gate) rowTable("linear", "gate", { table: gate, ...gateAt }, x, n);
    return [{ shape, dtype: "f32" }];
  },
  forward(device, { x, weight, bias, residual, gate }, [out], { activation, gateAt }) {
    const k = x.shape[x.rank - 1];
    const n = weight.shape[0];
    device.run("matmul", {
      a: x.storage,
      b: weight.storage,
      out: out.storage,
      batch: 1,
      m: x.size / k,
      n,
      k,
      aBatchStride: 0,
      bBatchStride: 0,
      transA: false,
      transB: weight.layout === "dense",
      packed: weight.layout === "linear",
      bType: weight.dtype === "f16" ? "f16" : "f32",
      epilogue: {
        bias: bias?.storage,
        activation,
        gate: gate && rowTable("linear", "gate", { table: gate, ...gateAt }, x, n),
        residual: residual?.storage,
      },
    });
  },
  gradient: ({ inputs: { x, weight, bias, gate }, upstream: [g], params: { activation, gateAt }, needs }) => {
    if (weight.layout !== "dense" && (needs.x || activation !== "none")) {
      throw new TypeError("linear: the gradient of x needs a dense weight, got a packed one; load the weights dense");
    }
    const [n, k] = weight.shape;
    const before = activation === "none" && !needs.gate ? undefined : linear(x, weight, bias);
    const activated = before && activation !== "none" ? unary(activation, before) : before;
    const gateRows = gate && modulationRows(gate, gateAt, x.shape[1]);
    let dz = gateRows ? mul(g, gateRows) : g;
    if (activation !== "none") dz = binary(`${activation}Gradient`, before!, dz);
    const rows = dz.reshape(-1, n);
    return {
      x: needs.x ? matmul(rows, weight) : undefined,
      weight: needs.weight ? matmul(rows, x.reshape(-1, k), { transA: true }) : undefined,
      bias: needs.bias ? sum(rows, 0) : undefined,
      residual: needs.residual ? g : undefined,
      gate: needs.gate ? modulationGradient(gate!, gateAt, mul(g, activated!)) : undefined,
    };
  },
  // The gradient of x alone needs no x.
  saves: (needs, { activation }) =>
    needs.weight || needs.gate || activation !== "none" ? ["x", "weight", "bias", "gate"] : ["weight", "gate"],
});

/** Options of `linear`. */
export interface LinearOptions {
  /** Applied after the bias (default none). */
  readonly activation?: Activation;
  /** [..., n], added last. */
  readonly residual?: Tensor;
  /** adaLN gate, for x[batch, rows, k]: multiplies before the residual is added. */
  readonly gate?: Modulation;
}

/**
 * residual + gate * act(x weight^T + bias): x[..., k], weight[n, k] (packed or dense), bias[n], result [..., n], f32.
 * Throws TypeError when shapes or types do not fit. A packed weight has no gradient.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, options: LinearOptions = {}): Tensor {
  const { activation = "none", residual, gate } = options;
  const inputs = { x, weight, bias, residual, gate: gate?.table };
  return apply(linearOp, inputs, { activation, gateAt: modulationPosition(gate) });
}

/**
 * Re-lays a weight (f32 or f16) for `linear` ([n, k]) or `conv2d` ([cOut, cIn, kh, kw]) into the device's layout,
 * stored as f32 or f16. The result keeps the shape, but can be used as a weight only: it cannot be read or
 * differentiated. `weight` stays as it is. Throws TypeError when its rank or type does not fit.
 */
export function packWeight(weight: Tensor, role: "linear" | "conv", dtype: "f32" | "f16" = "f32"): Tensor {
  expectType("packWeight", "weight", weight, "f32", "f16");
  const rank = role === "linear" ? 2 : 4;
  if (weight.rank !== rank) {
    throw new TypeError(`packWeight: a ${role} weight has rank ${rank}, got ${formatShape(weight.shape)}`);
  }
  const { device, shape } = weight;
  const storage = device.alloc(device.packedBytes(role, shape, dtype));
  const common = {
    x: weight.storage,
    out: storage,
    xType: weight.dtype as "f32" | "f16",
    outType: dtype,
  };
  if (role === "linear") {
    device.run("packLinear", { ...common, n: shape[0], k: shape[1] });
  } else {
    device.run("packConv", { ...common, cOut: shape[0], cIn: shape[1], kh: shape[2], kw: shape[3] });
  }
  return new Tensor(device, shape, dtype, storage, role);
}
