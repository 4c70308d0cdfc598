/** Tests that look at the whole process, such as at its memory: other test files run in the same one at the same time. */
import assert from "node:assert/strict";

/** Registers a test that runs in a process of its own. `file` is the test file's import.meta.filename. */
export function testAlone(file: string, name: string, body: () => Promise<void>): void {
  if (Deno.args.includes("--alone")) return Deno.test(name, body); // this is that process
  Deno.test(name, async () => {
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", "--filter", name, file, "--", "--alone"],
      env: { NO_COLOR: "1" },
    }).output();
    const [out, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assert.ok(success, out + problem);
    assert.match(out, /^ok \| 1 passed \| 0 failed/m);
  });
}
