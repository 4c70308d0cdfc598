/** The random numbers: Philox against its published vectors and a second implementation, and the distributions. */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { normals, philox, uniforms } from "../../../core/tensor/mod.ts";

/** Philox 4x32-10 over 64-bit integers, from the definition in Salmon et al. 2011. */
function philoxByDefinition(seed: number, stream: number, counter: number): number[] {
  const low = (v: bigint) => v & 0xffff_ffffn;
  const high = (v: bigint) => v >> 32n;
  let [c0, c1, c2, c3] = [low(BigInt(counter)), high(BigInt(counter)), BigInt(stream), 0n];
  let [k0, k1] = [low(BigInt(seed)), high(BigInt(seed))];
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c0;
    const p1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [high(p1) ^ c1 ^ k0, low(p1), high(p0) ^ c3 ^ k1, low(p0)];
    [k0, k1] = [low(k0 + 0x9e3779b9n), low(k1 + 0xbb67ae85n)];
  }
  return [c0, c1, c2, c3].map(Number);
}

Deno.test("philox() gives the published vector for zeros", () => {
  const out = new Uint32Array(4);
  philox(0, 0, 0, out);
  assert.deepEqual([...out], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
});

Deno.test("philox() agrees with its definition in 64-bit integers", () => {
  const seed = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  fc.assert(
    fc.property(seed, fc.nat(0xffff_ffff), seed, (seed, stream, counter) => {
      const out = new Uint32Array(6);
      philox(seed, stream, counter, out, 2);
      assert.deepEqual([...out], [0, 0, ...philoxByDefinition(seed, stream, counter)]);
    }),
    { seed: 1, numRuns: 300 },
  );
});

Deno.test("uniforms() are in [0, 1), depend on seed and stream, and a longer draw starts with the shorter one", () => {
  const long = uniforms(7, 3, 1001);
  assert.deepEqual(uniforms(7, 3, 10), long.slice(0, 10));
  assert.ok(long.every((u) => u >= 0 && u < 1));
  assert.notDeepEqual(uniforms(8, 3, 10), long.slice(0, 10));
  assert.notDeepEqual(uniforms(7, 4, 10), long.slice(0, 10));
});

Deno.test("uniforms() and normals() have the moments of their distributions", () => {
  const n = 100_000;
  const moment = (x: Float32Array, power: number) => x.reduce((s, v) => s + v ** power, 0) / n;
  // Standard errors of these means are below 0.002 (uniform) and 0.01 (normal, fourth moment 0.031); five of them.
  const u = uniforms(1, 0, n);
  assert.ok(Math.abs(moment(u, 1) - 1 / 2) < 0.005);
  assert.ok(Math.abs(moment(u, 2) - 1 / 3) < 0.005);
  const z = normals(1, 0, n);
  assert.ok(Math.abs(moment(z, 1)) < 0.02);
  assert.ok(Math.abs(moment(z, 2) - 1) < 0.03);
  assert.ok(Math.abs(moment(z, 4) - 3) < 0.16);
  // Box-Muller makes pairs; they must not be correlated.
  let product = 0;
  for (let i = 0; i < n; i += 2) product += z[i] * z[i + 1] / (n / 2);
  assert.ok(Math.abs(product) < 0.025);
  assert.ok(z.every(Number.isFinite));
});

Deno.test("normals() of an odd count start like those of an even one", () => {
  assert.deepEqual(normals(5, 0, 7), normals(5, 0, 8).slice(0, 7));
});
