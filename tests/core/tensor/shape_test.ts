/** Arithmetic on shapes and strides. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  aroundAxis,
  broadcastShapes,
  broadcastStrides,
  collapse,
  resolveAxis,
  sizeOf,
  stridesOf,
} from "../../../core/tensor/shape.ts";

Deno.test("stridesOf() is row-major, sizeOf() of no dimensions is 1", () => {
  assert.deepEqual(stridesOf([2, 3, 4]), [12, 4, 1]);
  assert.deepEqual(stridesOf([]), []);
  assert.equal(sizeOf([]), 1);
  assert.equal(sizeOf([3, 0, 2]), 0);
});

Deno.test("broadcastShapes() follows NumPy and names the operation", () => {
  assert.deepEqual(broadcastShapes("add", [2, 1, 4], [3, 1]), [2, 3, 4]);
  assert.deepEqual(broadcastShapes("add", [], [5]), [5]);
  assert.deepEqual(broadcastShapes("add", [1], [0]), [0]);
  assert.throws(
    () => broadcastShapes("mul", [2, 3], [2]),
    /^TypeError: mul: shapes \[2, 3\] and \[2\] do not broadcast$/,
  );
});

Deno.test("broadcastStrides() repeats missing and unit dimensions", () => {
  assert.deepEqual(broadcastStrides([3, 1], [2, 3, 4]), [0, 1, 0]);
  assert.deepEqual(broadcastStrides([3, 4], [2, 3, 4]), [0, 4, 1]);
  assert.deepEqual(broadcastStrides([], [2]), [0]);
});

Deno.test("resolveAxis() counts negative axes from the end and refuses others", () => {
  assert.equal(resolveAxis("sum", -1, 3), 2);
  assert.equal(resolveAxis("sum", 0, 3), 0);
  assert.throws(() => resolveAxis("sum", 3, 3), /^RangeError: sum: axis 3 is out of range for rank 3$/);
  assert.throws(() => resolveAxis("sum", -4, 3), /axis -4/);
  assert.throws(() => resolveAxis("sum", 0.5, 3), /axis 0.5/);
});

Deno.test("aroundAxis() splits a shape", () => {
  assert.deepEqual(aroundAxis([2, 3, 4, 5], 1), { outer: 2, n: 3, inner: 20 });
  assert.deepEqual(aroundAxis([7], 0), { outer: 1, n: 7, inner: 1 });
});

/** Offsets that strides visit, in row-major order of the index. */
function offsets(shape: readonly number[], strides: readonly number[]): number[] {
  let all = [0];
  shape.forEach((d, axis) => {
    all = all.flatMap((base) => Array.from({ length: d }, (_, i) => base + i * strides[axis]));
  });
  return all;
}

Deno.test("collapse() visits the same offsets in the same order with the least rank", () => {
  const operands = fc.record({
    shape: fc.array(fc.constantFrom<number[]>(1, 2, 3), { maxLength: 6 }),
    repeats: fc.array(fc.nat(63), { minLength: 2, maxLength: 2 }),
    reversed: fc.boolean(),
  });
  fc.assert(
    fc.property(operands, ({ shape, repeats, reversed }) => {
      const strideSets = repeats.map((bits, s) => {
        const held = shape.map((d, i) => (bits >> i) & 1 ? 1 : d);
        const strides = reversed && s === 1 ? stridesOf(held.toReversed()).toReversed() : stridesOf(held);
        return strides.map((stride, i) => held[i] === 1 ? 0 : stride);
      });
      const merged = collapse(shape, strideSets);
      assert.ok(merged.shape.length >= 1);
      merged.strideSets.forEach((strides, s) => {
        assert.deepEqual(offsets(merged.shape, strides), offsets(shape, strideSets[s]));
      });
    }),
    { seed: 2, numRuns: 500 },
  );
  assert.deepEqual(collapse([2, 3, 4], [[12, 4, 1], [12, 4, 1]]), { shape: [24], strideSets: [[1], [1]] });
  assert.deepEqual(collapse([2, 3, 4], [[12, 4, 1], [0, 4, 1]]), { shape: [2, 12], strideSets: [[12, 1], [0, 1]] });
  assert.deepEqual(collapse([], [[]]), { shape: [1], strideSets: [[1]] });
});
