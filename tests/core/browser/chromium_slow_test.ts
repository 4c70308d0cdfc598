/**
 * The core on a page of a real Chromium, whose WebGPU computes with SwiftShader: networks, the CPU device, all
 * programs, and the tests of the device themselves. Without a Chromium these tests fail and say what to install;
 * `-- --no-browser` leaves them out.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { allPrograms } from "../wgsl/all_programs.ts";
import { networkPasses } from "./networks.ts";
import { bundle, withPage } from "./open_page.ts";

const tiny = fileURLToPath(new URL("../../../weights/tiny/", import.meta.url));
const here = (name: string) => new URL(name, import.meta.url);

/** Files of tests that need nothing of the system: no files, no processes. */
const deviceTests = [
  ...["device_test.ts", "wgsl/pool_test.ts", "wgsl/recorder_test.ts", "tensor/op_test.ts", "tensor/tensor_test.ts"],
  ...["attention", "conv2d", "elementwise", "matmul", "norm_gradient", "norm", "shape", "weight_gradient"].map((name) =>
    `kernels/${name}_test.ts`
  ),
].map((path) => here(`../${path}`));

/** Largest difference, relative to the largest magnitude of what is expected. */
function relativeError(got: readonly number[], expected: readonly number[]): number {
  assert.equal(got.length, expected.length);
  let difference = 0, magnitude = 0;
  for (const [i, value] of expected.entries()) {
    const error = Math.abs(got[i] - value);
    difference = Number.isNaN(error) ? Infinity : Math.max(difference, error);
    magnitude = Math.max(magnitude, Math.abs(value));
  }
  return difference / magnitude;
}

if (!Deno.args.includes("--no-browser")) {
  Deno.test("page: a RAR and a VAR network compute on its WebGPU and on its CPU device what they compute in Deno", async () => {
    const modules = { "/networks.js": await bundle([here("networks_page.ts")]) };
    await withPage({ modules, files: tiny }, async (page, complaints) => {
      const inDeno = await networkPasses("cpu", (name) => Deno.readFile(`${tiny}${name}`));
      const cpu = await page.evaluate(() => onPage.passes("cpu"));
      const webgpu = await page.evaluate(() => onPage.passes("webgpu"));
      assert.match(webgpu.name, /swiftshader/i);
      assert.ok(webgpu.software); // told by the name of its architecture, as a page gets no description
      assert.deepEqual(Object.keys(webgpu.results), Object.keys(inDeno.results));
      assert.equal(Object.keys(inDeno.results).length, 6);
      for (const [pass, expected] of Object.entries(inDeno.results)) {
        assert.deepEqual(cpu.results[pass], expected, `${pass} on the page's CPU device`);
        // The bound of the parity tests for WebGPU.
        const error = relativeError(webgpu.results[pass], expected);
        assert.ok(error > 0 && error <= 1e-4, `${pass}: relative error ${error}`);
        console.log(`${pass}: ${expected.length} numbers, WebGPU of the page differs by ${error.toExponential(1)}`);
      }
      assert.deepEqual(complaints, []);
    });
  });

  Deno.test("page: the CPU device has workers where memory may be shared, and one thread elsewhere", async () => {
    const modules = { "/networks.js": await bundle([here("networks_page.ts")]) };
    await withPage({ modules }, async (page) => {
      const { threads, workers, same } = await page.evaluate(() => onPage.cpuThreads());
      assert.deepEqual([threads, workers, same], [navigator.hardwareConcurrency, threads - 1, true]);
    });
    await withPage({ modules, isolated: false }, async (page) => {
      assert.deepEqual(await page.evaluate(() => onPage.cpuThreads()), { threads: 1, workers: 0, same: true });
    });
  });

  Deno.test("page: every program compiles without a message", async () => {
    const programs = [...allPrograms()];
    const broken: [string, string] = ["broken", "fn main() { return 1; }"];
    await withPage({ modules: {} }, async (page, complaints) => {
      assert.deepEqual(await page.evaluate(compile, programs), []);
      assert.match((await page.evaluate(compile, [broken]))[0], /^broken:1: error: /);
      assert.deepEqual(complaints, []);
    });
    console.log(`${programs.length} programs`);
  });

  Deno.test("page: the tests of the device pass on its WebGPU", async () => {
    const modules = {
      "/assert.js": await bundle([here("assert.ts")]),
      "/tests.js": await bundle([here("runner.ts"), ...deviceTests]),
    };
    await withPage({ modules, imports: { "node:assert/strict": "/assert.js" } }, async (page) => {
      const names = await page.evaluate(() => pageTests.names());
      const failed: string[] = [];
      let passed = 0;
      for (const [number, name] of names.entries()) {
        if (/\[cpu|\[webgpu, /.test(name)) continue; // the page's own tiles only
        const { error } = await page.evaluate((number) => pageTests.run(number), number);
        if (error === undefined) passed++;
        else failed.push(`${name}: ${error}`);
      }
      assert.equal(failed.length, 0, failed.join("\n\n"));
      assert.ok(passed >= 100, `${passed} tests`);
      console.log(`${passed} tests of the device passed`);
    });
  });
}

/** Runs on the page: what the compiler says to programs. Pipelines are not made: that takes minutes on a processor. */
async function compile(programs: [label: string, text: string][]): Promise<string[]> {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter!.requestDevice();
  const messages = programs.map(async ([label, code]) => {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label, code });
    const [info, error] = await Promise.all([module.getCompilationInfo(), device.popErrorScope()]);
    const lines = info.messages.map(({ type, message, lineNum }) => `${label}:${lineNum}: ${type}: ${message}`);
    return error ? [...lines, `${label}: ${error.message}`] : lines;
  });
  return (await Promise.all(messages)).flat();
}
