/** Conversion: the new file loads as the old one does, bit for bit where loading rounds anyway, and refuses what does not fit. */
import { varFamily } from "../../../models/var/family.ts";
import { rar } from "../../../models/rar/family.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  convertCheckpoint,
  encoderSource,
  encoderSpecs,
  halfWhereLoaded,
  hasInfinity,
} from "../../../models/checkpoint/convert.ts";
import {
  f32ToF16,
  openCheckpoint,
  openSafetensors,
  syntheticSource,
  type TensorSource,
} from "../../../models/checkpoint/mod.ts";
import { readAhead } from "../../../models/checkpoint/read_ahead.ts";
import { readFileList, specsOf } from "../../../models/download/list.ts";
import type { RarTokenizerConfig } from "../../../models/rar/config.ts";
import { tokenizerSpecs } from "../../../models/rar/tokenizer.ts";
import { transformerSpecs } from "../../../models/var/transformer.ts";
import type { VqvaeConfig } from "../../../models/var/config.ts";
import { vqvaeSpecs } from "../../../models/var/vqvae.ts";
import { testAlone } from "../../alone.ts";
import { withFolder } from "../../attribution/files.ts";
import { standIns } from "../../sets.ts";
import { GOLDEN, withFile } from "../checkpoint/build.ts";
import { smallList, torchFile } from "./set.ts";

const { families } = JSON.parse(await Deno.readTextFile(join(standIns, "manifest.json")));
const rarTokenizer = tokenizerSpecs(families.rar.tokenizer.config as RarTokenizerConfig);
const varTokenizer = vqvaeSpecs(families.var.tokenizer.config as VqvaeConfig);

async function smallRows() {
  return await withFolder(async (dir) => {
    await Deno.writeTextFile(join(dir, "list.json"), JSON.stringify(smallList));
    return (await readFileList(join(dir, "list.json"))).files;
  });
}

Deno.test("convertCheckpoint() keeps names, shapes and values, in half precision where loading has it so", async () => {
  const row = (await smallRows()).find(({ network }) => network === "rarb")!;
  const specs = specsOf(row);
  await withFolder(async (dir) => {
    const source = await openCheckpoint(join(standIns, "rar_tiny.bin"));
    const path = join(dir, "rarb.safetensors");
    const reports: number[] = [];
    const result = await convertCheckpoint(source, specs, path, {
      what: "rarb",
      metadata: { network: "rarb" },
      onProgress: (bytes, total) => reports.push(bytes / total),
    });
    assert.equal(result.tensors, specs.length);
    assert.deepEqual(result.tooLarge, []);
    assert.ok(reports.every((share, i) => share < 1 && share >= (reports[i - 1] ?? 0)));
    const converted = await openSafetensors(path);
    assert.equal(converted.metadata.get("network"), "rarb");
    assert.equal(converted.tensors.size, specs.length);
    let halves = 0;
    for (const spec of specs) {
      const { name, shape } = spec;
      const info = converted.tensors.get(name)!;
      assert.deepEqual(info.shape, shape, name);
      assert.equal(info.dtype, halfWhereLoaded(spec), name);
      if (info.dtype === "f16") halves++;
      // What loading with half-precision weights would have made of the original.
      if (info.dtype === "f16") assert.deepEqual(await converted.readF16(name), await source.readF16(name), name);
      else assert.deepEqual(await converted.readF32(name), await source.readF32(name), name);
    }
    assert.equal(halves, specs.filter(({ role }) => role === "linear" || role === "embedding").length);
    assert.ok(halves > 10);
    const again = join(dir, "again.safetensors");
    await convertCheckpoint(source, specs, again, { what: "rarb", metadata: { network: "rarb" } });
    assert.deepEqual(await Deno.readFile(again), await Deno.readFile(path));
    converted.close();
    source.close();
  });
});

Deno.test("convertCheckpoint() leaves out buffers, and stores as float32 what loading transforms", async () => {
  const { config } = families.var.variants.var20;
  const specs = transformerSpecs(config);
  const tokens = config.patchNums.reduce((sum: number, side: number) => sum + side * side, 0);
  const shapes = new Map(specs.map(({ name, shape }) => [name, shape] as const));
  shapes.set("lvl_1L", [1, tokens]);
  shapes.set("attn_bias_for_masking", [1, 1, tokens, tokens]);
  shapes.set("blocks.0.attn.zero_k_bias", [config.embedDim]);
  const source = syntheticSource("x", shapes, { patchNums: config.patchNums });
  await withFolder(async (dir) => {
    const ignored = [/lvl_1L$/, /attn_bias_for_masking$/, /zero_k_bias$/];
    await convertCheckpoint(source, specs, join(dir, "a.safetensors"), { what: "var20", ignored });
    const converted = await openSafetensors(join(dir, "a.safetensors"));
    assert.deepEqual([...converted.tensors.keys()].sort(), specs.map(({ name }) => name).sort());
    assert.equal(converted.tensors.get("blocks.0.attn.scale_mul_1H11")!.dtype, "f32");
    assert.equal(converted.tensors.get("blocks.0.attn.mat_qkv.weight")!.dtype, "f16");
    converted.close();
  });
});

Deno.test("convertCheckpoint() refuses another network's checkpoint, and leaves nothing behind", async () => {
  const rows = await smallRows();
  const [rarb, rarl] = ["rarb", "rarl"].map((name) => specsOf(rows.find(({ network }) => network === name)!));
  await withFolder(async (dir) => {
    const source = await openCheckpoint(join(standIns, "rar_tiny.bin"));
    const alternatives = new Map([["rarb", rarb]]);
    await assert.rejects(
      convertCheckpoint(source, rarl, join(dir, "x.safetensors"), { what: "rarl", alternatives }),
      /^Error: rar_tiny\.bin: does not fit rarl: .*; the file fits rarb$/,
    );
    source.close();
    const broken: TensorSource = { ...syntheticSource("x", rarb) };
    broken.readF16 = () => Promise.reject(new Error("unreadable"));
    await assert.rejects(convertCheckpoint(broken, rarb, join(dir, "x.safetensors"), { what: "rarb" }), /unreadable/);
    const controller = new AbortController();
    const onProgress = (bytes: number) => bytes > 0 && controller.abort(new Error("stop"));
    const whole = syntheticSource("x", rarb);
    const { signal } = controller;
    await assert.rejects(
      convertCheckpoint(whole, rarb, join(dir, "x.safetensors"), { what: "rarb", signal, onProgress }),
      /stop/,
    );
    assert.deepEqual([...Deno.readDirSync(dir)], []);
  });
});

Deno.test("a tensor with values beyond half precision stays float32; stored infinities do not count", async () => {
  const specs = [
    { name: "a.weight", shape: [3, 5], role: "linear" as const },
    { name: "b.weight", shape: [3, 5], role: "linear" as const },
    { name: "c.weight", shape: [4, 4], role: "linear" as const },
  ];
  const bytes = await torchFile("x", specs, (name, values) => {
    if (name === "b.weight") values[14] = -65520;
    if (name === "c.weight") values[3] = Infinity;
  });
  await withFile("big.pth", bytes, async (path) => {
    const source = await openCheckpoint(path);
    const { tooLarge } = await convertCheckpoint(source, specs, `${path}.safetensors`, { what: "x" });
    assert.deepEqual(tooLarge, ["b.weight"]);
    const converted = await openSafetensors(`${path}.safetensors`);
    assert.deepEqual(specs.map(({ name }) => converted.tensors.get(name)!.dtype), ["f16", "f32", "f16"]);
    assert.deepEqual(await converted.readF32("b.weight"), await source.readF32("b.weight"));
    converted.close();
    source.close();
  });
});

Deno.test("tensors of many pieces are rounded as readF16() rounds them", async () => {
  const shapes = new Map<string, number[]>([["a.weight", [1021, 3089]], ["b.weight", [2048, 1024]], ["c.weight", [
    7,
    1,
  ]], ["d.bias", [5]]]);
  const specs = [...shapes].map(([name, shape]) => ({
    name,
    shape,
    role: shape.length === 1 ? "vector" as const : "linear" as const,
  }));
  await withFile("big.pth", await torchFile("pieces", specs), async (path) => {
    const source = await openCheckpoint(path);
    await convertCheckpoint(source, specs, `${path}.safetensors`, { what: "x" });
    const converted = await openSafetensors(`${path}.safetensors`);
    for (const { name, role } of specs) {
      if (role === "vector") assert.deepEqual(await converted.readF32(name), await source.readF32(name));
      else assert.ok(same(await converted.readF16(name), await source.readF16(name)), name);
    }
    converted.close();
    source.close();
  });
});

function same(a: Uint16Array | Float32Array, b: Uint16Array | Float32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

testAlone(import.meta.filename!, "converting 512 MiB of float32 takes the memory of a few tensors", async () => {
  const MIB = 2 ** 20;
  const shape = [2048, 4096]; // 32 MiB
  const specs = Array.from({ length: 16 }, (_, i) => ({ name: `t${i}`, shape, role: "linear" as const }));
  const header = JSON.stringify(Object.fromEntries(specs.map(({ name }, i) => [
    ...[name, { dtype: "F32", shape, data_offsets: [i * 32 * MIB, (i + 1) * 32 * MIB] }],
  ])));
  const text = new TextEncoder().encode(header.padEnd(Math.ceil(header.length / 8) * 8));
  await withFolder(async (dir) => {
    const path = join(dir, "large.safetensors");
    const file = await Deno.open(path, { write: true, createNew: true });
    await file.write(new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer));
    await file.write(text);
    await file.truncate(8 + text.length + 16 * 32 * MIB); // a sparse file: zeros that take no room
    file.close();
    const source = await openCheckpoint(path);
    const before = Deno.memoryUsage().rss;
    let most = 0;
    const onProgress = () => most = Math.max(most, Deno.memoryUsage().rss - before);
    await convertCheckpoint(source, specs, join(dir, "half.safetensors"), { what: "large", onProgress });
    source.close();
    assert.ok((await Deno.stat(join(dir, "half.safetensors"))).size > 256 * MIB);
    assert.ok(most < 160 * MIB, `${Math.round(most / MIB)} MiB`);
  });
});

Deno.test("readAhead() gives what the source gives, in and out of order, and errors where they belong", async () => {
  const names = Array.from({ length: 6 }, (_, i) => `t${i}`);
  const bytes = await torchFile("ahead", names.map((name, i) => ({ name, shape: [i + 1, 70_000 * (i % 3) + 3] })));
  await withFile("x.pth", bytes, async (path) => {
    const source = await openCheckpoint(path);
    const plan = names.map((name, i) => ({ name, as: i % 2 === 0 ? "f16" as const : "f32" as const }));
    for (const order of [[0, 1, 2, 3, 4, 5], [0, 1, 4, 5, 2, 3], [5, 4, 3, 2, 1, 0], [2, 2, 0, 2, 4]]) {
      const ahead = readAhead(source, plan);
      for (const i of order) {
        if (i % 2 === 0) {
          assert.ok(same(await ahead.readF16(names[i]), await source.readF16(names[i])), `${order} ${i}`);
        } else assert.ok(same(await ahead.readF32(names[i]), await source.readF32(names[i])), `${order} ${i}`);
        assert.ok(same(await ahead.readF32("t0"), await source.readF32("t0")), "a read that was not planned");
      }
    }
    const ahead = readAhead(source, [plan[0], { name: "none", as: "f16" }, plan[2]]);
    await ahead.readF16("t0");
    await assert.rejects(ahead.readF16("none"), /no tensor is named "none"/);
    assert.ok(same(await ahead.readF16("t2"), await source.readF16("t2")));
    await Deno.truncate(path, 100_000);
    const cut = readAhead(source, plan);
    await assert.rejects(cut.readF16("t4"), /^Error: x\.pth: tensor "t4": x\.pth: shrank while it was read$/);
    source.close();
  });
});

Deno.test("hasInfinity() finds infinities at every place, and only those", () => {
  for (const length of [1, 2, 3, 8, 9]) {
    for (let i = 0; i < length; i++) {
      for (
        const [value, expected] of [[Infinity, true], [-Infinity, true], [65504, false], [-65504, false], [
          NaN,
          false,
        ]] as const
      ) {
        const values = new Float32Array(length).fill(-1);
        values[i] = value;
        assert.equal(hasInfinity(f32ToF16(values)), expected, `${value} at ${i} of ${length}`);
      }
    }
  }
});

/** A tokenizer with every value of the trained part doubled, as fine-tuning would change it. */
const doubled = (name: string, values: Float32Array<ArrayBuffer>) => {
  if (/^(encoder|quant_conv|module\d|encoder_state_dict)\./.test(name)) values.forEach((_, i) => values[i] *= 2);
};

Deno.test("encoderSource() reads the authors' encoder_final.pth, written by PyTorch", async () => {
  const specs = encoderSpecs(rar.encoderModules, rarTokenizer);
  const tokenizer = await openCheckpoint(join(standIns, "maskgit_vq_tiny.bin"));
  for (
    const name of ["encoder_final.pth", "encoder_legacy.pth", "maskgit_vq_tiny_encoder_half.pth", "maskgit_vq_tiny.bin"]
  ) {
    const source = encoderSource(await openCheckpoint(`${GOLDEN}checkpoints/${name}`), rar, specs);
    assert.deepEqual([...source.tensors.keys()].sort(), specs.map(({ name }) => name).sort(), name);
    const own = await tokenizer.readF32("encoder.conv_in.weight");
    const values = await source.readF32("encoder.conv_in.weight");
    assert.ok(values.every((value, i) => Math.abs(value - own[i]) < 1e-3), name);
    source.close();
  }
  tokenizer.close();
});

Deno.test("encoderSource() finds VAR's two modules, a nested state dict, and names after a prefix", async () => {
  const specs = encoderSpecs(varFamily.encoderModules, varTokenizer);
  assert.ok(specs.some(({ name }) => name === "quant_conv.weight"));
  assert.ok(!specs.some(({ name }) => name.startsWith("post_quant_conv") || name.startsWith("decoder")));
  const layouts: Record<string, (name: string) => string> = {
    modules: (name) => name.replace(/^encoder\./, "module0.").replace(/^quant_conv\./, "module1."),
    prefixed: (name) => `tokenizer.${name}`,
    plain: (name) => name,
  };
  for (const [layout, rename] of Object.entries(layouts)) {
    const bytes = await torchFile("x", specs.map(({ name, shape }) => ({ name: rename(name), shape })), doubled);
    await withFile(`${layout}.pth`, bytes, async (path) => {
      const source = encoderSource(await openCheckpoint(path), varFamily, specs);
      assert.deepEqual([...source.tensors.keys()], specs.map(({ name }) => name));
      assert.deepEqual(
        await source.readF32("quant_conv.weight"),
        await (await openCheckpoint(path)).readF32(rename("quant_conv.weight")),
      );
      source.close();
    });
  }
  const nested = await torchFile(
    "x",
    encoderSpecs(rar.encoderModules, rarTokenizer).map(({ name, shape }) => ({
      name: name.replace(/^encoder/, "encoder_state_dict"),
      shape,
    })),
  );
  await withFile("nested.pth", nested, async (path) => {
    const source = encoderSource(await openCheckpoint(path), rar, encoderSpecs(rar.encoderModules, rarTokenizer));
    assert.ok(source.tensors.has("encoder.conv_in.weight"));
    source.close();
  });
  await withFile("other.pth", await torchFile("x", [{ name: "head.weight", shape: [2, 2] }]), async (path) => {
    const source = await openCheckpoint(path);
    assert.throws(
      () => encoderSource(source, varFamily, specs),
      /^Error: other\.pth: is no encoder of the var tokenizer: expected tensors such as encoder\.conv_in\.weight or module0\.conv_in\.weight, got head\.weight$/,
    );
    source.close();
  });
});
