/** Compares numbers but for rounding. */
import assert from "node:assert/strict";

/** Asserts that two numbers differ by at most the tolerance. */
export function near(actual: number, expected: number, tolerance = 1e-12): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `expected ${expected}, got ${actual}`);
}
