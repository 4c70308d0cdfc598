/**
 * The networks against the official PyTorch code's tensors (tests/fixtures/golden, see README.md there).
 * Tolerances are parity's own: ten times the reference's float32 error, at least 2e-5 (cpu) or 1e-4 (webgpu) of the
 * tensor's largest magnitude.
 */
import assert from "node:assert/strict";
import { ParityCase } from "../../parity/case.ts";
import { checkpoints } from "../../parity/kinds.ts";
import { withDevices } from "../core/devices.ts";
import { agrees, golden } from "./golden.ts";

const small: Readonly<Record<string, number>> = {
  case01_maskgit_vq: 14,
  case02_rar: 19,
  case03_vqvae: 35,
  case03_vqvae10: 47,
  case03b_interpolation: 58,
  case04_var_l2norm: 12,
  case04_var_nol2norm: 12,
  case04_var_sharedaln: 12,
  case05_optquant: 15,
  case05_optquant10: 15,
  case05_signals: 29,
  case06_finetune_rar: 77,
  case06_finetune_var: 125,
  case07_prada: 60,
  case08_mia: 32,
  case10_attacks: 74,
  case21b_llamagen_vq_levels: 28,
  case22_llamagen_gpt: 20,
  case22b_llamagen_gpt_odd: 13,
  case22c_llamagen_rope: 7,
  case23_llamagen_sampler: 32,
  case25_llamagen_signals: 13,
  case28_llamagen_likelihood: 20,
};
/** Four optimisers of ten steps each take half a minute on a software adapter: one of them here, all in kinds_slow_test.ts. */
const oneRun: Readonly<Record<string, number>> = { case06_finetune_rar: 65, case06_finetune_var: 110 };

/** Its 390 steps take a minute on a software adapter: kinds_slow_test.ts has them. */
const manySteps = "case22_llamagen_gpt";

for (const [name, tensors] of Object.entries(small)) {
  withDevices(`parity: ${name} agrees with the reference and leaves no memory behind`, async (device) => {
    if (device.info.kind === "webgpu" && name === manySteps) return;
    if (device.info.kind === "webgpu" && name in oneRun) await agrees(name, oneRun[name], device, "adam");
    else await agrees(name, tensors, device);
  });
}

Deno.test("parity: every checkpoint of case11 has the expected names, shapes, types and values", async () => {
  const parityCase = await ParityCase.open(`${golden}/case11_checkpoints.json`);
  let count = 0;
  for await (const result of checkpoints(parityCase!)) {
    assert.equal(result.verdict, "ok", `${result.tensor}: ${result.note}`);
    count++;
  }
  assert.equal(count, 734);
});
