import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../../models/checkpoint/mod.ts";

/** A half's value from the definition of the format. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

const ALL = Uint16Array.from({ length: 65536 }, (_, i) => i);

Deno.test("f16ToF32() is exact for all 65536 halves", () => {
  const values = f16ToF32(ALL);
  for (const bits of ALL) assert.ok(Object.is(values[bits], halfValue(bits)), `0x${bits.toString(16)}`);
});

Deno.test("f32ToF16() gives every half back, and NaN for NaN", () => {
  const back = f32ToF16(f16ToF32(ALL));
  for (const bits of ALL) {
    if (Number.isNaN(halfValue(bits))) assert.ok(Number.isNaN(halfValue(back[bits])));
    else assert.equal(back[bits], bits);
  }
});

Deno.test("f32ToF16() rounds to nearest, ties to even, between all neighbours", () => {
  // Positive finite halves have consecutive bits, and so has infinity in the place of 65536.
  for (let bits = 0; bits < 0x7c00; bits++) {
    const low = halfValue(bits), high = bits === 0x7bff ? 65536 : halfValue(bits + 1);
    const middle = (low + high) / 2; // exact in float32
    const even = bits % 2 === 0 ? bits : bits + 1;
    const step = Math.max(2 ** -149, middle * 2 ** -23);
    const below = Math.fround(middle - step), above = Math.fround(middle + step);
    const got = f32ToF16(Float32Array.of(below, middle, above, -below, -middle, -above));
    assert.deepEqual(
      Array.from(got),
      [bits, even, bits + 1, bits | 0x8000, even | 0x8000, (bits + 1) | 0x8000],
      `between ${low} and ${high}`,
    );
    // From float64 there is one rounding: just above a tie must not first become the tie.
    assert.deepEqual(
      Array.from(f32ToF16(Float64Array.of(middle * (1 - 2 ** -40), middle, middle * (1 + 2 ** -40)))),
      [bits, even, bits + 1],
    );
  }
  assert.deepEqual(Array.from(f32ToF16(Float32Array.of(65519, 65520, 1e30, Infinity, -0))), [
    0x7bff,
    0x7c00,
    0x7c00,
    0x7c00,
    0x8000,
  ]);
});

Deno.test("f32ToF16() picks the nearest of all halves for random floats", () => {
  fc.assert(fc.property(fc.float({ noNaN: true, min: -70000, max: 70000 }), (value) => {
    const got = halfValue(f32ToF16(Float32Array.of(value))[0]);
    if (Math.abs(value) >= 65520) return assert.equal(got, Math.sign(value) * Infinity);
    const ulp = Math.max(2 ** -24, 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10));
    assert.ok(Math.abs(got - value) <= ulp / 2, `${value} became ${got}`);
  }));
});

Deno.test("bf16ToF32() is the upper half of a float32 for all 65536 patterns", () => {
  const words = new Uint32Array(bf16ToF32(ALL).buffer);
  for (const bits of ALL) assert.equal(words[bits], bits * 65536);
});

Deno.test("f32ToBf16() rounds to nearest even, keeps NaN and gives every bfloat16 back", () => {
  const values = bf16ToF32(ALL);
  const back = f32ToBf16(values);
  for (const bits of ALL) {
    if (Number.isNaN(values[bits])) assert.ok(Number.isNaN(bf16ToF32(back.subarray(bits, bits + 1))[0]));
    else assert.equal(back[bits], bits);
  }
  const word = (...bits: number[]) => new Float32Array(Uint32Array.from(bits).buffer);
  assert.deepEqual(
    Array.from(f32ToBf16(word(0x3f807fff, 0x3f808000, 0x3f808001, 0x3f818000, 0x7f7fffff, 0x7fffffff, 0x7f800001))),
    [0x3f80, 0x3f80, 0x3f81, 0x3f82, 0x7f80, 0x7fff, 0x7fc0],
  );
});

Deno.test("conversions write into what they are given and refuse another length", () => {
  const whole = new Float32Array(4);
  f16ToF32(Uint16Array.of(0x3c00, 0xc000), whole.subarray(1, 3));
  assert.deepEqual(Array.from(whole), [0, 1, -2, 0]);
  const bits = new Uint16Array(4);
  f32ToF16(Float32Array.of(1, -2), bits.subarray(2));
  assert.deepEqual(Array.from(bits), [0, 0, 0x3c00, 0xc000]);
  assert.throws(() => f32ToF16(Float32Array.of(1), bits), /f32ToF16: destination expects 1 values, has room for 4/);
});
