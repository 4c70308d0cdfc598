/**
 * `deno task parity <case .json or folder>`: compares this implementation with reference tensors.
 * Prints one line per tensor and exits 1 when any disagrees or is missing.
 */
import { parseArgs } from "node:util";
import { openDevice } from "../core/open_device.ts";
import type { Device } from "../core/tensor/mod.ts";
import { compare, type Comparison, ParityCase } from "../parity/case.ts";
import { checkpoints, computeFor, isCheckpointCase, isMetricsCase, metrics } from "../parity/kinds.ts";

const usage = `Compares this implementation with reference tensors computed by the official PyTorch code.

usage: deno task parity <case .json or folder>... [options]

  --device cpu|webgpu   where to compute (default cpu; webgpu also takes a software adapter)
  --filter TEXT         only tensors whose "<case> <tensor>" contains TEXT
  --stages              also list the stage:* tensors, which are debugging aids
  --threads N           CPU threads
  --json                one JSON object per tensor instead of text
  --help                this text

Per tensor: <case> <tensor> max_abs=<x> rel=<x> tol=<x> ok|FAIL|MISSING. Floats must agree within ten times the error that
the reference's own float32 has against float64 (at least 2e-5 of the tensor's largest magnitude on cpu, 1e-4 on webgpu),
integers exactly. MISSING: nothing computes that tensor yet; it counts as failed. Exit code 1 on any failure.`;

async function caseFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    if ((await Deno.stat(path)).isDirectory) {
      const names: string[] = [];
      for await (const entry of Deno.readDir(path)) if (entry.name.endsWith(".json")) names.push(entry.name);
      files.push(...names.sort().map((name) => `${path.replace(/\/$/, "")}/${name}`));
    } else {
      files.push(path);
    }
  }
  return files;
}

async function* results(parityCase: ParityCase, device: Device, wanted: (tensor: string) => boolean) {
  if (isCheckpointCase(parityCase)) {
    for await (const result of checkpoints(parityCase)) if (wanted(result.tensor)) yield result;
    return;
  }
  if (isMetricsCase(parityCase)) {
    for (const result of metrics(parityCase)) if (wanted(result.tensor)) yield result;
    return;
  }
  const left = new Set(Object.keys(parityCase.manifest.tensors ?? {}).filter(wanted));
  const compute = computeFor(parityCase);
  if (compute && left.size > 0) {
    for await (const { tensor, values } of compute(parityCase, device)) {
      if (left.delete(tensor)) {
        yield compare(parityCase, tensor, await parityCase.values(tensor), values, device.info.kind);
      }
      if (left.size === 0) break;
    }
  }
  for (const tensor of left) {
    const missing: Comparison = { tensor, maxAbs: NaN, relative: NaN, tolerance: NaN, verdict: "MISSING" };
    yield missing;
  }
}

function line(name: string, { tensor, maxAbs, relative, tolerance, verdict }: Comparison): string {
  const show = (x: number) => (Number.isNaN(x) ? "-" : x === 0 ? "0" : x.toExponential(2));
  return `${name} ${tensor} max_abs=${show(maxAbs)} rel=${show(relative)} tol=${show(tolerance)} ${verdict}`;
}

async function main(): Promise<number> {
  const { values: options, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      device: { type: "string", default: "cpu" },
      filter: { type: "string", default: "" },
      stages: { type: "boolean", default: false },
      threads: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (options.help) {
    console.log(usage);
    return 0;
  }
  if (positionals.length === 0) throw new Error("parity: expected a case .json or a folder (see --help)");
  if (options.device !== "cpu" && options.device !== "webgpu") {
    throw new Error(`parity: --device expects cpu or webgpu, got ${options.device}`);
  }
  const files = await caseFiles(positionals);
  const device = await openDevice(options.device, { threads: options.threads ? Number(options.threads) : undefined });
  if (device.info.software) console.error(`parity: using a software adapter, ${device.info.name}`);
  let passed = 0, failed = 0, cases = 0;
  for (const file of files) {
    const parityCase = await ParityCase.open(file);
    if (!parityCase) {
      if (positionals.includes(file)) throw new Error(`parity: ${file} is not a case: it has no "case" and "salt"`);
      console.error(`parity: ${file} is not a case, left out`);
      continue;
    }
    cases++;
    const wanted = (tensor: string) =>
      `${parityCase.name} ${tensor}`.includes(options.filter) && (options.stages || !tensor.startsWith("stage:"));
    for await (const result of results(parityCase, device, wanted)) {
      if (result.verdict === "ok") passed++;
      else failed++;
      console.log(
        options.json ? JSON.stringify({ case: parityCase.name, ...result }) : line(parityCase.name, result),
      );
      if (result.note) console.error(`  ${result.tensor}: ${result.note}`);
    }
    parityCase.close();
  }
  device.close();
  if (cases === 0) throw new Error(`parity: found no case in ${positionals.join(", ")}`);
  if (passed + failed === 0) throw new Error(`parity: no tensor matches --filter ${options.filter}`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

try {
  Deno.exit(await main());
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  Deno.exit(1);
}
