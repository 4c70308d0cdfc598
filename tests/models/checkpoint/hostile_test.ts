// Files that are damaged or mean harm. What is asked of every one of them: opening it ends, with an Error that begins
// with the file's name, and nothing that the file says is ever executed.

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { openCheckpoint, writeSafetensors } from "../../../models/checkpoint/mod.ts";
import { bytes, f32Bytes, GOLDEN, op, type Part, tensorParts, torchLegacy, torchZip, withFile } from "./build.ts";

const MARKER = "checkpoint-test-marker";

/** Opens a file and reads all of it; errors must name the file. */
async function openAndRead(path: string): Promise<"read" | "refused"> {
  const name = path.slice(path.lastIndexOf("/") + 1);
  try {
    const source = await openCheckpoint(path);
    try {
      for (const tensor of source.tensors.keys()) await source.readF32(tensor);
    } finally {
      source.close();
    }
    return "read";
  } catch (error) {
    assert.ok(error instanceof Error, String(error));
    assert.ok(error.message.startsWith(`${name}: `), error.message);
    return "refused";
  }
}

const command = op.text(`touch ${MARKER}`);
const ATTACKS: Record<string, { parts: Part; named: RegExp }> = {
  "GLOBAL and REDUCE": {
    parts: [op.proto(2), op.global("os", "system"), command, 0x85, "R."],
    named: /refuses global os\.system; only collections\.OrderedDict.* are allowed/,
  },
  "STACK_GLOBAL and REDUCE": {
    parts: [op.proto(4), op.stackGlobal("posix", "system"), command, 0x85, "R."],
    named: /refuses global posix\.system; only/,
  },
  "NEWOBJ": {
    parts: [op.proto(2), op.global("subprocess", "Popen"), command, 0x85, 0x81, "."],
    named: /refuses global subprocess\.Popen; only/,
  },
  "NEWOBJ_EX": {
    parts: [op.proto(4), op.stackGlobal("subprocess", "Popen"), command, 0x85, "}", 0x92, "."],
    named: /refuses global subprocess\.Popen; only/,
  },
  "INST": { parts: ["(", command, "ios\nsystem\n."], named: /refuses global os\.system; only/ },
  "OBJ": { parts: ["(", op.global("os", "system"), command, "o."], named: /refuses global os\.system; only/ },
  "BUILD of a state with __reduce__": {
    parts: [op.proto(2), op.global("builtins", "object"), ")", 0x81, "}", op.text("__reduce__"), "Nsb."],
    named: /refuses global builtins\.object; only/,
  },
  "BUILD of a global": {
    parts: [op.proto(2), op.global("torch", "float32"), "}b."],
    named: /refuses to set attributes of torch\.float32/,
  },
  "EXT1": { parts: [op.proto(2), 0x82, 1, command, 0x85, "R."], named: /refuses extension code 1; only/ },
  "a global inside a tensor's hooks": {
    parts: [
      op.proto(2),
      "}",
      op.text("w"),
      op.global("torch._utils", "_rebuild_tensor_v2"),
      "(",
      op.global("os", "system"),
    ],
    named: /refuses global os\.system; only/,
  },
  "a callable hidden in an allowed name": {
    parts: [op.proto(2), op.global("torch.storage", "_load_from_bytes"), "C", 1, "x", 0x85, "R."],
    named: /refuses global torch\.storage\._load_from_bytes; only/,
  },
  "a persistent id that is a module": {
    parts: [op.proto(2), op.tuple(op.text("module"), op.text("net"), op.text("net.py"), op.text("import os")), "Q."],
    named: /refuses persistent id of kind "module"; only storages are/,
  },
};

for (const [name, { parts, named }] of Object.entries(ATTACKS)) {
  Deno.test(`openCheckpoint() refuses a pickle that calls os.system by ${name}, zip and legacy`, async () => {
    const storages = { "0": { length: 1, data: f32Bytes(1) } };
    const files = [await torchZip(bytes(parts), { "0": f32Bytes(1) }), torchLegacy(bytes(parts), storages)];
    for (const file of files) {
      await withFile("evil.pth", file, (path) =>
        assert.rejects(openCheckpoint(path), (error: Error) => {
          assert.ok(error.message.startsWith("evil.pth: pickle: "), error.message);
          assert.match(error.message, named);
          return true;
        }));
    }
    await assert.rejects(Deno.stat(MARKER), Deno.errors.NotFound);
  });
}

Deno.test("openCheckpoint() refuses a harmless checkpoint as soon as one value of it names a function", async () => {
  const pickle = bytes(
    op.proto(2),
    "}(",
    [op.text("w"), tensorParts({ name: "w", shape: [1], length: 1 })],
    [op.text("x"), op.global("os", "system"), command, 0x85, "R"],
    "u.",
  );
  await withFile(
    "mixed.pth",
    await torchZip(pickle, { "0": f32Bytes(1) }),
    (path) => assert.rejects(openCheckpoint(path), /^Error: mixed\.pth: pickle: refuses global os\.system; only/),
  );
});

Deno.test("openCheckpoint() reports truncated files by name, wherever they were cut", async () => {
  const folder = await Deno.makeTempDir({ prefix: "checkpoint-test-" });
  try {
    const safetensors = `${folder}/whole.safetensors`;
    await writeSafetensors(safetensors, [
      { name: "a", shape: [3, 5], dtype: "f32", data: () => new Float32Array(15) },
      { name: "b", shape: [9], dtype: "u8", data: () => new Uint8Array(9) },
    ]);
    const files = [safetensors];
    for (const entry of Deno.readDirSync(`${GOLDEN}checkpoints`)) files.push(`${GOLDEN}checkpoints/${entry.name}`);
    for (const file of files) {
      const whole = await Deno.readFile(file);
      const cuts = new Set<number>();
      const small = whole.length < 8000;
      for (let at = 0; at < whole.length; at += small ? 37 : Math.ceil(whole.length / 20)) cuts.add(at);
      for (let back = 1; back < 200; back += 13) cuts.add(Math.max(0, whole.length - back));
      for (let at = 0; at < 600; at += 41) cuts.add(at);
      for (const at of cuts) {
        if (at >= whole.length) continue;
        const path = `${folder}/cut`;
        await Deno.writeFile(path, whole.subarray(0, at));
        await assert.rejects(openCheckpoint(path), (error: Error) => {
          assert.ok(error.message.startsWith("cut: "), error.message);
          return true;
        }, `${file} cut at ${at}`);
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("openCheckpoint() reads or refuses files with random damage, and always names them", async () => {
  const names = ["views_shared.pth", "views_shared_legacy.pth", "proto4.pth", "list_of_tensors.pth", "parameters.pth"];
  const originals = names.map((name) => Deno.readFileSync(`${GOLDEN}checkpoints/${name}`));
  const folder = await Deno.makeTempDir({ prefix: "checkpoint-test-" });
  const counts = { read: 0, refused: 0 };
  try {
    const damage = fc.record({
      which: fc.nat(names.length - 1),
      changes: fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 127, 128, 255))), {
        minLength: 1,
        maxLength: 6,
      }),
      // most of these files is padding: aim at the pickle and at the directory, too
      where: fc.constantFrom("anywhere", "start", "end"),
    });
    await fc.assert(
      fc.asyncProperty(damage, async ({ which, changes, where }) => {
        const content = originals[which].slice();
        for (const [at, value] of changes) {
          const span = where === "anywhere" ? content.length : Math.min(1500, content.length);
          content[where === "end" ? content.length - 1 - at % span : at % span] = value;
        }
        const path = `${folder}/damaged.pth`;
        await Deno.writeFile(path, content);
        counts[await openAndRead(path)]++;
      }),
      { numRuns: 600 },
    );
    assert.ok(counts.read > 0 && counts.refused > 0, `both must occur: ${JSON.stringify(counts)}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("openCheckpoint() says what a file is that is no checkpoint", async () => {
  const cases: [Part, RegExp][] = [
    ["", /is empty, not a checkpoint/],
    ["version https://git-lfs.github.com/spec/v1\noid sha256:00\n", /got a Git LFS pointer/],
    ["<!DOCTYPE html><html></html>", /got a web page/],
    ["hello, this is a text file\n", /got a file that begins with "hello, this is a"/],
    ["hi", /got 2 bytes: truncated\?/],
    [["\x89PNG\r\n\x1a\n", Array(100).fill(0)], /is not a checkpoint: expected a safetensors file or a PyTorch file/],
    [[op.proto(4), "}.".padEnd(20, "x")], /got a pickle without PyTorch's magic number/],
    [["x".repeat(257), "ustar", Array(400).fill(0)], /got a tar archive/],
    ["01234567{ braces in a text", /is not a checkpoint/],
  ];
  for (const [content, message] of cases) {
    await withFile("thing.bin", bytes(content), (path) =>
      assert.rejects(openCheckpoint(path), (error: Error) => {
        assert.ok(error.message.startsWith("thing.bin: "), error.message);
        assert.match(error.message, message);
        return true;
      }));
  }
});

Deno.test("openCheckpoint() names missing files and folders without their full path", async () => {
  await assert.rejects(
    openCheckpoint("/nowhere/at/all/var_d16.pth"),
    /^Error: var_d16\.pth: cannot be opened: no such file$/,
  );
  await withFile("x", bytes("x"), async (path) => {
    const folder = path.slice(0, -2);
    await assert.rejects(openCheckpoint(folder), /: cannot be opened: not a regular file$/);
  });
});
