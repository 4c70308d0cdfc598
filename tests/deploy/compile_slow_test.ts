/**
 * `deno task compile`, as far as it can be known without the runtime that `deno compile` downloads: Deno itself stands in for
 * it, so that the files are written but do not run, and a script for the program that is its own decoder.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import "npm:@imagemagick/magick-wasm@0.0.43";
import manifest from "../../deno.json" with { type: "json" };
import { ownDecoder, ProcessDecoder } from "../../attribution/images/decoder/mod.ts";
import { buildSources, compileWords, entryName, type Program, rightsOf } from "../../tasks/compile.ts";
import { withFolder } from "../attribution/files.ts";
import { asCompiled } from "../attribution/images/decoder/as_compiled.ts";
import { hostileFiles } from "../attribution/images/decoder/hostile.ts";
import { goldenImage } from "../attribution/images/fixtures.ts";
import { root } from "../tasks/processes.ts";

const only = (words: readonly string[]) => words.filter((word) => /^--(allow|deny|no-prompt)/.test(word)).sort();

for (const name of ["attribute", "serve"] as const) {
  Deno.test(`the compiled program ${name} has the rights of its task, but that it may start itself only`, () => {
    const task = only(manifest.tasks[name].replace(/\$\([^)]*\)/, "").split(" "));
    const words = compileWords(name, manifest, "program");
    assert.deepEqual(only(words), task.map((word) => word.replace("--allow-run=deno", "--allow-run=/proc/self/exe")));
    assert.deepEqual(rightsOf(manifest.tasks[name]).sort(), only(words));
    assert.ok(!words.some((word) => /bounds-checks/.test(word)), "it decodes images");
  });
}

const latin1 = new TextDecoder("latin1");

/** Whether a program, as text of its bytes, has in one piece what lies in the middle of a file. */
async function embeds(program: string, path: string): Promise<boolean> {
  const part = await Deno.readFile(path);
  const at = part.length >> 1;
  return program.includes(latin1.decode(part.subarray(at, at + 200)));
}

const weights = ["weights/tiny/vqvae.safetensors", "weights/tiny/calibration.json", "weights/official.json"];
const page = ["index.html", "style.css", "app.js", "unzip_worker.js", "icon.svg", "vendor/fflate.js"];
const embedded: Readonly<Record<Program, readonly string[]>> = {
  attribute: weights,
  serve: [...weights, ...page.map((name) => `attribution/service/page/${name}`)],
};

/** Of threads, which nothing imports, a line that no other module has. */
const decoderThread = ["decoder_thread.js", 'giveUpLoading();\nscope.postMessage("ready");'] as const;
const threads: Readonly<Record<Program, readonly (readonly [name: string, line: string])[]>> = {
  attribute: [decoderThread],
  serve: [decoderThread, ["device_worker.js", 'type: "opened"']],
};

Deno.test("compile writes files with the embedded set and all else that the programs read or start", async () => {
  await withFolder(async (dir) => {
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "compile", "--quiet", "--out", dir],
      cwd: root,
      env: { DENORT_BIN: Deno.execPath(), NO_COLOR: "1" },
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    const files = Object.keys(embedded).map((name) => join(dir, `model-tracer-${name}`));
    assert.equal(new TextDecoder().decode(stdout), files.map((file) => `${file}\n`).join(""));
    const wasm = createRequire(import.meta.url).resolve("@imagemagick/magick-wasm/magick.wasm");
    for (const [i, [name, paths]] of Object.entries(embedded).entries()) {
      const program = latin1.decode(await Deno.readFile(files[i]));
      for (const path of paths) assert.ok(await embeds(program, join(root, path)), `${name}: ${path}`);
      assert.ok(await embeds(program, wasm), "what decodes images");
      for (const [thread, line] of threads[name as Program]) assert.ok(program.includes(line), `${name}: ${thread}`);
    }
  });
});

Deno.test("100 hostile files have no effect on the process that asks a compiled program's decoder", async () => {
  await withFolder(async (dir) => {
    await buildSources(root, dir);
    await asCompiled(join(dir, entryName("serve")), async (executable) => {
      await using decoder = new ProcessDecoder({ executable, isCompiled: true });
      const good = goldenImage("img0_64x64.png"), input = { imageName: "hostile" };
      const files = hostileFiles([good], 100);
      const outcomes = await Promise.allSettled(files.map(({ bytes }) => decoder.pixels(input, bytes, [16], 2 ** 22)));
      for (const [i, told] of outcomes.entries()) {
        const [own] = await Promise.allSettled([ownDecoder.pixels(input, files[i].bytes, [16], 2 ** 22)]);
        assert.equal(told.status, own.status, files[i].name);
        if (own.status === "fulfilled") assert.deepEqual((told as typeof own).value, own.value, files[i].name);
        else assert.equal((told as typeof own).reason.message, own.reason.message, files[i].name);
      }
      assert.ok(outcomes.filter(({ status }) => status === "rejected").length > 50);
      assert.deepEqual(await decoder.pixels(input, good, [16]), await ownDecoder.pixels(input, good, [16]));
    }, dir);
  });
});
