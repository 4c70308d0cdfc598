/**
 * Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): the n-th number of a stream depends on seed,
 * stream and n only. They are made on the host, so that every device gets the same ones.
 */

/** Writes the four 32-bit words of one counter value to `out`, from `at` on. */
export function philox(seed: number, stream: number, counter: number, out: Uint32Array, at: number = 0): void {
  let c0 = counter >>> 0, c1 = Math.floor(counter / 2 ** 32) >>> 0, c2 = stream >>> 0, c3 = 0;
  let k0 = seed >>> 0, k1 = Math.floor(seed / 2 ** 32) >>> 0;
  for (let round = 0; round < 10; round++) {
    const [hi0, lo0] = multiply(0xd2511f53, c0);
    const [hi1, lo1] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(hi1 ^ c1 ^ k0) >>> 0, lo1, (hi0 ^ c3 ^ k1) >>> 0, lo0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/** n numbers uniform in [0, 1), with 24 random bits each. */
export function uniforms(seed: number, stream: number, n: number): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(n / 4) * 4);
  for (let i = 0; i < words.length; i += 4) philox(seed, stream, i / 4, words, i);
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = (words[i] >>> 8) / 2 ** 24;
  return out;
}

/** n numbers from the standard normal distribution (Box-Muller). */
export function normals(seed: number, stream: number, n: number): Float32Array<ArrayBuffer> {
  const u = uniforms(seed, stream, 2 * Math.ceil(n / 2));
  const out = new Float32Array(n);
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - u[i]));
    out[i] = radius * Math.cos(2 * Math.PI * u[i + 1]);
    if (i + 1 < n) out[i + 1] = radius * Math.sin(2 * Math.PI * u[i + 1]);
  }
  return out;
}

/** High and low word of the 64-bit product. */
function multiply(a: number, b: number): [number, number] {
  const lo = Math.imul(a, b) >>> 0;
  const aHi = a >>> 16, aLo = a & 0xffff, bHi = b >>> 16, bLo = b & 0xffff;
  const middle = aHi * bLo + Math.floor(aLo * bLo / 65536);
  const hi = aHi * bHi + Math.floor(middle / 65536) + Math.floor(((middle % 65536) + aLo * bHi) / 65536);
  return [hi >>> 0, lo];
}
