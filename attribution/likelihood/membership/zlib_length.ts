/**
 * How many bytes an image's tokens take when zlib compresses them as text: the denominator of the zlib ratio.
 *
 * The runtime's zlib cannot be used. Implementations of deflate choose different matches, so lengths differ; pako
 * chooses those of stock zlib, which the reference uses.
 */
// @ts-types="./pako.d.ts"
import pako from "npm:pako@2.1.0";

/** Tokens as Python prints a list of integers: `[1, 2, 3]`. */
export function tokenText(tokens: ArrayLike<number>): string {
  return `[${Array.from(tokens).join(", ")}]`;
}

/**
 * Length in bytes of `zlib.compress(str(tokens))` at level 6, header and checksum included. Throws without tokens, and
 * on numbers that are not whole or below 0.
 *
 * Source: sprintml/privacy_attacks_against_iars, src/attacks/llm_mia.py, `get_zlib_ratios`.
 */
export function zlibLength(tokens: ArrayLike<number>): number {
  if (tokens.length === 0) throw new RangeError("zlibLength: expected at least one token, got none");
  for (let i = 0; i < tokens.length; i++) {
    if (!(Number.isSafeInteger(tokens[i]) && tokens[i] >= 0)) {
      throw new RangeError(`zlibLength: token ${i} expects a whole number of at least 0, got ${tokens[i]}`);
    }
  }
  return pako.deflate(new TextEncoder().encode(tokenText(tokens)), { level: 6 }).length;
}
