/**
 * All tests of the WebGPU device, and all small parity cases, on other drivers and with other tiles than those that this
 * machine's adapter chooses. Every test file runs in a process of its own: drivers are chosen once per process, and
 * SwiftShader keeps the memory of what it compiled. It is the Vulkan driver that Debian's chromium brings along;
 * SWIFTSHADER_ICD is another place of its manifest. docs/gpu.md has figures of a run.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { cpuOnly } from "./devices.ts";
import { processUse } from "./process_use.ts";

const swiftShader = Deno.env.get("SWIFTSHADER_ICD") ?? "/usr/lib/chromium/vk_swiftshader_icd.json";
const hasSwiftShader = await Deno.stat(swiftShader).then(({ isFile }) => isFile, () => false);

/** A test file, or those of its tests that a filter chooses, in a process of its own. */
interface Part {
  readonly file: string;
  readonly filter?: string;
}

/** A driver and a kind of tiles. */
interface Run {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly parts: readonly Part[];
  /** Fewest tests that all parts have together. */
  readonly least: number;
}

/** Cases of the official networks: tokenizers and transformers, training, attacks and membership, LlamaGen. */
const parity: readonly Part[] = [
  ...["0[1-5]", "06", "(0[7-9]|1)", "2"].map((numbers) => (
    { file: "tests/parity/kinds_test.ts", filter: `/^parity: case${numbers}.*\\[webgpu\\]$/` }
  )),
  // With its 390 steps, which the other file leaves out on WebGPU.
  { file: "tests/parity/kinds_slow_test.ts", filter: "/^parity: case22.*\\[webgpu\\]$/" },
];

/** Test files below a folder that open a WebGPU device, without slow ones. */
async function deviceTests(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) found.push(...await deviceTests(path));
    else if (name.endsWith("_test.ts") && !name.endsWith("_slow_test.ts")) {
      if (/openWebGpuDevice\(|\/devices\.ts"/.test(await Deno.readTextFile(path))) found.push(path);
    }
  }
  return found.sort();
}

async function runsOf(): Promise<Run[]> {
  const tests = (await deviceTests("tests/core")).map((file): Part => ({ file }));
  assert.ok(tests.length >= 20, `${tests.length} test files`);
  const swift = { VK_DRIVER_FILES: swiftShader };
  const [hardware, software] = ["hardware", "software"].map((tiles) => ({ MODEL_TRACER_TILES: tiles }));
  const usual = { name: "usual driver, hardware tiles", env: hardware, parts: [...tests, ...parity], least: 370 };
  if (!hasSwiftShader) return [usual];
  const onSwift = { env: { ...swift, ...hardware }, parts: [...tests, ...parity], least: 370 };
  return [
    usual,
    { name: "SwiftShader, hardware tiles", ...onSwift },
    { name: "SwiftShader, software tiles", env: { ...swift, ...software }, parts: tests, least: 350 },
  ];
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Name of the adapter, and the tiles of a device, in a process with these variables. */
async function deviceUnder(env: Run["env"]): Promise<string> {
  const module = import.meta.resolve("../../core/mod.ts");
  const code = `import { openDevice } from ${JSON.stringify(module)};
const device = await openDevice("webgpu");
console.log(device.info.name + ", " + device.tiles + " tiles");
device.close();`;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "data:application/typescript," + encodeURIComponent(code)],
    env: { NO_COLOR: "1", ...env },
  }).output();
  assert.ok(success, text(stderr));
  return text(stdout).trim();
}

/** What a part is called in titles. */
const titleOf = ({ file, filter }: Part) => filter === undefined ? file : `${file}, ${filter}`;

/** Runs a part and returns how many tests passed. Throws with all that the process printed when one fails. */
async function passing(part: Part, { name, env }: Run): Promise<number> {
  const { file, filter } = part;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", ...filter === undefined ? [] : ["--filter", filter], file],
    env: { NO_COLOR: "1", ...env, MODEL_TRACER_WEBGPU_ONLY: "1" },
    ...{ stdout: "piped", stderr: "piped" },
  }).spawn();
  const use = processUse(child.pid);
  const { success, stdout, stderr } = await child.output();
  const { processorSeconds, peakBytes } = use.end();
  const printed = text(stdout) + text(stderr);
  const [, passed, failed] = /(\d+) passed(?: \(.*\))? \| (\d+) failed/.exec(printed) ?? [];
  assert.ok(success && failed === "0", printed);
  console.log(
    `${name}: ${titleOf(part)}: ${passed} tests, ${processorSeconds.toFixed(0)} s of processors, ` +
      `${(peakBytes / 2 ** 30).toFixed(2)} GiB`,
  );
  return Number(passed);
}

if (!cpuOnly) {
  if (!hasSwiftShader) console.log(`not run on SwiftShader: there is no ${swiftShader} (apt-get install chromium)`);
  for (const run of await runsOf()) {
    let all = 0;
    Deno.test(`${run.name}: the device is the one that was asked for`, async () => {
      const device = await deviceUnder(run.env);
      if (run.env.VK_DRIVER_FILES) assert.match(device, /SwiftShader/);
      assert.ok(device.endsWith(`, ${run.env.MODEL_TRACER_TILES} tiles`), device);
    });
    for (const part of run.parts) {
      Deno.test(`${run.name}: ${titleOf(part)} passes`, async () => {
        const passed = await passing(part, run);
        assert.ok(passed > 0);
        all += passed;
      });
    }
    Deno.test(`${run.name}: no test was left out`, () => assert.ok(all >= run.least, `${all} tests`));
  }
}
