import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { Report } from "../../bench/report.ts";
import { cpuOnly } from "../core/devices.ts";
import { root, runTask } from "./processes.ts";

const bench = (...args: string[]) => runTask("bench", root, ...args);

Deno.test("bench --only matmul --quick prints a table and writes JSON without machine names or paths", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/bench.json`;
    const { code, stdout, stderr } = await bench("--only", "matmul", "--repeat", "1", "--quick", "--out", file);
    strictEqual(code, 0, stderr);
    const lines = stdout.split("\n");
    ok(lines[0].startsWith("cpu: "), stdout);
    ok(lines[1].startsWith("case "), stdout);
    ok(lines.some((line) => line.startsWith("linear 64x48x32 ")), stdout);
    const text = await Deno.readTextFile(file);
    ok(!text.includes(folder) && !text.includes(Deno.cwd()));
    const report: Report = JSON.parse(text);
    strictEqual(report.versions.deno, Deno.version.deno);
    const [{ device, results, failures }] = report.devices;
    strictEqual(device.kind, "cpu");
    deepStrictEqual(failures, []);
    deepStrictEqual(results.map(({ name, flops }) => [name, flops]).slice(0, 2), [
      ["linear 64x48x32", 2 * 64 * 48 * 32],
      ["matmul 64x48x32", 2 * 64 * 48 * 32],
    ]);
    ok(results.every(({ seconds, devicePeakBytes }) => seconds.median > 0 && devicePeakBytes > 0));
    deepStrictEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["bench.json"]);
    const again = ["--only", "matmul", "--filter", "matmul", "--repeat", "1", "--quick", "--out", file];
    const refused = await bench(...again);
    ok(refused.stderr.includes("this file exists: name another file, or replace it with --force"), refused.stderr);
    deepStrictEqual([refused.code, refused.stdout, await Deno.readTextFile(file)], [1, "", text]);
    strictEqual((await bench(...again, "--force")).code, 0);
    ok(await Deno.readTextFile(file) !== text, "not replaced");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("bench --quick runs every pass", async () => {
  const { code, stdout, stderr } = await bench("--only", "passes", "--repeat", "1", "--batch", "2", "--quick");
  strictEqual(code, 0, stderr);
  for (
    const name of ["maskgit-vq", "vqvae", "vq-16"].flatMap((network) => [`${network} encoder`, `${network} decoder`])
  ) {
    ok(stdout.includes(`${name}, batch 2`), `${name}:\n${stdout}`);
  }
  for (const name of ["rarb", "var16", "llamagenb"]) ok(stdout.includes(`${name} same condition, batch 2`), stdout);
  for (const name of ["rarb", "var16"]) ok(stdout.includes(`${name} condition `), stdout);
});

Deno.test("bench --quick scores images", async () => {
  const { code, stdout, stderr } = await bench("--only", "scoring", "--repeat", "1", "--quick");
  strictEqual(code, 0, stderr);
  ok(stdout.includes("rarb scoring, 8 images, two conditions "), stdout);
});

Deno.test("bench --quick runs training steps on every device, with images per second and peaks of memory", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const kinds = cpuOnly ? ["cpu"] : ["cpu", "webgpu"];
    const args = ["--only", "training", "--repeat", "1", "--quick", "--device", kinds.join()];
    const { code, stdout, stderr } = await bench(...args, "--batch", "1,3", "--out", `${folder}/bench.json`);
    strictEqual(code, 0, stderr);
    const { devices }: Report = JSON.parse(await Deno.readTextFile(`${folder}/bench.json`));
    deepStrictEqual(devices.map(({ device }) => device.kind), kinds);
    for (const { results } of devices) {
      deepStrictEqual(
        results.map(({ name }) => name),
        ["maskgit-vq", "vqvae"].flatMap((network) =>
          [1, 3].flatMap((batch) => ["", " recomputing"].map((how) => `${network} training step${how}, batch ${batch}`))
        ),
      );
      for (const { name, batch, seconds, imagesPerSecond, devicePeakBytes } of results) {
        ok(stdout.includes(`${name} `), stdout);
        strictEqual(imagesPerSecond, batch / seconds.median);
        // Parameters, their gradients and both moments are there at once.
        ok(devicePeakBytes > 16e6, `${name}: ${devicePeakBytes}`);
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("bench lists the training steps of a processor and of a GPU", async () => {
  const { code, stdout, stderr } = await bench("--only", "training", "--filter", "vqvae training step,", "--list");
  strictEqual(code, 0, stderr);
  strictEqual(stdout, "vqvae training step, batch 1\nvqvae training step, batch 8\n");
});

Deno.test("bench --profile prints the time by kernel and shape", async () => {
  const { code, stdout, stderr } = await bench("--profile", "--quick", "--filter", "rarb same", "--batch", "1");
  strictEqual(code, 0, stderr);
  ok(/^matmul +\d+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$/m.test(stdout), stdout);
  ok(/^attention heads=4 headDim=16 lq=258 lk=258 /m.test(stdout), stdout);
});

Deno.test("bench exits with 1 and a message on arguments that it does not understand", async () => {
  const { code, stdout, stderr } = await bench("--only", "everything");
  strictEqual(code, 1);
  strictEqual(stdout, "");
  ok(
    stderr.includes(
      "bench: --only: expected matmul, conv, attention, passes, scoring, generation or training, got everything",
    ),
    stderr,
  );
});

Deno.test("bench --filter that fits nothing is refused", async () => {
  const { code, stderr } = await bench("--filter", "rarxl");
  strictEqual(code, 1);
  ok(stderr.includes("no case's name contains rarxl"), stderr);
});

Deno.test("bench --compare-torch with a Python that cannot be run says which permission is missing", async () => {
  const { code, stderr } = await bench("--only", "matmul", "--compare-torch", "--python", "./python");
  strictEqual(code, 1);
  ok(stderr.includes("running ./python is not permitted; start bench with deno run --allow-run=./python"), stderr);
});
