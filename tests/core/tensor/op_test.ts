/**
 * What ops say about operands that do not fit: the operation, what it expected and what came.
 * Errors come when the op is called, on the host, and leave no memory behind.
 */
import assert from "node:assert/strict";
import {
  add,
  attention,
  avgPool2d,
  broadcastTo,
  cast,
  concat,
  conv2d,
  type Device,
  embedding,
  fromArray,
  groupNorm,
  KeyValueCache,
  layerNorm,
  linear,
  logSoftmaxGather,
  matmul,
  nearestCode,
  packWeight,
  pad,
  permute,
  resize,
  scope,
  slice,
  sum,
  type Tensor,
  topK,
  writeSlice,
  zeros,
} from "../../../core/tensor/mod.ts";
import { withDevices } from "../devices.ts";

/** Tensors of zeros for one case. */
type Make = (...shape: number[]) => Tensor;

function refuses(name: string, cases: readonly (readonly [(t: Make, device: Device) => unknown, string])[]): void {
  withDevices(`${name} says what does not fit`, (device) => {
    for (const [body, message] of cases) {
      const before = device.memory().liveCount;
      const run = () => scope(() => void body((...shape) => zeros(device, shape), device));
      assert.throws(run, (error: Error) => {
        assert.equal(error.message, message);
        return error instanceof TypeError || error instanceof RangeError;
      });
      assert.equal(device.memory().liveCount, before, message);
    }
  });
}

const ints = (device: Device, ...values: number[]) => fromArray(device, values, [values.length], "i32");

refuses("matmul()", [
  [(t) => matmul(t(2, 3), t(4, 5)), "matmul: inner sizes differ: [2, 3] x [4, 5] has 3 and 4"],
  [
    (t) => matmul(t(3, 2), t(5, 4), { transA: true, transB: true }),
    "matmul: inner sizes differ: [3, 2]^T x [5, 4]^T has 3 and 4",
  ],
  [(t) => matmul(t(3), t(3, 2)), "matmul: expects ranks >= 2, got [3] and [3, 2]"],
  [
    (t) => matmul(t(2, 1, 3), t(3, 3, 1)),
    "matmul: batch dimensions must agree or be 1 on one side, got [2, 1, 3] and [3, 3, 1]",
  ],
  [(t, d) => matmul(t(1, 1), ints(d, 1).reshape(1, 1)), "matmul: b expects f32, got i32 [1, 1]"],
]);

refuses("linear()", [
  [(t) => linear(t(2, 3), t(4, 5)), "linear: weight expects shape [?, 3], got [4, 5]"],
  [(t) => linear(t(2, 3), t(4, 3), t(5)), "linear: bias expects shape [4], got [5]"],
  [
    (t) => linear(t(2, 3), t(4, 3), undefined, { residual: t(2, 3) }),
    "linear: residual expects shape [2, 4], got [2, 3]",
  ],
  [(t) => linear(t(1, 2, 3), packWeight(t(4, 3, 1, 1), "conv")), "linear: weight was packed for a convolution"],
  [
    (t) => linear(t(2, 6, 3), t(4, 3), undefined, { gate: { table: t(3, 1, 6, 4), chunk: 2 } }),
    "linear: gate expects a table [1 or 2, 1 or >= 6, > 2, 4], got [3, 1, 6, 4]",
  ],
  [
    (t) => linear(t(2, 6, 3), t(4, 3), undefined, { gate: { table: t(2, 6, 6, 4), chunk: 0, row: 1 } }),
    "linear: gate expects a table [1 or 2, 1 or >= 7, > 0, 4], got [2, 6, 6, 4]",
  ],
  [(t, d) => linear(t(1, 1), t(1, 1), ints(d, 1)), "linear: bias expects f32, got i32 [1]"],
]);

refuses("conv2d()", [
  [(t) => conv2d(t(1, 8, 8, 16), t(4, 32, 3, 3)), "conv2d: weight expects 32 input channels, got 16"],
  [(t) => conv2d(t(8, 8, 16), t(4, 16, 3, 3)), "conv2d: x expects [batch, h, w, channels], got [8, 8, 16]"],
  [
    (t) => conv2d(t(1, 2, 2, 1), t(1, 1, 3, 3)),
    "conv2d: a 3x3 kernel does not fit x [1, 2, 2, 1] with padding [0,0,0,0]",
  ],
  [(t) => conv2d(t(1, 3, 3, 1), t(2, 1, 3, 3), t(1)), "conv2d: bias expects shape [2], got [1]"],
  [
    (t) => conv2d(t(1, 3, 3, 1), t(2, 1, 3, 3), t(2), { residual: t(1, 3, 3, 2) }),
    "conv2d: residual expects shape [1, 1, 1, 2], got [1, 3, 3, 2]",
  ],
  [(t) => conv2d(t(1, 3, 3, 1), packWeight(t(2, 1), "linear")), "conv2d: weight was packed for a linear map"],
  [(t, d) => conv2d(t(1, 1, 1, 1), t(1, 1, 1, 1), ints(d, 1)), "conv2d: bias expects f32, got i32 [1]"],
]);

refuses("packWeight()", [
  [(t) => packWeight(t(4, 3, 1, 1), "linear"), "packWeight: a linear weight has rank 2, got [4, 3, 1, 1]"],
  [
    (t) => packWeight(packWeight(t(4, 3), "linear"), "linear"),
    "packWeight: weight must be a dense tensor, got a packed weight",
  ],
]);

refuses("elementwise ops", [
  [(t) => add(t(2, 3), t(2)), "add: shapes [2, 3] and [2] do not broadcast"],
  [(t, d) => add(t(1), ints(d, 1)), "add: y expects f32, got i32 [1]"],
  [(t) => cast(packWeight(t(1, 1), "linear"), "f32"), "cast: x must be a dense tensor, got a packed weight"],
]);

refuses("reductions", [
  [(t) => sum(t(2, 3), 2), "sum: axis 2 is out of range for rank 2"],
  [(t) => topK(t(2, 3), 4), "topK: k expects 1 to 3, got 4"],
  [(t) => topK(t(2, 3), 0), "topK: k expects 1 to 3, got 0"],
]);

refuses("ops on layout", [
  [(t) => permute(t(2, 3), 0, 0), "permute: expected an order of 2 axes, got [0, 0]"],
  [(t) => permute(t(2, 3), 0), "permute: expected an order of 2 axes, got [0]"],
  [(t) => slice(t(2, 3), 1, 2, 5), "slice: [2, 5) is not inside axis 1 of [2, 3]"],
  [(t) => slice(t(2, 3), 0, 1, 1), "slice: [1, 1) is not inside axis 0 of [2, 3]"],
  [(t) => concat([t(2, 3), t(3, 3)], 1), "concat: part [3, 3] does not fit [2, 3] along axis 1"],
  [(t, d) => concat([t(1), ints(d, 1)], 0), "concat: every part expects f32, got i32 [1]"],
  [() => concat([], 0), "concat: needs at least one tensor"],
  [(t) => pad(t(2, 3), [[1, 1]]), "pad: expected 2 pairs [before, after] of sizes >= 0, got [[1,1]]"],
  [(t) => broadcastTo(t(2, 3), [3, 3]), "broadcastTo: [2, 3] does not broadcast to [3, 3]"],
  [(t) => writeSlice(t(2, 3), t(2, 2), 1, 2), "writeSlice: [2, 2] at 2 does not fit axis 1 of [2, 3]"],
]);

refuses("norms", [
  [
    (t) => groupNorm(t(1, 4, 6), t(6), t(6), { groups: 4 }),
    "groupNorm: x expects [batch, ..., channels] in 4 groups, got [1, 4, 6]",
  ],
  [(t) => groupNorm(t(1, 4, 6), t(6), t(5), { groups: 3 }), "groupNorm: beta expects shape [6], got [5]"],
  [(t) => layerNorm(t(2, 3), { gamma: t(2) }), "layerNorm: gamma expects shape [3], got [2]"],
  [
    (t) => layerNorm(t(2, 3), { scale: { table: t(1, 1, 1, 3), chunk: 0 } }),
    "layerNorm: scale needs x of rank 3, got [2, 3]",
  ],
  [(t, d) => layerNorm(t(2, 1), { gamma: ints(d, 1) }), "layerNorm: gamma expects f32, got i32 [1]"],
]);

refuses("attention()", [
  [
    (t) => attention(t(2, 3, 4), t(2, 3, 4), t(2, 3, 4)),
    "attention: q expects [batch, rows, heads, headDim], got [2, 3, 4]",
  ],
  [
    (t) => attention(t(1, 3, 2, 4), t(1, 5, 2, 3), t(1, 5, 2, 4)),
    "attention: k expects shape [1, ?, 2, 4], got [1, 5, 2, 3]",
  ],
  [
    (t) => attention(t(1, 3, 2, 4), t(1, 5, 2, 4), t(1, 4, 2, 4)),
    "attention: v expects shape [1, 5, 2, 4], got [1, 4, 2, 4]",
  ],
  [(t) => attention(t(1, 3, 2, 4), t(1, 5, 2, 4), t(1, 5, 2, 4), { keys: 6 }), "attention: keys expects 1 to 5, got 6"],
  [
    (t, d) => attention(t(1, 3, 2, 4), t(1, 5, 2, 4), t(1, 5, 2, 4), { visible: ints(d, 1, 2) }),
    "attention: visible expects shape [3], got [2]",
  ],
]);

refuses("KeyValueCache", [[
  (t, device) => {
    const cache = new KeyValueCache(device, 1, 2, 1, 1);
    cache.append(t(1, 2, 1, 1), t(1, 2, 1, 1));
    cache.append(t(1, 1, 1, 1), t(1, 1, 1, 1));
  },
  "writeSlice: [1, 1, 1, 1] at 2 does not fit axis 1 of [1, 2, 1, 1]",
]]);

refuses("look-ups", [
  [(t) => embedding(t(4, 3), t(2)), "embedding: index expects i32, got f32 [2]"],
  [(t, d) => embedding(t(4, 3, 2), ints(d, 0)), "embedding: table expects [rows, n], got [4, 3, 2]"],
  [(t) => nearestCode(t(2, 3), t(5, 4)), "nearestCode: codebook expects shape [?, 3], got [5, 4]"],
  [(t, d) => logSoftmaxGather(t(2, 3), ints(d, 1, 2, 0)), "logSoftmaxGather: index expects shape [2], got [3]"],
]);

refuses("resizing", [
  [(t) => avgPool2d(t(1, 2, 3, 1), 3), "avgPool2d: 3x3 blocks do not fit x [1, 2, 3, 1]"],
  [(t) => resize(t(2, 3, 4), "area", 1, 1), "resize: x expects [batch, 3, 4, c], got [2, 3, 4]"],
]);
