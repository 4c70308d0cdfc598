import assert from "node:assert/strict";
import { compare, ParityCase } from "../../parity/case.ts";
import { golden } from "./golden.ts";

Deno.test("compare() fails on one wrong value, one wrong token and a wrong length", async () => {
  const parityCase = await ParityCase.open(`${golden}/case01_maskgit_vq.json`);
  const f = await parityCase!.floats("f"), tokens = await parityCase!.ints("tokens");
  assert.equal(compare(parityCase!, "f", f, f, "cpu").verdict, "ok");
  const off = f.slice();
  off[7] += 1e-2;
  assert.equal(compare(parityCase!, "f", f, off, "cpu").verdict, "FAIL");
  off[7] = NaN;
  assert.equal(compare(parityCase!, "f", f, off, "cpu").verdict, "FAIL");
  assert.equal(compare(parityCase!, "f", f, f.subarray(1), "cpu").verdict, "FAIL");
  const other = tokens.slice();
  other[0] ^= 1;
  assert.equal(compare(parityCase!, "tokens", tokens, other, "cpu").verdict, "FAIL");
  parityCase!.close();
});
