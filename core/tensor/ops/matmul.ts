/**
 * Matrix products: between activations (`matmul`) and with a weight (`linear`), with everything that follows fused in.
 * Convolutions are in conv.ts, attention, which never stores its scores, in attention.ts.
 */
import type { Activation, RowTable } from "../kernels.ts";
import { apply, defineOp, expectParameter, expectType, type TensorSpec } from "../op.ts";
import { formatShape, sizeOf } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { sum, sumTo } from "./broadcast.ts";
import { binary, mul, unary } from "./elementwise.ts";
import { pad, slice } from "./shape.ts";

/**
 * One chunk of an adaLN table [batch or 1, rows or 1, chunks, n], to scale, shift or gate activations [batch, rows, n].
 * A table with more rows than the activations is read from row `row` on. It is read in place.
 */
export interface Modulation {
  readonly table: Tensor;
  readonly chunk: number;
  readonly row?: number;
}

/** The numbers of a modulation, as op parameters; the table itself is an input. */
export interface ModulationPlace {
  readonly chunk: number;
  readonly row: number;
}

export function modulationPlace(modulation: Modulation | undefined): ModulationPlace {
  return { chunk: modulation?.chunk ?? 0, row: modulation?.row ?? 0 };
}

/** Checks that a modulation table fits activations x[batch, rows, n] -> [batch, rows, n] and says how kernels read it. */
export function rowTable(
  op: string,
  name: string,
  table: Tensor,
  { chunk, row }: ModulationPlace,
  x: Tensor,
  n: number,
): RowTable {
  expectType(op, name, table, "f32");
  if (x.rank !== 3) throw new Error(`${op}: ${name} needs x of rank 3, got ${formatShape(x.shape)}`);
  const [batch, rows] = x.shape;
  const [tableBatch, tableRows, chunks, tableN] = table.shape;
  const fits = table.rank === 4 && (tableBatch === 1 || tableBatch === batch) &&
    (tableRows === 1 || row + rows <= tableRows) && tableN === n && chunk >= 0 && chunk < chunks;
  if (!fits) {
    throw new Error(
      `${op}: ${name} expects a table [1 or ${batch}, 1 or >= ${row + rows}, > ${chunk}, ${n}], got ${
        formatShape(table.shape)
      }`,
    );
  }
  return {
    data: table.storage,
    seq: rows,
    batchStride: tableBatch === 1 ? 0 : tableRows * chunks * n,
    rowStride: tableRows === 1 ? 0 : chunks * n,
    offset: ((tableRows === 1 ? 0 : row) * chunks + chunk) * n,
  };
}

/** The rows of a table that modulate activations of `rows` rows, as a tensor [1 or batch, 1 or rows, n]. */
export function modulationRows(table: Tensor, { chunk, row }: ModulationPlace, rows: number): Tensor {
  const [batch, tableRows, , n] = table.shape;
  const part = tableRows === 1 ? table : slice(table, 1, row, row + rows);
  return slice(part, 2, chunk, chunk + 1).reshape(batch, part.shape[1], n);
}

/** The gradient of a whole table, given that of the activations [batch, rows, n] it modulates by one factor or summand. */
export function modulationGradient(table: Tensor, { chunk, row }: ModulationPlace, g: Tensor): Tensor {
  const [batch, tableRows, chunks, n] = table.shape;
  const used = tableRows === 1 ? 1 : g.shape[1];
  const own = sumTo(g, [batch, used, n]).reshape(batch, used, 1, n);
  const start = tableRows === 1 ? 0 : row;
  return pad(own, [[0, 0], [start, tableRows - start - used], [chunk, chunks - chunk - 1], [0, 0]]);
}

interface MatmulParams {
  readonly transA: boolean;
  readonly transB: boolean;
}

function matmulSizes(a: Tensor, b: Tensor, { transA, transB }: MatmulParams) {
  expectType("matmul", "a", a, "f32");
  expectType("matmul", "b", b, "f32");
  if (a.rank < 2 || b.rank < 2) {
    throw new Error(`matmul: expects ranks >= 2, got ${formatShape(a.shape)} and ${formatShape(b.shape)}`);
  }
  const [m, ka] = transA ? [a.shape[a.rank - 1], a.shape[a.rank - 2]] : [a.shape[a.rank - 2], a.shape[a.rank - 1]];
  const [kb, n] = transB ? [b.shape[b.rank - 1], b.shape[b.rank - 2]] : [b.shape[b.rank - 2], b.shape[b.rank - 1]];
  if (ka !== kb) {
    throw new Error(
      `matmul: inner sizes differ: ${formatShape(a.shape)}${transA ? "^T" : ""} x ${formatShape(b.shape)}${
        transB ? "^T" : ""
      } has ${ka} and ${kb}`,
    );
  }
  const aLead = a.shape.slice(0, -2), bLead = b.shape.slice(0, -2);
  const aBatch = sizeOf(aLead), bBatch = sizeOf(bLead);
  const sameLead = aLead.length === bLead.length && aLead.every((d, i) => d === bLead[i]);
  if (!sameLead && aBatch !== 1 && bBatch !== 1) {
    throw new Error(
      `matmul: batch dimensions must agree or be 1 on one side, got ${formatShape(a.shape)} and ${
        formatShape(b.shape)
      }`,
    );
  }
  const lead = bBatch === 1 && aLead.length >= bLead.length ? aLead : aBatch === 1 ? bLead : aLead;
  return { m, n, k: ka, lead, batch: Math.max(aBatch, bBatch), aBatch, bBatch };
}

export const matmulOp = defineOp({
  name: "matmul",
  infer({ a, b }: { a: Tensor; b: Tensor }, params: MatmulParams): TensorSpec[] {
    const { m, n, lead } = matmulSizes(a, b, params);
    return [{ shape: [...lead, m, n], dtype: "f32" }];
  },
  forward(device, { a, b }, [out], params) {
    const { m, n, k, batch, aBatch, bBatch } = matmulSizes(a, b, params);
    device.run("matmul", {
      a: a.storage,
      b: b.storage,
      out: out.storage,
      batch,
      m,
      n,
      k,
      aBatchStride: aBatch === 1 ? 0 : m * k,
      bBatchStride: bBatch === 1 ? 0 : k * n,
      ...params,
      packed: false,
      bType: "f32",
      epilogue: { activation: "none" },
    });
  },
  gradient: ({ inputs: { a, b }, upstream: [g], params: { transA, transB }, needs }) => ({
    a: needs.a
      ? sumTo(transA ? matmul(b, g, { transA: transB, transB: true }) : matmul(g, b, { transB: !transB }), a.shape)
      : undefined,
    b: needs.b
      ? sumTo(transB ? matmul(g, a, { transA: true, transB: transA }) : matmul(a, g, { transA: !transA }), b.shape)
      : undefined,
  }),
  saves: (needs) => [...(needs.a ? ["b"] : []), ...(needs.b ? ["a"] : [])],
});

/** a[..., m, k] b[..., k, n]; transA and transB read an operand transposed; a batch of 1 broadcasts. */
export function matmul(a: Tensor, b: Tensor, options: { transA?: boolean; transB?: boolean } = {}): Tensor {
  return apply(matmulOp, { a, b }, { transA: options.transA ?? false, transB: options.transB ?? false });
}

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
  readonly gatePlace: ModulationPlace;
}

export const linearOp = defineOp({
  name: "linear",
  infer({ x, weight, bias, residual, gate }: LinearInputs, { gatePlace }: LinearParams): TensorSpec[] {
    expectType("linear", "x", x, "f32");
    if (weight.layout === "dense") expectType("linear", "weight", weight, "f32");
    else if (weight.layout !== "linear") throw new Error("linear: weight was packed for a convolution");
    const k = x.shape[x.rank - 1];
    const [n, weightK] = weight.shape;
    if (weight.rank !== 2 || weightK !== k) {
      throw new Error(`linear: weight expects shape [?, ${k}], got ${formatShape(weight.shape)}`);
    }
    if (bias) expectParameter("linear", "bias", bias, [n]);
    const shape = [...x.shape.slice(0, -1), n];
    if (residual) expectParameter("linear", "residual", residual, shape);
    if (gate) rowTable("linear", "gate", gate, gatePlace, x, n);
    return [{ shape, dtype: "f32" }];
  },
  forward(device, { x, weight, bias, residual, gate }, [out], { activation, gatePlace }) {
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
        gate: gate && rowTable("linear", "gate", gate, gatePlace, x, n),
        residual: residual?.storage,
      },
    });
  },
  gradient: ({ inputs: { x, weight, bias, gate }, upstream: [g], params: { activation, gatePlace }, needs }) => {
    if (weight.layout !== "dense" && (needs.x || activation !== "none")) {
      throw new Error("linear: the gradient of x needs a dense weight, got a packed one; load the weights dense");
    }
    const [n, k] = weight.shape;
    const before = activation === "none" && !needs.gate ? undefined : linear(x, weight, bias);
    const activated = before && activation !== "none" ? unary(activation, before) : before;
    const gateRows = gate && modulationRows(gate, gatePlace, x.shape[1]);
    let dz = gateRows ? mul(g, gateRows) : g;
    if (activation !== "none") dz = binary(`${activation}Gradient`, before!, dz);
    const rows = dz.reshape(-1, n);
    return {
      x: needs.x ? matmul(rows, weight) : undefined,
      weight: needs.weight ? matmul(rows, x.reshape(-1, k), { transA: true }) : undefined,
      bias: needs.bias ? sum(rows, 0) : undefined,
      residual: needs.residual ? g : undefined,
      gate: needs.gate ? modulationGradient(gate!, gatePlace, mul(g, activated!)) : undefined,
    };
  },
  // The gradient of x alone needs no x.
  saves: (needs, { activation }) =>
    needs.weight || needs.gate || activation !== "none" ? ["x", "weight", "bias", "gate"] : ["weight", "gate"],
});

export interface LinearOptions {
  readonly activation?: Activation;
  readonly residual?: Tensor;
  readonly gate?: Modulation;
}

/**
 * residual + gate * act(x weight^T + bias): x[..., k], weight[n, k] (packed or dense), bias[n], result [..., n].
 * With a gate, x is [batch, rows, k].
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor, options: LinearOptions = {}): Tensor {
  const { activation = "none", residual, gate } = options;
  const inputs = { x, weight, bias, residual, gate: gate?.table };
  return apply(linearOp, inputs, { activation, gatePlace: modulationPlace(gate) });
}

/**
 * Re-lays a weight for `linear` ([n, k]) or `conv2d` ([cOut, cIn, kh, kw]) as the device likes it, stored as f32 or f16.
 * The result can only be used as a weight. `weight` is f32 or f16 and stays as it is.
 */
export function packWeight(weight: Tensor, role: "linear" | "conv", dtype: "f32" | "f16" = "f32"): Tensor {
  expectType("packWeight", "weight", weight, "f32", "f16");
  const rank = role === "linear" ? 2 : 4;
  if (weight.rank !== rank) {
    throw new Error(`packWeight: a ${role} weight has rank ${rank}, got ${formatShape(weight.shape)}`);
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
