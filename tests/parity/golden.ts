/** A case of tests/fixtures/golden, computed on a device and compared with the reference's tensors. */
import assert from "node:assert/strict";
import type { Device } from "../../core/tensor/mod.ts";
import { compare, ParityCase } from "../../parity/case.ts";
import { computeFor } from "../../parity/kinds.ts";

export const golden = "tests/fixtures/golden";

/** Leaves one of a case's training runs, and returns whether a tensor is of another one. */
function keepRun(parityCase: ParityCase, kept: string): (tensor: string) => boolean {
  const runs: Record<string, unknown> = parityCase.manifest.runs;
  Object.assign(parityCase.manifest, { runs: { [kept]: runs[kept] } });
  const longestFirst = Object.keys(runs).sort((a, b) => b.length - a.length);
  return (tensor) => (longestFirst.find((run) => tensor.startsWith(`${run}_`)) ?? kept) !== kept;
}

/** Computes a case, of its training runs one only if it is named, and returns what disagrees, and how many agree. */
async function compute(name: string, device: Device, run?: string): Promise<{ problems: string[]; agreeing: number }> {
  const parityCase = await ParityCase.open(`${golden}/${name}.json`);
  assert(parityCase);
  const isLeftOut = run === undefined ? () => false : keepRun(parityCase, run);
  const left = new Set(
    Object.keys(parityCase.manifest.tensors!).filter((tensor) => !tensor.startsWith("stage:") && !isLeftOut(tensor)),
  );
  const problems: string[] = [];
  let agreeing = 0;
  for await (const { tensor, values } of computeFor(parityCase)!(parityCase, device)) {
    if (!left.delete(tensor)) continue;
    const result = compare(parityCase, tensor, await parityCase.values(tensor), values, device.info.kind);
    if (result.verdict === "ok") agreeing++;
    else problems.push(`${tensor}: max_abs ${result.maxAbs}, tolerance ${result.tolerance}`);
  }
  problems.push(...[...left].map((tensor) => `${tensor}: missing`));
  parityCase.close();
  return { problems, agreeing };
}

/**
 * Asserts that a case's tensors agree, that there are so many, and that the device has its memory back. With `run`, tensors
 * of other training runs are left out.
 */
export async function agrees(name: string, tensors: number, device: Device, run?: string): Promise<void> {
  const before = device.memory().liveBytes;
  const { problems, agreeing } = await compute(name, device, run);
  assert.deepEqual(problems, []);
  assert.equal(agreeing, tensors);
  assert.equal(device.memory().liveBytes, before);
}
