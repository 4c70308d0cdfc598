import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { syntheticInput, syntheticSource, syntheticTensor } from "../../../models/checkpoint/mod.ts";
import { fnv1a32, syntheticRange } from "../../../models/checkpoint/synthetic.ts";
import { GOLDEN, sha256 } from "./build.ts";

interface Entry {
  shape: number[];
  seed: number;
  offset: number | null;
  scale: number | null;
  first4: number[] | null;
  sha256: string;
}
interface RuleCheck {
  salt: string;
  inputs: Record<string, { seed: number; first4: number[] }>;
  models: Record<string, Record<string, Entry>>;
}

const check: RuleCheck = JSON.parse(await Deno.readTextFile(`${GOLDEN}weights_rule_check.json`));
// The three tiny VAR models have six scales; the JSON has their token count (139) but not the scales.
const patchNums = [1, 2, 3, 5, 6, 8];

for (const [model, tensors] of Object.entries(check.models)) {
  Deno.test(`syntheticTensor() gives every weight of ${model} bit by bit`, async () => {
    assert.ok(Object.keys(tensors).length > 0);
    for (const [name, expected] of Object.entries(tensors)) {
      assert.equal(fnv1a32(`${check.salt}:${name}`), expected.seed, name);
      if (expected.scale !== null) {
        const { offset, scale } = syntheticRange(name, expected.shape);
        assert.deepEqual({ offset, scale }, { offset: expected.offset, scale: expected.scale }, name);
      }
      const values = syntheticTensor(check.salt, name, expected.shape, { patchNums });
      if (expected.first4 !== null) {
        assert.deepEqual(Array.from(values.subarray(0, 4)), expected.first4, name);
      }
      const stored = name.endsWith("lvl_1L") ? Int32Array.from(values) : values;
      assert.equal(await sha256(stored), expected.sha256, name);
    }
  });
}

Deno.test("syntheticInput() gives the reference inputs", () => {
  assert.ok(Object.keys(check.inputs).length > 0);
  for (const [id, expected] of Object.entries(check.inputs)) {
    assert.equal(fnv1a32(`${check.salt}:input:${id}`), expected.seed);
    assert.deepEqual(Array.from(syntheticInput(check.salt, id, [2, 2])), expected.first4);
  }
});

Deno.test("syntheticTensor() agrees with the rule written in 64-bit integers", () => {
  const U32 = 0xffffffffn;
  const slow = (salt: string, name: string, i: number, offset: number, scale: number): number => {
    let x = (BigInt(fnv1a32(`${salt}:${name}`)) + BigInt(i) * 0x9e3779b9n) & U32;
    x ^= x >> 16n;
    x = (x * 0x7feb352dn) & U32;
    x ^= x >> 15n;
    x = (x * 0x846ca68bn) & U32;
    x ^= x >> 16n;
    return Math.fround(offset + scale * (Number(x) / 2 ** 32 * 2 - 1));
  };
  fc.assert(
    fc.property(
      fc.string(),
      fc.string(),
      fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 4 }),
      (salt, leaf, shape) => {
        const name = `net.${leaf}`;
        const { offset, scale } = syntheticRange(name, shape);
        const values = syntheticTensor(salt, name, shape);
        assert.equal(values.length, shape.reduce((a, b) => a * b, 1));
        values.forEach((value, i) => assert.equal(value, slow(salt, name, i, offset, scale)));
      },
    ),
  );
});

Deno.test("syntheticTensor() asks for patchNums where the official constants depend on them", () => {
  assert.throws(() => syntheticTensor("s", "lvl_1L", [1, 139]), /lvl_1L: needs options\.patchNums/);
  assert.throws(
    () => syntheticTensor("s", "lvl_1L", [1, 140], { patchNums }),
    /patchNums \[1,2,3,5,6,8\] expect 139 tokens, got 140/,
  );
  assert.throws(
    () => syntheticTensor("s", "attn_bias_for_masking", [1, 1, 139, 138], { patchNums }),
    /expects a square mask, got \[1,1,139,138\]/,
  );
  const levels = syntheticTensor("s", "lvl_1L", [1, 5], { patchNums: [1, 2] });
  assert.deepEqual(Array.from(levels), [0, 1, 1, 1, 1]);
  const mask = syntheticTensor("s", "attn_bias_for_masking", [1, 1, 5, 5], { patchNums: [1, 2] });
  assert.deepEqual(Array.from(mask.subarray(0, 10)), [0, -Infinity, -Infinity, -Infinity, -Infinity, 0, 0, 0, 0, 0]);
});

Deno.test("syntheticSource() is a checkpoint without a file", async () => {
  const source = syntheticSource("salt", new Map([["a.weight", [4, 3]], ["lvl_1L", [1, 5]]]), { patchNums: [1, 2] });
  assert.equal(source.label, "synthetic:salt");
  assert.deepEqual([...source.tensors.values()], [
    { name: "a.weight", shape: [4, 3], dtype: "f32" },
    { name: "lvl_1L", shape: [1, 5], dtype: "i64" },
  ]);
  const values = await source.readF32("a.weight");
  assert.deepEqual(values, syntheticTensor("salt", "a.weight", [4, 3]));
  assert.deepEqual(new Float16Array((await source.readF16("a.weight")).buffer), new Float16Array(values));
  assert.deepEqual(await source.readI32("lvl_1L"), Int32Array.of(0, 1, 1, 1, 1));
  await assert.rejects(source.readI32("a.weight"), /synthetic:salt: readI32: .*expects an integer tensor, got f32/);
  await assert.rejects(source.readF32("b"), /synthetic:salt: readF32: no tensor is named "b"/);
  source.close();
});
