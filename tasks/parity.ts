/**
 * `deno task parity <case .json or folder>`: compares this implementation with reference tensors.
 * Prints one line per tensor and exits 1 when any disagrees or is missing.
 */
import { openDevice } from "../core/open_device.ts";
import type { Device } from "../core/tensor/mod.ts";
import { compare, type Comparison, ParityCase } from "../parity/case.ts";
import { checkpoints, computeFor, isCheckpointCase, isMetricsCase, metrics } from "../parity/kinds.ts";
import { choice } from "../util/options.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { deviceOptions, jsonLines } from "./cli/options.ts";

export const command = defineCommand({
  name: "parity",
  about: "Compares this implementation with reference tensors computed by the official PyTorch code.",
  usage: ["<case .json or folder>... [options]"],
  operands: "cases",
  options: {
    device: {
      ...deviceOptions.device,
      type: choice(["cpu", "webgpu"]),
      default: "cpu",
      help: "where to compute; webgpu also takes a software adapter",
    },
    threads: deviceOptions.threads,
    filter: { value: "TEXT", help: 'only tensors whose "<case> <tensor>" contains TEXT' },
    stages: { help: "also the stage:* tensors, which are debugging aids" },
    json: jsonLines("one per tensor"),
  },
  notes:
    "Per tensor: <case> <tensor> max_abs=<x> rel=<x> tol=<x> ok|FAIL|MISSING. Floats must agree within ten times the " +
    "error that the reference's own float32 has against float64 (at least 2e-5 of the tensor's largest magnitude on " +
    "cpu, 1e-4 on webgpu), integers exactly. MISSING: nothing computes that tensor yet; it counts as failed.",
  exitCodes: { 1: "usage or fatal error or a tensor that disagrees or is missing" },
});

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

async function main({ values, operands, progress }: Input<typeof command.options>): Promise<number> {
  if (operands.length === 0) throw new Error("expected a case .json or a folder (--help)");
  const { filter = "", stages, json, threads } = values;
  const files = await caseFiles(operands);
  const device = await openDevice(values.device, { threads });
  if (device.info.software) progress.note(`using a software adapter, ${device.info.name}`);
  let passed = 0, failed = 0, cases = 0;
  for (const file of files) {
    const parityCase = await ParityCase.open(file);
    if (!parityCase) {
      if (operands.includes(file)) throw new Error(`${file} is not a case: it has no "case" and "salt"`);
      progress.note(`${file} is not a case, left out`);
      continue;
    }
    cases++;
    const { name } = parityCase;
    const wanted = (tensor: string) => `${name} ${tensor}`.includes(filter) && (stages || !tensor.startsWith("stage:"));
    for await (const result of results(parityCase, device, wanted)) {
      if (result.verdict === "ok") passed++;
      else failed++;
      progress.print((json ? JSON.stringify({ case: name, ...result }) : line(name, result)) + "\n");
      if (result.note) progress.note(`${result.tensor}: ${result.note}`);
    }
    parityCase.close();
  }
  device.close();
  if (cases === 0) throw new Error(`found no case in ${operands.join(", ")}`);
  if (passed + failed === 0) throw new Error(`no tensor matches --filter ${filter}`);
  if (json) progress.note(`${passed} passed, ${failed} failed`);
  else progress.print(`${passed} passed, ${failed} failed\n`);
  return failed > 0 ? 1 : 0;
}

if (import.meta.main) await runTask(command, main);
