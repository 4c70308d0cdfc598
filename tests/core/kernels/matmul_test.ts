/**
 * matmul and packLinear against the reference: every storage of the operands, every epilogue, sizes at the tiles' edges.
 * Runs on the default devices and on their other code paths.
 */
import fc from "npm:fast-check@4.10.2";
import type { Device } from "../../../core/tensor/device.ts";
import type { Activation } from "../../../core/tensor/kernels.ts";
import { agrees, edgeSize, forAll, Inputs, seed, sumTolerance, tileSize } from "./check.ts";
import type { HostArgs } from "./reference.ts";
import { openAllTargets, withDevices } from "../devices.ts";

const targets = await openAllTargets();

const activations: readonly Activation[] = ["none", "silu", "gelu", "geluTanh", "relu"];
const tableKinds = ["per column", "per batch", "per position", "per row"] as const;

/** How b is given: plain [k, n] or [n, k], or packed from and to a type. */
const bKinds = ["plain", "transposed", "f32 to f32", "f32 to f16", "f16 to f16", "f16 to f32"] as const;

interface MatmulCase {
  batch: number;
  m: number;
  n: number;
  k: number;
  transA: boolean;
  b: (typeof bKinds)[number];
  /** One a for every batch entry (stride 0), and the same for a plain b. */
  shareA: boolean;
  shareB: boolean;
  /** Unused elements between the matrices of a batch. */
  gap: number;
  bias: boolean;
  activation: Activation;
  gate: (typeof tableKinds)[number] | "none";
  /** Rows per batch entry of the gate's table: the matmul's m, or every row of the product. */
  gateSeq: "m" | "all";
  residual: boolean;
  seed: number;
}

const plainCase: MatmulCase = {
  batch: 1,
  m: 5,
  n: 7,
  k: 9,
  transA: false,
  b: "plain",
  shareA: false,
  shareB: false,
  gap: 0,
  bias: false,
  activation: "none",
  gate: "none",
  gateSeq: "m",
  residual: false,
  seed: 1,
};

function matmulArgs(c: MatmulCase): HostArgs<"matmul"> {
  const { batch, m, n, k, transA } = c;
  const inputs = new Inputs(c.seed);
  const packed = c.b.includes(" to ");
  const bType = c.b.endsWith("f16") ? "f16" as const : "f32" as const;
  const aBatchStride = c.shareA ? 0 : m * k + c.gap;
  const bBatchStride = packed || c.shareB ? 0 : k * n + c.gap;
  const b = c.b.startsWith("f16") ? inputs.f16(n * k) : inputs.f32(bBatchStride * (batch - 1) + n * k);
  const rows = batch * m;
  const seq = c.gateSeq === "m" ? m : rows;
  const chunks = 3;
  const perRow = c.gate === "per row";
  const gate = c.gate === "none" ? undefined : {
    data: inputs.f32(rows * chunks * n),
    seq,
    batchStride: perRow ? seq * chunks * n : c.gate === "per batch" ? chunks * n : 0,
    rowStride: perRow || c.gate === "per position" ? chunks * n : 0,
    offset: 2 * n,
  };
  return {
    a: inputs.f32(aBatchStride * (batch - 1) + m * k),
    b,
    batch,
    m,
    n,
    k,
    aBatchStride,
    bBatchStride,
    transA,
    transB: c.b === "transposed",
    packed,
    bType,
    epilogue: {
      bias: c.bias ? inputs.f32(n) : undefined,
      activation: c.activation,
      gate,
      residual: c.residual ? inputs.f32(rows * n) : undefined,
    },
  };
}

async function check(device: Device, c: MatmulCase): Promise<void> {
  // Products of two uniform numbers in [-1, 1] have a deviation of 1/3; bias and residual add up to 1 each.
  await agrees(device, "matmul", matmulArgs(c), sumTolerance(device, c.k, Math.sqrt(c.k) / 3 + 1));
}

const anyCase: fc.Arbitrary<MatmulCase> = fc.record({
  batch: fc.constantFrom(1, 1, 2, 3),
  m: edgeSize,
  n: edgeSize,
  k: tileSize,
  transA: fc.boolean(),
  b: fc.constantFrom(...bKinds),
  shareA: fc.boolean(),
  shareB: fc.boolean(),
  gap: fc.constantFrom(0, 0, 3, 4),
  bias: fc.boolean(),
  activation: fc.constantFrom(...activations),
  gate: fc.constantFrom("none" as const, ...tableKinds),
  gateSeq: fc.constantFrom("m" as const, "all" as const),
  residual: fc.boolean(),
  seed,
});

withDevices("matmul agrees with the reference for every storage of a and b", async (device) => {
  for (const b of bKinds) {
    for (const transA of [false, true]) {
      await check(device, { ...plainCase, m: 37, n: 29, k: 41, transA, b });
      await check(device, { ...plainCase, batch: 3, m: 5, n: 18, k: 12, transA, b, gap: 4 });
    }
  }
}, targets);

withDevices("matmul agrees with the reference for the long sums of weight gradients", async (device) => {
  await check(device, { ...plainCase, m: 130, n: 67, k: 2573, transA: true });
  await check(device, { ...plainCase, m: 3, n: 9, k: 1025, transA: true });
}, targets);

withDevices("matmul agrees with the reference for every epilogue", async (device) => {
  const base = { ...plainCase, batch: 2, m: 9, n: 19, k: 23, b: "f32 to f32" as const };
  // Each option alone, then together; the random cases mix them further.
  await check(device, { ...base, bias: true });
  await check(device, { ...base, residual: true });
  for (const activation of activations) await check(device, { ...base, activation });
  for (const gate of tableKinds) await check(device, { ...base, gate });
  for (const gate of tableKinds) await check(device, { ...base, gate, gateSeq: "all", residual: true });
  for (const activation of activations) {
    await check(device, { ...base, bias: true, activation, gate: "per row", residual: true });
  }
  await check(device, { ...base, b: "plain", bias: true, activation: "silu", gate: "per batch", residual: true });
}, targets);

withDevices("matmul reads gates whose rows start anywhere", async (device) => {
  const [m, n] = [6, 8];
  const data = new Inputs(5).f32(200);
  for (const odd of [{ offset: 3 }, { batchStride: 49 }, { rowStride: 9 }]) {
    for (const b of ["plain", "f32 to f32"] as const) {
      const args = matmulArgs({ ...plainCase, m, n, k: 16, b });
      const gate = { data, seq: 3, batchStride: 48, rowStride: 12, offset: 4, ...odd };
      const epilogue = { ...args.epilogue, gate };
      await agrees(device, "matmul", { ...args, epilogue }, sumTolerance(device, 16, 3));
    }
  }
}, targets);

withDevices("matmul agrees with the reference over random shapes and options", async (device) => {
  await forAll(device, anyCase, { cpu: 120, webgpu: 10 }, (c) => check(device, c));
}, targets);

withDevices("matmul agrees with the reference beyond one tile", async (device) => {
  const sizes = fc.record({ m: tileSize, n: tileSize, k: tileSize, seed });
  const run = async (c: { m: number; n: number; k: number; seed: number }) => {
    await check(device, { ...plainCase, ...c, b: "f32 to f32", bias: true });
    await check(device, { ...plainCase, ...c, b: "transposed", batch: 2 });
  };
  await forAll(device, sizes, { cpu: 25, webgpu: 6 }, run, [
    { m: 131, n: 129, k: 67, seed: 1 },
    { m: 1, n: 257, k: 768, seed: 2 }, // a row at a time, as the cached transformer steps do
    { m: 2, n: 130, k: 1537, seed: 3 }, // k beyond two blocks of 768
    { m: 257, n: 8, k: 16, seed: 4 },
  ]);
}, targets);

withDevices(
  "matmul agrees with the reference for up to sixteen rows, as steps with a cache have them",
  async (device) => {
    await check(device, { ...plainCase, m: 13, n: 35, k: 516, b: "f32 to f16", bias: true, residual: true });
  },
  targets,
);

withDevices("matmul repeats shared operands over a batch", async (device) => {
  for (const b of ["plain", "transposed"] as const) {
    await check(device, { ...plainCase, batch: 4, b, shareA: true });
    await check(device, { ...plainCase, batch: 4, b, shareB: true });
    await check(device, { ...plainCase, batch: 4, b, shareA: true, shareB: true, transA: true });
  }
}, targets);

withDevices("matmul of whole numbers is exact", async (device) => {
  // Sums below 2^24 have no rounding, whatever the order: any lost or doubled term shows.
  for (const b of ["plain", "transposed", "f32 to f32", "f16 to f16"] as const) {
    const args = matmulArgs({ ...plainCase, batch: 2, m: 33, n: 35, k: 97, b });
    const inputs = new Inputs(3);
    args.a.forEach((_, i) => args.a[i] = inputs.int(-9, 9));
    args.b.forEach((_, i) => args.b[i] = inputs.int(-9, 9));
    await agrees(device, "matmul", args);
  }
}, targets);
