import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { tokenMap } from "../../../attribution/service/maps.ts";

Deno.test("tokenMap() keeps the rows of one map, and refuses another number of values", () => {
  assert.deepEqual(tokenMap(Float32Array.of(1, 2, 3, 4), [2]), { width: 2, height: 2, values: [1, 2, 3, 4] });
  assert.throws(() => tokenMap([1, 2, 3], [2]), /expected 4 values, got 3/);
});

Deno.test("tokenMap() spreads coarse tokens evenly over the cells that they cover", () => {
  // One token of 4 over everything, then one per cell.
  assert.deepEqual(tokenMap([4, 1, 2, 3, 4], [1, 2]).values, [2, 3, 4, 5]);
  // Two by two over three by three: the middle cells belong to both halves.
  const { values } = tokenMap([9, 0, 0, 0, ...new Array(9).fill(0)], [2, 3]);
  assert.deepEqual(values, [4, 2, 0, 2, 1, 0, 0, 0, 0]);
  assert.throws(() => tokenMap([1, 2], [1, 2]), /expected 5 values, got 2/);
});

Deno.test("tokenMap() adds up to what the tokens do", () => {
  const scales = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 })
    .map((sizes) => sizes.sort((a, b) => a - b));
  fc.assert(fc.property(scales, fc.infiniteStream(fc.integer({ min: 0, max: 100 })), (patchNums, stream) => {
    const values = patchNums.flatMap((n) => Array.from({ length: n * n }, () => stream.next().value as number));
    const total = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0);
    const map = tokenMap(values, patchNums);
    // Five digits are kept of each value.
    assert.ok(Math.abs(total(map.values) - total(values)) <= 1e-4 * total(values) + 1e-9);
  }));
});
