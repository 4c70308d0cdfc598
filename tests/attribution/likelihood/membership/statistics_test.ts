/** Statistics of rows of logits: exact cases, blocks, precision where a row is almost certain, memory, bad input. */
import assert from "node:assert/strict";
import {
  statisticNames,
  tokenStatistics,
  unpackStatistics,
} from "../../../../attribution/likelihood/membership/mod.ts";
import {
  concat,
  type Device,
  fromArray,
  randomNormal,
  scope,
  slice,
  type Tensor,
} from "../../../../core/tensor/mod.ts";
import { withDevices } from "../../../core/devices.ts";

async function statistics(device: Device, logits: readonly number[][], tokens: number[]): Promise<number[][]> {
  const result = scope(() => {
    const x = fromArray(device, logits.flat(), [logits.length, logits[0].length]);
    return tokenStatistics(x, fromArray(device, Int32Array.from(tokens), [tokens.length]));
  });
  const values = await result.data();
  result.dispose();
  return tokens.map((_, row) => [...values.subarray(row * 4, row * 4 + 4)]);
}

/** The definitions in float64, for one row. */
function exact(row: readonly number[], token: number): number[] {
  const top = Math.max(...row);
  const total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
  const logs = row.map((x) => x - top - Math.log(total));
  const mean = logs.reduce((sum, l) => sum + Math.exp(l) * l, 0);
  const variance = logs.reduce((sum, l) => sum + Math.exp(l) * (l - mean) ** 2, 0);
  return [logs[token], mean, variance, row[token] - Math.max(...row.filter((_, code) => code !== token))];
}

function close(got: readonly number[], expected: readonly number[], relative: number): void {
  assert.equal(got.length, expected.length);
  expected.forEach((value, i) => {
    // Sums of probabilities lie near 1, where float32 rounds by 1.2e-7; a logarithm passes that on as it is.
    const tolerance = Math.max(relative * Math.abs(value), 3e-7);
    assert.ok(Math.abs(got[i] - value) <= tolerance, `${statisticNames[i]}: expected ${value}, got ${got[i]}`);
  });
}

withDevices(
  "tokenStatistics() of a uniform row has the entropy of its codes, no variance and no hinge",
  async (device) => {
    const [row] = await statistics(device, [[5, 5, 5, 5]], [2]);
    close(row, [-Math.log(4), -Math.log(4), 0, 0], 1e-6);
  },
);

withDevices("tokenStatistics() agrees with float64 for certain, wrong and mixed rows", async (device) => {
  const rows = [[20, 1, 0, -3], [0, 30, 2, 1], [-9, -8, 7, 0.5], [1, 2, 3, 4]], tokens = [0, 0, 2, 1];
  const got = await statistics(device, rows, tokens);
  got.forEach((row, i) => close(row, exact(rows[i], tokens[i]), 2e-5));
});

withDevices("tokenStatistics() keeps the variance of flat rows, where sums of squares would cancel", async (device) => {
  const rows = [[0, 1e-3, 2e-3, -1e-3], [7.001, 7, 7, 7]];
  const got = await statistics(device, rows, [0, 0]);
  got.forEach(([, , variance], i) => {
    const [, , expected] = exact(rows[i], 0);
    assert.ok(Math.abs(variance / expected - 1) < 5e-3, `expected ${expected}, got ${variance}`);
  });
});

withDevices("tokenStatistics() gives the same in blocks of rows as for a whole batch", async (device) => {
  const [batch, count, codes] = [2, 13, 50];
  const make = () => {
    const logits = randomNormal(device, [batch, count, codes], 3);
    const tokens = fromArray(device, Int32Array.from({ length: batch * count }, (_, t) => (t * 7) % codes), [
      batch,
      count,
    ]);
    return { logits, tokens };
  };
  const before = device.memory().liveBytes;
  const whole = scope(() => {
    const { logits, tokens } = make();
    return tokenStatistics(logits, tokens);
  });
  const pieces = scope(() => {
    const { logits, tokens } = make();
    const flat = logits.reshape(batch * count, codes), index = tokens.reshape(batch * count);
    const blocks: Tensor[] = [];
    for (let row = 0; row < batch * count; row += 5) {
      const end = Math.min(row + 5, batch * count);
      blocks.push(tokenStatistics(slice(flat, 0, row, end), slice(index, 0, row, end)));
    }
    return concat(blocks, 0);
  });
  assert.deepEqual(whole.shape, [batch, count, 4]);
  const [values, other] = [await whole.data(), await pieces.data()];
  assert.deepEqual(values, other);
  const second = unpackStatistics(values, count, 1);
  assert.equal(second.logProbs.length, count);
  assert.equal(second.hinges[0], values[count * 4 + 3]);
  whole.dispose();
  pieces.dispose();
  assert.equal(device.memory().liveBytes, before);
});

withDevices("tokenStatistics() refuses tokens that do not fit and a single code", (device) => {
  scope(() => {
    const x = fromArray(device, new Float32Array(6), [2, 3]);
    const three = fromArray(device, new Int32Array(3), [3]), floats = fromArray(device, new Float32Array(2), [2]);
    assert.throws(() => tokenStatistics(x, three), /logits \[2,3\] expect i32 tokens \[2\], got i32 \[3\]/);
    assert.throws(() => tokenStatistics(x, floats), /expect i32 tokens \[2\], got f32 \[2\]/);
    const single = fromArray(device, new Float32Array(3), [3, 1]);
    assert.throws(() => tokenStatistics(single, three), /at least 2 codes, got 1/);
  });
});

Deno.test("unpackStatistics() refuses values that do not fit and an image that is not there", () => {
  assert.throws(() => unpackStatistics(new Float32Array(10), 2), /expected image 0 of 2 tokens x 4, got 10 values/);
  assert.throws(() => unpackStatistics(new Float32Array(8), 2, 1), /expected image 1 of 2 tokens x 4, got 8 values/);
});
