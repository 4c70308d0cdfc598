// The build for engines that join two 128-bit operations into one of 256 bits: the same bits, joined or not.
import assert from "node:assert/strict";
import { bestBuild, hasRelaxedSimd, joiningFlags, joinsVectors } from "../../../core/cpu/engine.ts";
import { hashesOfAll } from "./wide_hashes.ts";

/** What a program prints that is run under V8's `flags`. */
async function underFlags(flags: readonly string[], permissions: readonly string[], code: string): Promise<unknown> {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", ...permissions, code],
    env: { DENO_V8_FLAGS: flags.join(","), NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

const engine = JSON.stringify(import.meta.resolve("../../../core/cpu/engine.ts"));

Deno.test("the wide kernels give the bits of the others", async () => {
  const { build, hashes } = await hashesOfAll("wide");
  assert.equal(build, "wide");
  assert.ok(Object.keys(hashes).length > 20);
  assert.deepEqual(hashes, (await hashesOfAll("relaxed")).hashes);
});

Deno.test("under V8's joining flags the wide kernels are chosen, and give the same bits", async () => {
  const own = JSON.stringify(import.meta.resolve("./wide_hashes.ts"));
  const found = await underFlags(
    joiningFlags,
    [],
    `
    const { hashesOfAll } = await import(${own});
    console.log(JSON.stringify(await hashesOfAll()));
  `,
  ) as { build: string; hashes: Record<string, string> };
  assert.equal(found.build, Deno.build.arch === "x86_64" ? "wide" : bestBuild());
  assert.deepEqual(found.hashes, (await hashesOfAll("relaxed")).hashes);
});

Deno.test("the wide kernels are not chosen without the flags", async () => {
  const chosen = (flags: readonly string[]) =>
    underFlags(
      flags,
      [],
      `
      const { bestBuild } = await import(${engine});
      console.log(JSON.stringify(bestBuild()));
    `,
    );
  assert.equal(await chosen(["--expose-gc"]), hasRelaxedSimd() ? "relaxed" : "plain");
  assert.notEqual(await chosen(joiningFlags.slice(0, 1)), "wide");
  assert.equal(
    await chosen(joiningFlags.map((flag) => flag.replaceAll("-", "_").replace("__", "--"))),
    await chosen(joiningFlags),
  );
});

Deno.test("joinsVectors() is false where the environment may not be read", { permissions: { env: false } }, () => {
  assert.equal(joinsVectors(), false);
});
