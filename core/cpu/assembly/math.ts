// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * Four-lane exp, tanh, erf, the activations made of them, and half-precision conversion.
 * Polynomials are least-maximum fits of this project; each function states its largest relative error.
 */

/** a * b + c, fused where the build has relaxed SIMD. */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

@inline
function s(x: f32): v128 {
  return f32x4.splat(x);
}

/** 1.5 * 2^23: adding it leaves a number's nearest integer in the low bits. */
const ROUND: f32 = 12582912;
const ROUND_BITS: i32 = 0x4b400000;

/**
 * e^(x - n ln 2) for the integer n nearest to x / ln 2, given n as a float: a polynomial over half an octave each way.
 */
@inline
function expRest4(x: v128, n: v128): v128 {
  // ln 2 in two parts, the first with so few bits that its product with n is exact.
  let r = madd(n, s(-0.693359375), x);
  r = madd(n, s(2.12194440e-4), r);
  let p = madd(s(0.0013950476422905922), r, s(0.008368882350623608));
  p = madd(p, r, s(0.04166620597243309));
  p = madd(p, r, s(0.166665181517601));
  p = madd(p, r, s(0.5));
  return f32x4.add(madd(p, f32x4.mul(r, r), r), s(1));
}

/** e^x, about 1e-7 relative, with infinities, denormals and NaN as they should be. */
@inline
export function exp4(x: v128): v128 {
  // pmin and pmax are one instruction each and keep a NaN in their first operand.
  x = f32x4.pmin(f32x4.pmax(x, s(-105)), s(89));
  const t = madd(x, s(1.44269504), s(ROUND));
  const p = expRest4(x, f32x4.sub(t, s(ROUND)));
  // 2^n in two factors, so that results down to the smallest denormal and up to infinity come out.
  const i = i32x4.sub(t, i32x4.splat(ROUND_BITS));
  const half = i32x4.shr_s(i, 1);
  const one = i32x4.splat(127);
  const first = f32x4.mul(p, i32x4.shl(i32x4.add(half, one), 23));
  return f32x4.mul(first, i32x4.shl(i32x4.add(i32x4.sub(i, half), one), 23));
}

/** e^x as a factor among others: 0 below -87.3, where floats lose their precision, and at most 2^127; NaN stays NaN. */
@inline
export function expFlushed4(x: v128): v128 {
  const limited = f32x4.pmin(f32x4.pmax(x, s(-87.3)), s(88));
  const t = madd(limited, s(1.44269504), s(ROUND));
  const p = i32x4.add(expRest4(limited, f32x4.sub(t, s(ROUND))), i32x4.shl(t, 23));
  return v128.andnot(p, f32x4.lt(x, s(-87.3)));
}

/** 1 / (1 + e^-x). */
@inline
export function sigmoid4(x: v128): v128 {
  return f32x4.div(s(1), f32x4.add(s(1), expFlushed4(f32x4.neg(x))));
}

@inline
export function silu4(x: v128): v128 {
  return f32x4.div(x, f32x4.add(s(1), expFlushed4(f32x4.neg(x))));
}

/** tanh x, about 2e-7 relative: an odd polynomial below 0.625, 1 - 2 / (e^2x + 1) above. */
@inline
export function tanh4(x: v128): v128 {
  const t = f32x4.mul(x, x);
  let p = madd(s(-0.005717036779969931), t, s(0.020650578662753105));
  p = madd(p, t, s(-0.05374349653720856));
  p = madd(p, t, s(0.13331490755081177));
  p = madd(p, t, s(-0.3333328366279602));
  const small = madd(f32x4.mul(p, t), x, x);
  const a = f32x4.abs(x);
  const e = expFlushed4(f32x4.add(a, a));
  const big = f32x4.sub(s(1), f32x4.div(s(2), f32x4.add(e, s(1))));
  const signed = v128.or(big, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(small, signed, f32x4.lt(a, s(0.625)));
}

/** erf x, about 2e-7 relative: an odd polynomial below 1, 1 - e^q(x) above. */
@inline
export function erf4(x: v128): v128 {
  const t = f32x4.mul(x, x);
  let p = madd(s(7.889119297033176e-05), t, s(-0.0008020841050893068));
  p = madd(p, t, s(0.005189535208046436));
  p = madd(p, t, s(-0.026854444295167923));
  p = madd(p, t, s(0.11283600330352783));
  p = madd(p, t, s(-0.3761262595653534));
  p = madd(p, t, s(1.1283791065216064));
  const small = f32x4.mul(p, x);
  const magnitude = f32x4.abs(x);
  const a = f32x4.pmin(magnitude, s(4));
  let q = madd(s(0.0001855748996604234), a, s(-0.0029396156314760447));
  q = madd(q, a, s(0.021805351600050926));
  q = madd(q, a, s(-0.10303743183612823));
  q = madd(q, a, s(-0.6382256150245667));
  q = madd(q, a, s(-1.1270400285720825));
  q = madd(q, a, s(-0.00035370892146602273));
  const big = f32x4.sub(s(1), expFlushed4(q));
  const signed = v128.or(big, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(small, signed, f32x4.lt(magnitude, s(1)));
}

/** 0.5 x (1 + erf(x / sqrt 2)). */
@inline
export function gelu4(x: v128): v128 {
  const h = f32x4.mul(x, s(0.5));
  return madd(h, erf4(f32x4.mul(x, s(0.7071067811865476))), h);
}

/** The tanh approximation of GELU, in the equal form x * sigmoid(2 u), which has no cancellation for negative x. */
@inline
export function geluTanh4(x: v128): v128 {
  const u = f32x4.mul(x, madd(f32x4.mul(x, x), s(-0.0713548162726), s(-1.5957691216057308)));
  return f32x4.div(x, f32x4.add(s(1), expFlushed4(u)));
}

/** Limits x to where powers of it do not overflow, so that times a vanished exponential they are 0; NaN stays NaN. */
@inline
function limit4(x: v128, most: f32): v128 {
  return f32x4.pmin(f32x4.pmax(x, s(-most)), s(most));
}

/** 1 - tanh(x)^2. */
@inline
export function tanhGradient4(x: v128): v128 {
  const t = tanh4(x);
  return f32x4.sub(s(1), f32x4.mul(t, t));
}

/** sigmoid(x) (1 - sigmoid(x)) in the equal form e / (1 + e)^2 with e = e^-|x|, which has no cancellation. */
@inline
export function sigmoidGradient4(x: v128): v128 {
  const e = expFlushed4(f32x4.neg(f32x4.abs(x)));
  const r = f32x4.div(s(1), f32x4.add(s(1), e));
  return f32x4.mul(f32x4.mul(e, r), r);
}

/** sigmoid(w) + factor * sigmoid(w) (1 - sigmoid(w)): the derivative of x sigmoid(w(x)) with factor = x w'(x). */
@inline
function gatedGradient4(w: v128, factor: v128): v128 {
  const e = expFlushed4(f32x4.neg(f32x4.abs(w)));
  const r = f32x4.div(s(1), f32x4.add(s(1), e));
  const low = f32x4.mul(e, r);
  return madd(factor, f32x4.mul(low, r), v128.bitselect(low, r, f32x4.lt(w, s(0))));
}

/** e^min(x, 0). */
@inline
export function eluGradient4(x: v128): v128 {
  return expFlushed4(f32x4.pmin(x, s(0)));
}

@inline
export function siluGradient4(x: v128): v128 {
  return gatedGradient4(x, x);
}

/** The normal distribution function at x, plus x times its density. */
@inline
export function geluGradient4(x: v128): v128 {
  const v = limit4(x, 120);
  const cdf = madd(erf4(f32x4.mul(v, s(0.7071067811865476))), s(0.5), s(0.5));
  const density = f32x4.mul(expFlushed4(f32x4.mul(f32x4.mul(v, v), s(-0.5))), s(0.3989422804014327));
  return madd(v, density, cdf);
}

/** Of the form x sigmoid(w(x)), as in geluTanh4. */
@inline
export function geluTanhGradient4(x: v128): v128 {
  const v = limit4(x, 120);
  const t = f32x4.mul(v, v);
  const w = f32x4.mul(v, madd(t, s(0.0713548162726), s(1.5957691216057308)));
  return gatedGradient4(w, f32x4.mul(v, madd(t, s(0.2140644488178), s(1.5957691216057308))));
}

/** Activation codes of job arguments. */
export const NONE = 0;
export const SILU = 1;
export const GELU = 2;
export const GELU_TANH = 3;
export const RELU = 4;

@inline
export function activate4(x: v128, code: i32): v128 {
  if (code == SILU) return silu4(x);
  if (code == GELU) return gelu4(x);
  if (code == GELU_TANH) return geluTanh4(x);
  if (code == RELU) return f32x4.pmax(x, s(0));
  return x;
}

/** Four halves, each in the low 16 bits of a lane, as floats; exact for all values, denormals and NaN included. */
@inline
export function halfToFloat4(h: v128): v128 {
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
  const magnitude = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13);
  // Multiplying by 2^112 rebiases the exponent and normalises denormals in one exact step.
  const scaled = f32x4.mul(magnitude, i32x4.splat(0x77800000));
  // Exponent 31 means infinity or NaN: the product is at least 65536 then.
  const special = v128.and(f32x4.ge(scaled, f32x4.splat(65536)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(scaled, special), sign);
}

/** `n` halves at `from`, widened to floats at `to`. */
export function expandHalves(from: usize, to: usize, n: i32): void {
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const h = v128.load(from);
    v128.store(to, halfToFloat4(i32x4.extend_low_i16x8_u(h)));
    v128.store(to, halfToFloat4(i32x4.extend_high_i16x8_u(h)), 16);
    from += 16;
    to += 32;
  }
  for (; i < n; i++) {
    const f = halfToFloat4(i32x4.splat(load<u16>(from)));
    store<f32>(to, f32x4.extract_lane(f, 0));
    from += 2;
    to += 4;
  }
}
