/**
 * `deno task compile`, as far as it can be known without the runtime that `deno compile` downloads: Deno itself stands in for
 * it, so that the file is written but does not run.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import "npm:@imagemagick/magick-wasm@0.0.43";
import manifest from "../../deno.json" with { type: "json" };
import { withFolder } from "../attribution/files.ts";
import { root } from "../tasks/processes.ts";

const rights = (line: string) => line.split(" ").filter((word) => /^--(allow|deny|no-prompt)/.test(word)).sort();

Deno.test("the compiled program has the rights of attribute, but that it starts no process", () => {
  const { attribute, compile } = manifest.tasks;
  assert.deepEqual(rights(compile), rights(attribute.replace(/\$\([^)]*\)/, "").replace(" --allow-run=deno", "")));
});

const latin1 = new TextDecoder("latin1");

/** Whether a program, as text of its bytes, has in one piece what lies in the middle of a file. */
async function embeds(program: string, path: string): Promise<boolean> {
  const part = await Deno.readFile(path);
  const at = part.length >> 1;
  return program.includes(latin1.decode(part.subarray(at, at + 200)));
}

const embedded = ["weights/tiny/vqvae.safetensors", "weights/tiny/calibration.json", "weights/official.json"];

Deno.test("compile writes one file with the embedded set and all else that attribute reads", async () => {
  await withFolder(async (dir) => {
    const line = manifest.tasks.compile.split(" ").slice(1);
    const file = join(dir, "attribute");
    line[line.indexOf("--output") + 1] = file;
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: line,
      cwd: root,
      env: { DENORT_BIN: Deno.execPath(), NO_COLOR: "1" },
      stdout: "null",
      stderr: "piped",
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    const program = latin1.decode(await Deno.readFile(file));
    for (const path of embedded) assert.ok(await embeds(program, join(root, path)), path);
    const wasm = createRequire(import.meta.url).resolve("@imagemagick/magick-wasm/magick.wasm");
    assert.ok(await embeds(program, wasm), "what decodes images");
  });
});
