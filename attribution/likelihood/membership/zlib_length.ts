/**
 * How many bytes an image's tokens take when zlib compresses them as text: the denominator of the zlib ratio.
 * Deliberately not the runtime's own zlib: deflate leaves the choice of matches open, and other implementations (Deno's
 * and Node's among them) write other lengths than stock zlib, which the reference uses.
 */
// @ts-types="./pako.d.ts"
import pako from "npm:pako@2.1.0";

/** Tokens as Python prints a list of integers: `[1, 2, 3]`. */
export function tokenText(tokens: ArrayLike<number>): string {
  return `[${Array.from(tokens).join(", ")}]`;
}

/**
 * Bytes of `zlib.compress(str(tokens))` at zlib's level 6, header and checksum included. Throws on no tokens and on
 * numbers that are no tokens.
 *
 * Source: sprintml/privacy_attacks_against_iars, src/attacks/llm_mia.py, `get_zlib_ratios`.
 */
export function zlibLength(tokens: ArrayLike<number>): number {
  if (tokens.length === 0) throw new Error("zlibLength: expected at least one token, got none");
  for (let i = 0; i < tokens.length; i++) {
    if (!(Number.isSafeInteger(tokens[i]) && tokens[i] >= 0)) {
      throw new Error(`zlibLength: token ${i} expects a whole number of at least 0, got ${tokens[i]}`);
    }
  }
  return pako.deflate(new TextEncoder().encode(tokenText(tokens)), { level: 6 }).length;
}
