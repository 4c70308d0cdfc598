import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

Deno.test("giveUpLoading() leaves a process and its thread without modules and threads, whatever their permissions", async () => {
  const program = fileURLToPath(new URL("./confined.ts", import.meta.url));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", program] }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const refused = "decoding: expected no further module";
  for (const outcomes of JSON.parse(new TextDecoder().decode(stdout))) {
    const { "a thread": thread, "a thread of Node's": nodes, ...modules } = outcomes;
    assert.equal(thread, "Worker is not defined");
    assert.equal(nodes, "process.getBuiltinModule is not a function");
    assert.equal(Object.keys(modules).length, 5);
    for (const [name, outcome] of Object.entries(modules)) {
      assert.ok((outcome as string).endsWith(refused), `${name}: ${outcome}`);
    }
  }
});
