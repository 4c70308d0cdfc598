/**
 * The networks against the official PyTorch code's tensors (tests/fixtures/golden, see README.md there).
 * Tolerances are parity's own: ten times the reference's float32 error, at least 2e-5 (cpu) or 1e-4 (webgpu) of the
 * tensor's largest magnitude.
 */
import assert from "node:assert/strict";
import type { Device } from "../../core/tensor/mod.ts";
import { writeSafetensors } from "../../models/checkpoint/mod.ts";
import { compare, ParityCase } from "../../parity/case.ts";
import { checkpoints, computeFor } from "../../parity/kinds.ts";
import { openCpuForTests, withDevices } from "../core/devices.ts";

const golden = "tests/fixtures/golden";

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
};
const fullSize: Readonly<Record<string, number>> = {
  full_maskgit_vq: 10,
  full_vqvae: 15,
  full_rar_b: 9,
  full_var_d16: 9,
};

async function agrees(name: string, tensors: number, device: Device): Promise<void> {
  const before = device.memory().liveBytes;
  const { problems, agreeing } = await run(name, device);
  assert.deepEqual(problems, []);
  assert.equal(agreeing, tensors);
  assert.equal(device.memory().liveBytes, before);
}

for (const [name, tensors] of Object.entries(small)) {
  const title = `parity: ${name} agrees with the reference and leaves no memory behind`;
  withDevices(title, (device) => agrees(name, tensors, device));
}

// The full-size networks are tested on the CPU device only: a software adapter takes minutes for each.
for (const [name, tensors] of Object.entries(fullSize)) {
  Deno.test(`parity: ${name} agrees with the reference and leaves no memory behind [cpu]`, async () => {
    const device = await openCpuForTests();
    try {
      await agrees(name, tensors, device);
    } finally {
      device.close();
    }
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

Deno.test("compare() fails on one wrong value, one wrong token and a wrong length", async () => {
  const parityCase = await ParityCase.open(`${golden}/case01_maskgit_vq.json`);
  const f = await parityCase!.floats("f"), tokens = await parityCase!.ints("tokens");
  assert.equal(compare(parityCase!, "f", f, f, "cpu").verdict, "ok");
  const off = f.slice();
  off[7] += 1e-2;
  assert.equal(compare(parityCase!, "f", f, off, "cpu").verdict, "FAIL");
  off[7] = NaN;
  assert.equal(compare(parityCase!, "f", f, off, "cpu").verdict, "FAIL");
  assert.equal(compare(parityCase!, "f", f, f.subarray(1), "cpu").verdict, "FAIL");
  const other = tokens.slice();
  other[0] ^= 1;
  assert.equal(compare(parityCase!, "tokens", tokens, other, "cpu").verdict, "FAIL");
  parityCase!.close();
});

async function parity(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "-q", "parity", ...args],
    stdout: "piped",
    stderr: "piped",
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("deno task parity prints a line per tensor and a closing count", async () => {
  const { code, stdout } = await parity(`${golden}/case03b_interpolation.json`, "--filter", "bicubic_3_to_8");
  assert.match(
    stdout,
    /^case03b_interpolation bicubic_3_to_8 max_abs=\S+ rel=\S+ tol=\S+ ok\n1 passed, 0 failed\n$/,
  );
  assert.equal(code, 0);
});

Deno.test("deno task parity exits 1 when nothing computes a tensor yet", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const tensors = { later: { shape: [2], dtype: "float32", meaning: "of a part that does not exist" } };
    await Deno.writeTextFile(`${folder}/case99.json`, JSON.stringify({ case: "case99", salt: "s", tensors }));
    const data = () => new Float32Array(2);
    await writeSafetensors(`${folder}/case99.safetensors`, [{ name: "later", shape: [2], dtype: "f32", data }]);
    const { code, stdout } = await parity(folder);
    assert.equal(stdout, "case99 later max_abs=- rel=- tol=- MISSING\n0 passed, 1 failed\n");
    assert.equal(code, 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("deno task parity exits 1 with a reason for a path that does not exist and a file that is no case", async () => {
  assert.equal((await parity("no/such/case.json")).code, 1);
  const notCase = await parity("deno.json");
  assert.match(notCase.stderr, /deno\.json is not a case/);
  assert.equal(notCase.code, 1);
});
