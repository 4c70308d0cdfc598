/**
 * The tests of the WebGPU device on other drivers and with other tiles than those that this machine's adapter chooses: in
 * processes of their own, as drivers are chosen once per process. SwiftShader is the Vulkan driver that Debian's chromium
 * brings along; SWIFTSHADER_ICD is another place of its manifest.
 */
import assert from "node:assert/strict";
import { cpuOnly } from "./devices.ts";

const swiftShader = Deno.env.get("SWIFTSHADER_ICD") ?? "/usr/lib/chromium/vk_swiftshader_icd.json";
const hasSwiftShader = await Deno.stat(swiftShader).then(({ isFile }) => isFile, () => false);

const kernels = ["attention", "conv2d", "elementwise", "matmul", "norm_gradient", "norm", "shape", "weight_gradient"]
  .map((name) => `tests/core/kernels/${name}_test.ts`);
/** Memory, order, errors, ops and their gradients. */
const others = [
  ...["device_test.ts", "wgsl/pool_test.ts", "wgsl/recorder_test.ts", "wgsl/tiles_test.ts"],
  ...["gradients", "op", "ops", "optim", "tensor", "ops/resize"].map((name) => `tensor/${name}_test.ts`),
].map((path) => `tests/core/${path}`);
const networks = ["--filter", String.raw`/^parity: case0[1-6].*\[webgpu\]/`, "tests/parity/kinds_test.ts"];

interface Run {
  /** Test files, and other arguments of `deno test`. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Fewest tests that there must be. */
  readonly least: number;
}

const hardware = { MODEL_TRACER_TILES: "hardware" };
const software = { MODEL_TRACER_TILES: "software" };
const swift = { VK_DRIVER_FILES: swiftShader };

const runs: Readonly<Record<string, Run>> = {
  "hardware tiles": { args: [...kernels, ...others], env: hardware, least: 250 },
  "networks of cases 01 to 06, hardware tiles": { args: networks, env: hardware, least: 13 },
  ...hasSwiftShader && {
    "SwiftShader, software tiles": { args: [...kernels, ...others], env: { ...swift, ...software }, least: 250 },
    // Neither kernels nor gradients: every program with blocks takes SwiftShader seconds, and up to a gigabyte it keeps.
    "SwiftShader, hardware tiles": {
      args: others.filter((file) => !file.endsWith("gradients_test.ts")),
      ...{ env: { ...swift, ...hardware }, least: 90 },
    },
  },
};

/** What a process prints. Throws with all of it when the process fails. */
async function output(args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (!success) throw new Error(text);
  return text;
}

/** Name of the adapter, and the tiles of a device, in a process with these variables. */
async function deviceUnder(env: Readonly<Record<string, string>>): Promise<string> {
  const module = import.meta.resolve("../../core/mod.ts");
  const code = `import { openDevice } from ${JSON.stringify(module)};
const device = await openDevice("webgpu");
console.log(device.info.name + ", " + device.tiles + " tiles");
device.close();`;
  return (await output(["run", "-A", "--no-check", "data:application/typescript," + encodeURIComponent(code)], env))
    .trim();
}

if (!cpuOnly) {
  if (!hasSwiftShader) console.log(`not run on SwiftShader: there is no ${swiftShader} (apt-get install chromium)`);
  for (const [name, { args, env, least }] of Object.entries(runs)) {
    Deno.test(`tests of the device pass: ${name}`, async () => {
      const device = await deviceUnder(env);
      if (env.VK_DRIVER_FILES) assert.match(device, /SwiftShader/);
      assert.ok(device.endsWith(`, ${env.MODEL_TRACER_TILES} tiles`), device);
      const text = await output(["test", "-A", "--no-check", ...args], { ...env, MODEL_TRACER_WEBGPU_ONLY: "1" });
      const [, passed, failed] = /(\d+) passed(?: \(.*\))? \| (\d+) failed/.exec(text) ?? [];
      assert.equal(failed, "0", text);
      assert.ok(Number(passed) >= least, `${passed} tests, expected ${least}`);
      console.log(`${device}: ${passed} tests passed`);
    });
  }
}
