/** Lengths of stock zlib 1.2.13 at level 6: those of case 08, and more texts up to several windows and blocks. */
import assert from "node:assert/strict";
import zlib from "node:zlib";
import { tokenText, zlibLength } from "../../../../attribution/likelihood/membership/zlib_length.ts";

const manifest = JSON.parse(await Deno.readTextFile("tests/fixtures/golden/case08_mia.json"));

/** n tokens below `codes`, the same everywhere: a linear congruential generator. */
function tokensOf(n: number, codes: number): number[] {
  let state = 7;
  return Array.from({ length: n }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % codes;
  });
}

/** [tokens, codes, length], computed with Python's zlib (1.2.13). */
const lengths = [
  [1, 16, 11],
  [16, 1024, 64],
  [64, 4, 69],
  [256, 1024, 536],
  [680, 4096, 1588],
  [680, 2, 192],
  [5000, 1024, 9190],
  [20000, 64, 21979],
  [20000, 4096, 42371],
];

Deno.test("zlibLength() is that of the reference for every text of case 08", () => {
  let texts = 0;
  for (const { string, zlib_len: length } of Object.values(manifest.zlib).flat() as Record<string, unknown>[]) {
    const tokens = JSON.parse(string as string);
    assert.equal(tokenText(tokens), string);
    assert.equal(zlibLength(tokens), length);
    texts++;
  }
  assert.equal(texts, 6);
});

Deno.test("zlibLength() is that of stock zlib for one token, for few codes and for texts of several windows", () => {
  for (const [n, codes, length] of lengths) assert.equal(zlibLength(Int32Array.from(tokensOf(n, codes))), length);
});

Deno.test("the runtime's own zlib writes another length, which is why it is not used", () => {
  assert.notEqual(zlib.deflateSync(tokenText(tokensOf(680, 4096)), { level: 6 }).length, 1588);
});

Deno.test("zlibLength() refuses no tokens and numbers that are no tokens", () => {
  assert.throws(() => zlibLength([]), /expected at least one token, got none/);
  assert.throws(() => zlibLength([3, -1]), /token 1 expects a whole number of at least 0, got -1/);
  assert.throws(() => zlibLength([0.5]), /token 0 expects a whole number of at least 0, got 0.5/);
});
