/**
 * WGSL functions for exp, log, tanh, erf and pow with an error of a few units in the last place in float32.
 * The built-ins are not used: WGSL allows them large errors, some drivers return NaN for tanh of large arguments, and
 * there is no erf. NaN and infinity are told and made by their bits: a compiler may assume that there are none, and drop
 * `x != x`. Coefficients are the single precision ones of the Cephes library (netlib.org/cephes).
 */

const functions: Record<string, { needs: readonly string[]; code: string }> = {
  exp: {
    needs: [],
    // 2^n is applied in two factors so that results near the smallest and largest floats are right.
    code: `
fn m_exp(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) { return x; }
  let c = clamp(x, -104.0, 89.0);
  let n = floor(c * 1.44269504088896341 + 0.5);
  let r = (c - n * 0.693359375) + n * 2.12194440e-4;
  let r2 = r * r;
  var y = 1.9875691500e-4;
  y = y * r + 1.3981999507e-3;
  y = y * r + 8.3334519073e-3;
  y = y * r + 4.1665795894e-2;
  y = y * r + 1.6666665459e-1;
  y = y * r + 5.0000001201e-1;
  y = (y * r2 + r) + 1.0;
  let k = i32(n);
  let half = k >> 1u;
  return (y * bitcast<f32>((half + 127) << 23u)) * bitcast<f32>((k - half + 127) << 23u);
}`,
  },
  expNegative: {
    needs: [],
    // For x <= 0, where results below 2^-125 may be anything near zero: a third of the work of exp.
    code: `
fn m_expNegative(x: f32) -> f32 {
  let c = max(x, -86.0);
  let n = floor(c * 1.44269504088896341 + 0.5);
  let r = (c - n * 0.693359375) + n * 2.12194440e-4;
  var y = 1.9875691500e-4;
  y = y * r + 1.3981999507e-3;
  y = y * r + 8.3334519073e-3;
  y = y * r + 4.1665795894e-2;
  y = y * r + 1.6666665459e-1;
  y = y * r + 5.0000001201e-1;
  y = (y * r * r + r) + 1.0;
  return y * bitcast<f32>((i32(n) + 127) << 23u);
}`,
  },
  log: {
    needs: [],
    code: `
fn m_log(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  var e = f32(i32(bits >> 23u) - 126);
  var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
  let small = m < 0.707106781186547524;
  e = select(e, e - 1.0, small);
  m = select(m, m + m, small) - 1.0;
  let z = m * m;
  var y = 7.0376836292e-2;
  y = y * m - 1.1514610310e-1;
  y = y * m + 1.1676998740e-1;
  y = y * m - 1.2420140846e-1;
  y = y * m + 1.4249322787e-1;
  y = y * m - 1.6668057665e-1;
  y = y * m + 2.0000714765e-1;
  y = y * m - 2.4999993993e-1;
  y = y * m + 3.3333331174e-1;
  y = y * m * z;
  y = y - 2.12194440e-4 * e - 0.5 * z;
  y = (m + y) + 0.693359375 * e;
  // Zero gives -infinity, negative values give NaN, infinity and NaN stay what they are.
  if ((bits & 0x7fffffffu) == 0u) { y = bitcast<f32>(bits | 0xff800000u); }
  else if (bits > 0x80000000u) { y = bitcast<f32>(bits | 0x7fc00000u); }
  else if (bits >= 0x7f800000u) { y = x; }
  return y;
}`,
  },
  tanh: {
    needs: ["exp"],
    code: `
fn m_tanh(x: f32) -> f32 {
  let a = abs(x);
  let z = x * x;
  var p = -5.70498872745e-3;
  p = p * z + 2.06390887954e-2;
  p = p * z - 5.37397155531e-2;
  p = p * z + 1.33314422036e-1;
  p = p * z - 3.33332819422e-1;
  let big = 1.0 - 2.0 / (m_exp(2.0 * min(a, 20.0)) + 1.0);
  return select(select(big, -big, x < 0.0), p * z * x + x, a < 0.625);
}`,
  },
  erf: {
    needs: ["exp"],
    code: `
fn m_erf(x: f32) -> f32 {
  let a = min(abs(x), 10.0);
  let z = x * x;
  var t = 7.853861353153693e-5;
  t = t * z - 8.010193625184903e-4;
  t = t * z + 5.188327685732524e-3;
  t = t * z - 2.685381193529856e-2;
  t = t * z + 1.128358514861418e-1;
  t = t * z - 3.761262582423300e-1;
  t = t * z + 1.128379165726710e+0;
  let q = 1.0 / max(a, 0.5);
  let y = q * q;
  var p = 2.326819970068386e-2;
  p = p * y - 1.387039388740657e-1;
  p = p * y + 3.687424674597105e-1;
  p = p * y - 5.824733027278666e-1;
  p = p * y + 6.210004621745983e-1;
  p = p * y - 4.944515323274145e-1;
  p = p * y + 3.404879937665872e-1;
  p = p * y - 2.741127028184656e-1;
  p = p * y + 5.638259427386472e-1;
  var r = -1.047766399936249e+1;
  r = r * y + 1.297719955372516e+1;
  r = r * y - 7.495518717768503e+0;
  r = r * y + 2.921019019210786e+0;
  r = r * y - 1.015265279202700e+0;
  r = r * y + 4.218463358204948e-1;
  r = r * y - 2.820767439740514e-1;
  r = r * y + 5.641895067754075e-1;
  let tail = 1.0 - m_exp(-a * a) * q * select(r, p, a < 2.0);
  return select(select(tail, -tail, x < 0.0), x * t, a < 1.0);
}`,
  },
  pow: {
    needs: ["exp", "log"],
    code: `
fn m_pow(x: f32, a: f32) -> f32 {
  // Zero to the power of 0 is 1, of a positive number 0, of a negative one infinity.
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) == 0u) {
    return select(select(0.0, bitcast<f32>((bits | 0x7f800000u) & 0x7fffffffu), a < 0.0), 1.0, a == 0.0);
  }
  return m_exp(a * m_log(x));
}`,
  },
};

/** The WGSL functions that the calls m_exp, m_log, ... in `code` need, each once and in order of use. */
export function mathFunctions(code: string): string {
  const wanted = new Set<string>();
  const add = (name: string) => {
    if (wanted.has(name)) return;
    functions[name].needs.forEach(add);
    wanted.add(name);
  };
  for (const match of code.matchAll(/\bm_(expNegative|exp|log|tanh|erf|pow)\(/g)) add(match[1]);
  return [...wanted].map((name) => functions[name].code).join("\n");
}

/** An expression of core/tensor/elementwise.ts with its calls replaced by the functions of this file. */
export function toWgsl(expression: string): string {
  return expression.replace(/\b(exp|log|tanh|erf|pow)\(/g, "m_$1(");
}

/** `fn act(kind: u32, x: f32) -> f32`: the activations of an epilogue, chosen at run time to keep pipelines few. */
export const activationFunction = `
fn act(kind: u32, x: f32) -> f32 {
  switch kind {
    case 1u: { return x / (1.0 + m_exp(-x)); }
    case 2u: { return 0.5 * x * (1.0 + m_erf(x * 0.7071067811865476)); }
    case 3u: { return 0.5 * x * (1.0 + m_tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }
    case 4u: { return max(x, 0.0); }
    default: { return x; }
  }
}
fn act4(kind: u32, x: vec4f) -> vec4f {
  if (kind == 0u) { return x; }
  return vec4f(act(kind, x.x), act(kind, x.y), act(kind, x.z), act(kind, x.w));
}`;

export const activationCodes = { none: 0, silu: 1, gelu: 2, geluTanh: 3, relu: 4 } as const;
