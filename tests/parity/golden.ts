/** A case of tests/fixtures/golden, computed on a device and compared with the reference's tensors. */
import assert from "node:assert/strict";
import type { Device } from "../../core/tensor/mod.ts";
import { compare, ParityCase } from "../../parity/case.ts";
import { computeFor } from "../../parity/kinds.ts";

export const golden = "tests/fixtures/golden";

/** Computes a case and returns the tensors that disagree or are missing, and how many agree. */
async function run(name: string, device: Device): Promise<{ problems: string[]; agreeing: number }> {
  const parityCase = await ParityCase.open(`${golden}/${name}.json`);
  assert(parityCase);
  const left = new Set(Object.keys(parityCase.manifest.tensors!).filter((tensor) => !tensor.startsWith("stage:")));
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

/** Asserts that all of a case's tensors agree, that there are so many, and that the device has its memory back. */
export async function agrees(name: string, tensors: number, device: Device): Promise<void> {
  const before = device.memory().liveBytes;
  const { problems, agreeing } = await run(name, device);
  assert.deepEqual(problems, []);
  assert.equal(agreeing, tensors);
  assert.equal(device.memory().liveBytes, before);
}
