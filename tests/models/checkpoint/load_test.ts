import assert from "node:assert/strict";
import {
  autoUnwrap,
  checkNames,
  openCheckpoint,
  type ParamSpec,
  subSource,
  syntheticSource,
  type TensorSource,
  withPrefix,
} from "../../../models/checkpoint/mod.ts";
import { GOLDEN } from "./build.ts";

const sourceOf = (shapes: Record<string, readonly number[]>): TensorSource =>
  syntheticSource("s", new Map(Object.entries(shapes)));

/** A pretend transformer of the given depth and width. */
const specs = (depth: number, width: number): ParamSpec[] => [
  { name: "embed.weight", shape: [10, width], role: "embedding" },
  ...Array.from({ length: depth }, (_, i): ParamSpec[] => [
    { name: `blocks.${i}.fc.weight`, shape: [width, width], role: "linear" },
    { name: `blocks.${i}.fc.bias`, shape: [width], role: "vector" },
  ]).flat(),
];
const fileOf = (list: readonly ParamSpec[], prefix = ""): Record<string, readonly number[]> =>
  Object.fromEntries(list.map(({ name, shape }) => [prefix + name, shape]));
const alternatives = new Map([["net-2", specs(2, 4)], ["net-3", specs(3, 6)], ["net-4", specs(4, 8)]]);

Deno.test("checkNames() accepts exactly the tensors that are asked for", () => {
  checkNames(sourceOf(fileOf(specs(2, 4))), specs(2, 4), { what: "net-2", alternatives });
});

Deno.test("checkNames() lists missing, unused and mis-shaped tensors with counts, naming the file", () => {
  const shapes = { ...fileOf(specs(5, 4)), "extra.a": [1], "extra.b": [1], "embed.weight": [11, 4] };
  for (const i of [0, 1, 2, 3]) delete (shapes as Record<string, unknown>)[`blocks.${i}.fc.bias`];
  assert.throws(() => checkNames(sourceOf(shapes), specs(5, 4), { what: "net-5" }), {
    message: "synthetic:s: does not fit net-5: " +
      "4 missing (blocks.0.fc.bias, blocks.1.fc.bias, blocks.2.fc.bias, ...); 2 unused (extra.a, extra.b); " +
      "1 with another shape (embed.weight expects [10,4], got [11,4])",
  });
});

Deno.test("checkNames() says which variant a file fits", () => {
  assert.throws(
    () => checkNames(sourceOf(fileOf(specs(3, 6))), specs(2, 4), { what: "net-2", alternatives }),
    /^Error: synthetic:s: does not fit net-2: 2 unused \(blocks\.2.*; 5 with another shape .*; the file fits net-3$/,
  );
  assert.throws(
    () => checkNames(sourceOf(fileOf(specs(3, 6))), specs(4, 8), { what: "net-4", alternatives }),
    /2 missing \(blocks\.3\.fc\.weight, blocks\.3\.fc\.bias\); 7 with another shape .*; the file fits net-3$/,
  );
  assert.throws(
    () => checkNames(sourceOf(fileOf(specs(5, 6))), specs(4, 8), { what: "net-4", alternatives }),
    (error: Error) => !error.message.includes("the file fits"),
  );
});

Deno.test("checkNames() passes over known buffers only", () => {
  const shapes = { ...fileOf(specs(1, 4)), "blocks.0.mask": [2, 2], "mask": [2], "blocks.0.unmask": [2], "ema.3": [1] };
  const check = (ignored: (string | RegExp)[]) => checkNames(sourceOf(shapes), specs(1, 4), { what: "net", ignored });
  assert.throws(() => check(["mask", /^ema\./g]), /1 unused \(blocks\.0\.unmask\)/);
  check(["mask", "blocks.0.unmask", /^ema\./g]);
  assert.throws(() => check([]), /4 unused/);
});

Deno.test("checkNames() says under which prefix the names would match", () => {
  assert.throws(
    () => checkNames(sourceOf(fileOf(specs(1, 4), "module.")), specs(1, 4), { what: "net-1" }),
    /3 missing .*3 unused .*; 3 of 3 names match under the prefix "module\."$/,
  );
});

Deno.test("subSource() shows one part under its own names", async () => {
  const whole = await openCheckpoint(`${GOLDEN}checkpoints/var_ckpt_nested.pth`);
  const part = withPrefix(whole, "trainer.var_wo_ddp.");
  assert.equal(part.label, "var_ckpt_nested.pth");
  assert.ok(part.tensors.has("pos_start") && !part.tensors.has("trainer.var_wo_ddp.pos_start"));
  assert.equal(part.tensors.get("pos_start")!.name, "pos_start");
  assert.deepEqual(await part.readF32("pos_start"), await whole.readF32("trainer.var_wo_ddp.pos_start"));
  assert.deepEqual(await part.readF16("pos_start"), await whole.readF16("trainer.var_wo_ddp.pos_start"));
  assert.deepEqual(await part.readI32("lvl_1L"), await whole.readI32("trainer.var_wo_ddp.lvl_1L"));
  await assert.rejects(part.readF32("trainer.var_wo_ddp.pos_start"), /readF32: no tensor is named "trainer/);
  assert.throws(() => withPrefix(whole, "nothing."), /no tensor's name begins with "nothing\."; it has trainer\./);
  part.close();
  await assert.rejects(whole.readF32("trainer.var_wo_ddp.pos_start"), /read after close\(\)/);
});

Deno.test("subSource() puts a fine-tuned encoder under the tokenizer's names", async () => {
  const tuned = await openCheckpoint(`${GOLDEN}checkpoints/encoder_final.pth`);
  const tokenizer = await openCheckpoint(`${GOLDEN}checkpoints/maskgit_vq_tiny.bin`);
  const encoder = subSource(tuned, { strip: "module0.", add: "encoder." });
  assert.deepEqual(
    [...encoder.tensors.keys()],
    [...tokenizer.tensors.keys()].filter((name) => name.startsWith("encoder.")),
  );
  assert.deepEqual(
    await encoder.readF32("encoder.conv_in.weight"),
    await tokenizer.readF32("encoder.conv_in.weight"),
  );
  encoder.close();
  tokenizer.close();
});

Deno.test("autoUnwrap() finds the prefix that makes the names match", async () => {
  const names = specs(2, 4).map(({ name }) => name);
  for (const prefix of ["", "module.", "module0.", "a.b.c."]) {
    const { source, prefix: found, matched } = autoUnwrap(sourceOf(fileOf(specs(2, 4), prefix)), names);
    assert.equal(found, prefix);
    assert.equal(matched, names.length);
    assert.deepEqual([...source.tensors.keys()], names);
  }
  const both = sourceOf({
    ...fileOf(specs(1, 4), "small."),
    ...fileOf(specs(2, 4), "ema.net."),
    ...fileOf(specs(2, 4), "net."),
  });
  assert.equal(autoUnwrap(both, names).prefix, "net."); // the shorter of two that fit
  const none = sourceOf({ "x": [1] });
  assert.deepEqual(autoUnwrap(none, names), { source: none, prefix: "", matched: 0 });

  const nested = await openCheckpoint(`${GOLDEN}checkpoints/var_ckpt_nested.pth`);
  assert.equal(autoUnwrap(nested, ["pos_start", "word_embed.weight"]).prefix, "trainer.var_wo_ddp.");
  assert.equal(autoUnwrap(nested, ["quantize.embedding.weight"]).prefix, "trainer.vae_local.");
  nested.close();
});
