/** What the environment says when an adapter is asked for, in processes of their own, as it is set once. */
import assert from "node:assert/strict";
import { cpuOnly } from "../devices.ts";

const module = import.meta.resolve("../../../core/wgsl/adapter.ts");
const program = `import { probeWebGpu } from ${JSON.stringify(module)};
await probeWebGpu();
console.log(Deno.env.get("DENO_WEBGPU_BACKEND") ?? "unset");`;

async function backend(allow: string, env: Record<string, string> = {}): Promise<string> {
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-env=" + allow, "data:application/typescript," + encodeURIComponent(program)],
    env,
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

if (!cpuOnly && Deno.build.os === "linux") {
  Deno.test("an adapter is asked for with the Vulkan backend alone, unless the user says otherwise", async () => {
    const both = "DENO_WEBGPU_BACKEND,XDG_RUNTIME_DIR";
    assert.equal(await backend(both), "vulkan");
    assert.equal(await backend(both, { DENO_WEBGPU_BACKEND: "vulkan,gl" }), "vulkan,gl");
  });
}
