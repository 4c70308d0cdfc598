/** What the environment says when an adapter is asked for, in processes of their own, as it is set once. */
import assert from "node:assert/strict";
import { cpuOnly } from "../devices.ts";

const module = import.meta.resolve("../../../core/wgsl/adapter.ts");
const program = `import { probeWebGpu } from ${JSON.stringify(module)};
await probeWebGpu();
console.log(Deno.env.get("DENO_WEBGPU_BACKEND") ?? "unset");`;

// Says whether the dispatcher of OpenGL's windows was loaded, whose teardown crashes.
const libraries = `import { openDevice } from ${JSON.stringify(import.meta.resolve("../../../core/mod.ts"))};
const device = await openDevice("webgpu");
console.log(/libEGL\\.so/.test(await Deno.readTextFile("/proc/self/maps")) ? "EGL" : "no EGL");
device.close();`;

const backend = (allow: string, env?: Record<string, string>) => run(program, ["--allow-env=" + allow], env);

async function run(code: string, rights: string[], env: Record<string, string> = {}): Promise<string> {
  const { stdout, stderr, code: status } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--no-prompt", ...rights, "data:application/typescript," + encodeURIComponent(code)],
    env,
  }).output();
  assert.equal(status, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

if (!cpuOnly && Deno.build.os === "linux") {
  Deno.test("an adapter is asked for with the Vulkan backend alone, unless the user says otherwise", async () => {
    const both = "DENO_WEBGPU_BACKEND,XDG_RUNTIME_DIR";
    assert.equal(await backend(both), "vulkan");
    assert.equal(await backend(both, { DENO_WEBGPU_BACKEND: "vulkan,gl" }), "vulkan,gl");
  });

  Deno.test("a device is opened without loading EGL, whose teardown crashes at exit", async () => {
    assert.equal(await run(libraries, ["-A"]), "no EGL");
  });
}
