/** `deno task parity` as a process. */
import assert from "node:assert/strict";
import { writeSafetensors } from "../../models/checkpoint/mod.ts";
import { root, runTask } from "./processes.ts";

const parity = (...args: string[]) => runTask("parity", root, ...args);

Deno.test("deno task parity prints a line per tensor and a closing count", async () => {
  const { code, stdout } = await parity(
    `${root}/tests/fixtures/golden/case03b_interpolation.json`,
    "--filter",
    "bicubic_3_to_8",
  );
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
  const notCase = await parity(`${root}/deno.json`);
  assert.match(notCase.stderr, /deno\.json is not a case/);
  assert.equal(notCase.code, 1);
});
