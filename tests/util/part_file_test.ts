/** Files that get their names when they are complete, and processes that want to write the same one. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { PartFile, writeFileAtomically } from "../../util/files.ts";
import { withFolder } from "../attribution/files.ts";

const module = new URL("../../util/files.ts", import.meta.url).href;

Deno.test("PartFile.create() refuses a file that is being written, and takes over what a killed process left", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "table.csv");
    const program = `
      const { PartFile } = await import(${JSON.stringify(module)});
      const file = await PartFile.create("--out", ${JSON.stringify(path)});
      await file.write("of the killed process\\n".repeat(1000));
      console.log("writing");
      await new Promise(() => setInterval(() => {}, 1000));`;
    const process = new Deno.Command(Deno.execPath(), { args: ["eval", program], stdout: "piped" }).spawn();
    const reader = process.stdout.getReader();
    await reader.read();
    const refused = /--out .*table\.csv: another run is writing this file: wait until it ends, or name another file/;
    await assert.rejects(PartFile.create("--out", path), refused);
    process.kill("SIGKILL");
    await process.status;
    await reader.cancel();
    assert.ok((await Deno.stat(`${path}.part`)).size > 0, "left behind");

    const file = await PartFile.create("--out", path);
    await assert.rejects(PartFile.create("--out", path), refused);
    await file.write("whole\n");
    await file.finish();
    await file.discard();
    assert.equal(await Deno.readTextFile(path), "whole\n");
    const next = await PartFile.create("--out", path);
    await next.discard();
    assert.equal(await Deno.readTextFile(path), "whole\n");
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir), ({ name }) => name), ["table.csv"]);
  });
});

Deno.test("PartFile writes short texts together, long ones at once, and all of them in their order", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "table.csv"), size = async () => (await Deno.stat(`${path}.part`)).size;
    const file = await PartFile.create("--out", path);
    const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}\n`);
    for (const line of lines.slice(0, 500)) await file.write(line);
    assert.ok(await size() < lines.slice(0, 500).join("").length, "waiting");
    await file.write("x".repeat(70_000));
    assert.equal(await size(), lines.slice(0, 500).join("").length + 70_000);
    for (const line of lines.slice(500)) await file.write(line);
    await file.finish();
    const whole = [...lines.slice(0, 500), "x".repeat(70_000), ...lines.slice(500)].join("");
    assert.equal(await Deno.readTextFile(path), whole);
  });
});

Deno.test("writeFileAtomically() by many at once leaves one whole text", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "x.json");
    const texts = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(100_000));
    await Promise.all(texts.map((text) => writeFileAtomically(path, text)));
    assert.ok(texts.includes(await Deno.readTextFile(path)));
    assert.deepEqual(await Array.fromAsync(Deno.readDir(dir), ({ name }) => name), ["x.json"]);
  });
});
