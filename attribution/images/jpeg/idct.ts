// Coefficients to samples: dequantisation and the inverse DCT of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) in the
// fixed-point form of libjpeg's default "islow" method, whose rounding every bit of the result depends on. It is not the
// most accurate inverse DCT, nor the fastest: it is the one behind the reference's pixels.

import type { Component } from "./frame.ts";

/** Constants with 13 fractional bits; the first pass keeps 2 more bits in its results. */
const CONST_BITS = 13;
const PASS_BITS = 2;
const fixed = (x: number) => Math.round(x * (1 << CONST_BITS));

const C_0_298 = fixed(0.298631336);
const C_0_390 = fixed(0.390180644);
const C_0_541 = fixed(0.541196100);
const C_0_765 = fixed(0.765366865);
const C_0_899 = fixed(0.899976223);
const C_1_175 = fixed(1.175875602);
const C_1_501 = fixed(1.501321110);
const C_1_847 = fixed(1.847759065);
const C_1_961 = fixed(1.961570560);
const C_2_053 = fixed(2.053119869);
const C_2_562 = fixed(2.562915447);
const C_3_072 = fixed(3.072711026);

/** Eight values at `at`, `step` apart, transformed in place and divided by 2^shift with rounding. */
function idct8(v: Int32Array, at: number, step: number, shift: number): void {
  const c0 = v[at], c1 = v[at + step], c2 = v[at + 2 * step], c3 = v[at + 3 * step];
  const c4 = v[at + 4 * step], c5 = v[at + 5 * step], c6 = v[at + 6 * step], c7 = v[at + 7 * step];
  const round = 1 << (shift - 1);
  // Even coefficients: a rotation of 2 and 6, a butterfly of 0 and 4.
  const r = (c2 + c6) * C_0_541;
  const e2 = r - c6 * C_1_847;
  const e3 = r + c2 * C_0_765;
  const e0 = (c0 + c4) * (1 << CONST_BITS);
  const e1 = (c0 - c4) * (1 << CONST_BITS);
  const even0 = e0 + e3 + round, even1 = e1 + e2 + round, even2 = e1 - e2 + round, even3 = e0 - e3 + round;
  // Odd coefficients: rotations that share the product z5.
  const z5 = (c7 + c3 + c5 + c1) * C_1_175;
  const z1 = -(c7 + c1) * C_0_899;
  const z2 = -(c5 + c3) * C_2_562;
  const z3 = z5 - (c7 + c3) * C_1_961;
  const z4 = z5 - (c5 + c1) * C_0_390;
  const odd0 = c1 * C_1_501 + z1 + z4;
  const odd1 = c3 * C_3_072 + z2 + z3;
  const odd2 = c5 * C_2_053 + z2 + z4;
  const odd3 = c7 * C_0_298 + z1 + z3;
  v[at] = (even0 + odd0) >> shift;
  v[at + step] = (even1 + odd1) >> shift;
  v[at + 2 * step] = (even2 + odd2) >> shift;
  v[at + 3 * step] = (even3 + odd3) >> shift;
  v[at + 4 * step] = (even3 - odd3) >> shift;
  v[at + 5 * step] = (even2 - odd2) >> shift;
  v[at + 6 * step] = (even1 - odd1) >> shift;
  v[at + 7 * step] = (even0 - odd0) >> shift;
}

/** The component's samples: [blockRows * 8, blockColumns * 8], 0..255. */
export function samplesOf(component: Component): Uint8ClampedArray {
  const { blockColumns, blockRows, coefficients } = component;
  const quant = component.quant as Uint16Array; // readJpeg() has checked that every component has its table
  const stride = blockColumns * 8;
  const samples = new Uint8ClampedArray(stride * blockRows * 8);
  const block = new Int32Array(64);
  for (let row = 0, from = 0; row < blockRows; row++) {
    for (let column = 0; column < blockColumns; column++, from += 64) {
      const to = row * 8 * stride + column * 8;
      let isFlat = true;
      for (let i = 0; i < 64; i++) {
        block[i] = coefficients[from + i] * quant[i];
        if (i > 0 && block[i] !== 0) isFlat = false;
      }
      if (isFlat) { // the two passes below would come to the same
        const value = ((block[0] + 4) >> 3) + 128;
        for (let y = 0; y < 8; y++) samples.fill(value, to + y * stride, to + y * stride + 8);
        continue;
      }
      for (let x = 0; x < 8; x++) idct8(block, x, 8, CONST_BITS - PASS_BITS);
      for (let y = 0; y < 8; y++) idct8(block, y * 8, 1, CONST_BITS + PASS_BITS + 3);
      for (let y = 0; y < 8; y++) {
        for (let x = 0; x < 8; x++) samples[to + y * stride + x] = block[y * 8 + x] + 128;
      }
    }
  }
  return samples;
}
