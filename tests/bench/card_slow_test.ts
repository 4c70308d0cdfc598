/** bench/card.ts on a software adapter: parts run as processes, and their results are in the file. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

async function card(...args: readonly string[]) {
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", "bench/card.ts", ...args], cwd: root });
  const { code, stderr } = await command.output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

Deno.test("card --quick runs parts and writes their results", async () => {
  const folder = await Deno.makeTempDir();
  const out = join(folder, "card.json");
  const { code, stderr } = await card("--quick", "--only", "parity,timestamps,attribution", "--out", out);
  assert.equal(code, 0, stderr);
  const { parts, skipped, quick } = JSON.parse(await Deno.readTextFile(out));
  assert.deepEqual([skipped, quick], [[], true]);
  const results = Object.fromEntries(
    parts.map(({ name, result }: { name: string; result: unknown }) => [name, result]),
  );
  assert.deepEqual(results.parity.failed, []);
  assert.ok(results.parity.tensors > 10);
  assert.ok(results.timestamps.profiles[0].byKernel[0].seconds > 0);
  assert.equal(results.attribution.images.done, 4);
  assert.ok(results.attribution.memory.devicePeakBytes <= results.attribution.memory.limitBytes);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("card notes what there was no time for, and refuses parts that there are not", async () => {
  const folder = await Deno.makeTempDir();
  const out = join(folder, "card.json");
  const { code } = await card("--quick", "--only", "attribution,service", "--minutes", "0.05", "--out", out);
  assert.equal(code, 1);
  const { parts, skipped } = JSON.parse(await Deno.readTextFile(out));
  assert.deepEqual([parts[0].name, parts[0].stopped, skipped], ["attribution", true, ["service"]]);
  assert.match((await card("--quick", "--only", "all")).stderr, /--only expects tests, parity, .*, got all/);
  await Deno.remove(folder, { recursive: true });
});
