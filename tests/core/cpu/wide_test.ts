// The build for engines that join two 128-bit operations into one of 256 bits: the same bits, joined or not.
import assert from "node:assert/strict";
import { bestBuild, hasRelaxedSimd, liftsBoundsChecks, wideFlags } from "../../../core/cpu/engine.ts";
import { v8Flags } from "../../../tasks/v8_flags.ts";
import { hashesOfAll } from "./wide_hashes.ts";

/** What a program prints that is run under V8's `flags`. */
async function underFlags(flags: readonly string[], code: string): Promise<unknown> {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", ...flags.length > 0 ? [`--v8-flags=${flags}`] : [], code],
    env: { NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

const engine = JSON.stringify(import.meta.resolve("../../../core/cpu/engine.ts"));

/** Whether this Deno knows the flags: it is built for x64. */
const isWide = Deno.build.arch === "x86_64";

Deno.test("the wide kernels give the bits of the others", async () => {
  const { build, hashes } = await hashesOfAll("wide");
  assert.equal(build, "wide");
  assert.ok(Object.keys(hashes).length > 20);
  assert.deepEqual(hashes, (await hashesOfAll("relaxed")).hashes);
});

Deno.test("under V8's joining flags the wide kernels are chosen, and give the same bits", async () => {
  const own = JSON.stringify(import.meta.resolve("./wide_hashes.ts"));
  const flags = (await v8Flags()).split(",");
  assert.deepEqual(flags, isWide ? wideFlags : ["--wasm-bounds-checks"]);
  const found = await underFlags(
    flags,
    `
    const { hashesOfAll } = await import(${own});
    console.log(JSON.stringify(await hashesOfAll()));
  `,
  ) as { build: string; hashes: Record<string, string> };
  assert.equal(found.build, isWide ? "wide" : bestBuild());
  assert.deepEqual(found.hashes, (await hashesOfAll("relaxed")).hashes);
});

Deno.test("a program sees whether it runs under the flags, in its workers as well", async () => {
  assert.equal(liftsBoundsChecks(), false);
  const chosen = (flags: readonly string[]) =>
    underFlags(
      flags,
      `
      const code = 'import { bestBuild } from "' + ${engine} + '"; postMessage(bestBuild()); close()';
      const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
      const worker = new Worker(url, { type: "module" });
      const ofWorker = await new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
      const { bestBuild } = await import(${engine});
      console.log(JSON.stringify([bestBuild(), ofWorker]));
    `,
    );
  const usual = hasRelaxedSimd() ? "relaxed" : "plain";
  assert.deepEqual(await chosen([]), [usual, usual]);
  assert.deepEqual(await chosen(["--expose-gc"]), [usual, usual]);
  if (isWide) assert.deepEqual(await chosen(wideFlags), ["wide", "wide"]);
});

Deno.test("V8 does not start under a flag that it does not know, which v8Flags() leaves out therefore", async () => {
  await assert.rejects(underFlags(["--experimental-wasm-revectorise"], "0"), /did not recognize flag/);
});
