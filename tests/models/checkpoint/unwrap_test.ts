/** Networks in checkpoints that wrap them, and encoders that are stored as differences. */
import assert from "node:assert/strict";
import { areDifferences, withDifferences } from "../../../models/checkpoint/differences.ts";
import type { ParamSpec } from "../../../models/checkpoint/load.ts";
import type { TensorSource } from "../../../models/checkpoint/source.ts";
import { unwrapNetwork } from "../../../models/checkpoint/unwrap.ts";

/** A source of small tensors with these values. */
function sourceOf(tensors: Readonly<Record<string, readonly number[]>>): TensorSource {
  const readF32 = (name: string) => Promise.resolve(Float32Array.from(tensors[name]));
  return {
    label: "test.pth",
    tensors: new Map(
      Object.entries(tensors).map(([name, { length }]) => [name, { name, shape: [length], dtype: "f32" as const }]),
    ),
    readF32,
    readF16: () => Promise.reject(new Error("not here")),
    readI32: () => Promise.reject(new Error("not here")),
    close: () => {},
  };
}

const spec = (name: string): ParamSpec => ({ name, shape: [2], role: "vector" });
const specs = [spec("blocks.0.weight"), spec("norm1.weight")];
const network = { "blocks.0.weight": [1, 2], "norm1.weight": [1, 1.1] };
const below = (prefix: string, values: Readonly<Record<string, readonly number[]>> = network) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));

Deno.test("unwrapNetwork() finds a network below any prefix, and says what it left out", async () => {
  const cases: [Record<string, readonly number[]>, readonly RegExp[]][] = [
    [network, []],
    [below("module."), [/^the network is below "module\."$/]],
    [below("state_dict.module."), [/below "state_dict\.module\."/]],
    [
      { ...below("trainer.var_wo_ddp."), ...below("trainer.vae_local.", { "decoder.weight": [1] }) },
      [/below "trainer\.var_wo_ddp\."; 1 tensors beside it are left out/],
    ],
    [{ ...network, ...below("ema."), "loss.discriminator.main.0.weight": [1] }, [
      /^3 tensors of its training .*ema\.\*/,
    ]],
    [{ ...below("model."), ...below("model_ema.") }, [/below "model\."; 2 tensors beside it are left out/]],
  ];
  for (const [tensors, expected] of cases) {
    const { source, notes } = unwrapNetwork(sourceOf(tensors), specs);
    assert.deepEqual([...source.tensors.keys()], Object.keys(network));
    assert.deepEqual(await source.readF32("blocks.0.weight"), new Float32Array([1, 2]));
    assert.equal(notes.length, expected.length, notes.join());
    expected.forEach((pattern, i) => assert.match(notes[i], pattern));
  }
});

Deno.test("unwrapNetwork() leaves a file alone that is not the network's, and tensors that no rule knows", () => {
  const half = sourceOf({ "module.norm1.weight": [1, 1] });
  assert.equal(unwrapNetwork(half, specs).source, half);
  const more = unwrapNetwork(sourceOf({ ...network, "adapter.weight": [1] }), specs);
  assert.ok(more.source.tensors.has("adapter.weight"), "checkNames() must refuse it");
});

Deno.test("areDifferences() tells encoders from differences by the weights of norms", async () => {
  assert.equal(
    await areDifferences(sourceOf({ "norm1.weight": [0.9, 1.2], "norm_out.weight": [0.7, -1] }), specs),
    false,
  );
  assert.equal(
    await areDifferences(sourceOf({ "norm1.weight": [0.01, -0.05], "blocks.0.weight": [3, 3] }), specs),
    true,
  );
  assert.equal(await areDifferences(sourceOf({ "blocks.0.weight": [0, 0] }), specs), false);
});

Deno.test("withDifferences() adds, passes on what the original lacks, and refuses other shapes", async () => {
  const sum = withDifferences(sourceOf(network), sourceOf({ "norm1.weight": [0.5, -0.25], "latents.prior": [7] }));
  assert.deepEqual(await sum.readF32("norm1.weight"), Float32Array.from([1.5, Math.fround(Math.fround(1.1) - 0.25)]));
  assert.deepEqual(await sum.readF32("latents.prior"), new Float32Array([7]));
  assert.throws(
    () => withDifferences(sourceOf(network), sourceOf({ "norm1.weight": [1] })),
    /test\.pth: norm1\.weight: test\.pth expects \[2\], got \[1\]/,
  );
});
