/**
 * Which adapters are software, and what the environment says when one is asked for; that in processes of their own, as it
 * is set once.
 */
import assert from "node:assert/strict";
import { type AdapterFacts, isSoftware, tilesOf } from "../../../core/wgsl/adapter.ts";
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

const tiles = `import { openDevice } from ${JSON.stringify(import.meta.resolve("../../../core/mod.ts"))};
try {
  const device = await openDevice("webgpu");
  console.log(device.tiles);
  device.close();
} catch (error) {
  console.log(String(error));
}`;

const backend = (allow: string, env?: Record<string, string>) => run(program, ["--allow-env=" + allow], env);

async function run(code: string, rights: string[], env: Record<string, string> = {}): Promise<string> {
  const { stdout, stderr, code: status } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--no-prompt", ...rights, "data:application/typescript," + encodeURIComponent(code)],
    env,
  }).output();
  assert.equal(status, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

const facts = (known: Partial<AdapterFacts>): AdapterFacts => ({
  ...{ vendor: "", architecture: "", device: "", description: "", isFallbackAdapter: false },
  ...known,
});

Deno.test("isSoftware() goes by the fallback flag, names, and the numbers that Deno gives for vendor and device", () => {
  const software = [
    { isFallbackAdapter: true },
    { vendor: "65541", device: "0", description: "llvmpipe (LLVM 15.0.6, 256 bits)" }, // Deno, as the next two
    { vendor: "65541", device: "0" },
    { vendor: "6880", device: "49374" },
    { vendor: "5140", device: "140" },
    { vendor: "google", architecture: "swiftshader" }, // a page in Chromium, as the next
    { vendor: "microsoft", architecture: "warp" },
    { description: "Microsoft Basic Render Driver" },
  ];
  for (const known of software) assert.ok(isSoftware(facts(known)), JSON.stringify(known));
  const hardware = [
    {},
    { vendor: "4318", device: "9011", description: "NVIDIA H200" },
    { vendor: "nvidia", architecture: "hopper" },
    { vendor: "6880", device: "1" },
    { vendor: "5140", device: "141", description: "Microsoft Azure GPU" },
    { vendor: "32902", description: "Intel(R) Graphics (Warped Lake)" },
  ];
  for (const known of hardware) assert.ok(!isSoftware(facts(known)), JSON.stringify(known));
});

Deno.test("tilesOf() takes the program's choice, and refuses tiles that there are not", () => {
  for (const choice of ["auto", "hardware", "software"] as const) assert.equal(tilesOf(choice), choice);
  assert.throws(() => tilesOf("large" as "auto"), {
    name: "TypeError",
    message: "tiles: expected auto, hardware or software, got large",
  });
});

if (!cpuOnly && Deno.build.os === "linux") {
  Deno.test("an adapter is asked for with the Vulkan backend alone, unless the user says otherwise", async () => {
    const both = "DENO_WEBGPU_BACKEND,XDG_RUNTIME_DIR";
    assert.equal(await backend(both), "vulkan");
    assert.equal(await backend(both, { DENO_WEBGPU_BACKEND: "vulkan,gl" }), "vulkan,gl");
  });

  Deno.test("MODEL_TRACER_TILES chooses the tiles of a device, where it may be read, and is refused when it is wrong", async () => {
    const opened = (value: string, rights = ["-A"]) => run(tiles, rights, { MODEL_TRACER_TILES: value });
    const usual = await opened("auto");
    const other = usual === "hardware" ? "software" : "hardware";
    assert.equal(await opened(other), other);
    assert.equal(await opened(other, []), usual);
    assert.equal(
      await opened("large"),
      "TypeError: MODEL_TRACER_TILES: expected auto, hardware or software, got large",
    );
  });

  Deno.test("a device is opened without loading EGL, whose teardown crashes at exit", async () => {
    assert.equal(await run(libraries, ["-A"]), "no EGL");
  });
}
