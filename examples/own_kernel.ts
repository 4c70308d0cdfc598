/**
 * A kernel and an op of your own, with its gradient: sums of all elements up to each one, along rows.
 *
 *   deno run -A examples/own_kernel.ts [cpu|webgpu]
 *
 * An elementwise function needs none of this: it is one row of core/tensor/elementwise.ts.
 */
import {
  apply,
  type CpuDevice,
  defineOp,
  type Device,
  type DeviceName,
  fromArray,
  gradcheck,
  linearGroups,
  normals,
  openDevice,
  perItem,
  type Program,
  type Storage,
  type Tensor,
  type WgslDevice,
} from "../core/mod.ts";

interface Sums {
  x: Storage;
  out: Storage;
  rows: number;
  n: number;
  /** From the end of each row. */
  reverse: boolean;
}

/** The kernel in WGSL: one thread per row, which is what `i` counts. Its pipeline is built once per `variant`. */
const program = (reverse: boolean): Program => ({
  kernel: "prefixSum",
  variant: reverse ? "reverse" : "forward",
  build: () => ({
    params: { rows: "u32", n: "u32" },
    buffers: { x: { type: "array<f32>", access: "read" }, out: { type: "array<f32>", access: "write" } },
    code: perItem(
      64,
      "p.rows",
      `
  var sum = 0.0;
  for (var j = 0u; j < p.n; j++) {
    let at = i * p.n + ${reverse ? "p.n - 1u - j" : "j"};
    sum += x[at];
    out[at] = sum;
  }`,
    ),
  }),
});

/** The same kernel in TypeScript, on views of the device's memory. */
function onCpu(device: CpuDevice, { x, out, rows, n, reverse }: Sums): void {
  const [source, target] = [device.view(x, rows * n), device.view(out, rows * n)];
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let j = 0; j < n; j++) {
      const at = row * n + (reverse ? n - 1 - j : j);
      target[at] = sum += source[at];
    }
  }
}

function run(device: Device, sums: Sums): void {
  const { x, out, rows, n, reverse } = sums;
  if (device.info.kind === "cpu") onCpu(device as CpuDevice, sums);
  else {
    const groups = linearGroups(Math.ceil(rows / 64));
    (device as WgslDevice).dispatch(program(reverse), { x, out }, { rows, n }, groups);
  }
}

/** The op: shape rule, forward and gradient. Element i reaches all sums from i on, so its gradient is their sum. */
const prefixSumOp = defineOp({
  name: "prefixSum",
  infer({ x }: { x: Tensor }, _: { reverse: boolean }) {
    if (x.shape.length !== 2) throw new TypeError(`prefixSum: x expects [rows, n], got [${x.shape}]`);
    return [{ shape: x.shape, dtype: "f32" }];
  },
  forward(device, { x }, [out], { reverse }) {
    const [rows, n] = x.shape;
    run(device, { x: x.storage, out: out.storage, rows, n, reverse });
  },
  gradient: ({ upstream: [dOut], params }) => ({ x: prefixSum(dOut, !params.reverse) }),
  saves: [],
});

/** out[r, i] = sum of x[r, j] for j <= i, or for j >= i with `reverse`. x is [rows, n], f32. */
function prefixSum(x: Tensor, reverse = false): Tensor {
  return apply(prefixSumOp, { x }, { reverse });
}

const device = await openDevice((Deno.args[0] ?? "auto") as DeviceName);
const sums = prefixSum(fromArray(device, new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]));
console.log(`sums: ${(await sums.data()).join(" ")}`);
const error = await gradcheck([fromArray(device, normals(1, 0, 40), [4, 10])], (x) => prefixSum(x));
console.log(`gradient agrees with differences: ${error < 5e-3}`);
device.close();
