/** `deno task weights check` as a process, with the permissions that deno.json gives it. */
import assert from "node:assert/strict";
import { standIns, tiny } from "../sets.ts";
import { root, runTask } from "./processes.ts";

Deno.test("weights check: tables, the result in words, and its exit code", async () => {
  const args = ["--models", tiny, "--only", "rarb,var16", "--each", "1", "--device", "cpu"];
  const { code, stdout, stderr } = await runTask("weights", root, "check", ...args);
  assert.equal(code, 0, stderr + stdout);
  assert.match(stdout, /^variant +images +tokens found .*\nrarb +1 +\d/);
  assert.match(
    stdout,
    /\nclasses: the own one is kept in \d of 2 images \(by chance in \d+ %\), and likeliest in \d; /,
  );
  assert.match(stdout, /\nrar: share of tokens found again +1 .* within\n/);
  assert.match(stdout, /\nThis installation would find its own images, as far as 2 images of rarb, var16 can tell/);
  assert.match(stderr, /plan, at most 10 minutes: rarb \(0\.12 GFLOP an image\), var16/);
});

Deno.test("weights check --json: one object on stdout; 3 without figures, 1 for a wrong option", async () => {
  const args = ["--models", standIns, "--only", "rarb", "--each", "1", "--device", "cpu", "--json"];
  const { code, stdout, stderr } = await runTask("weights", root, "check", ...args);
  assert.equal(code, 3, stderr);
  const { result, variants, modelSet } = JSON.parse(stdout);
  assert.deepEqual([result, variants.length, modelSet.dir], ["unknown", 1, standIns]);
  const wrong = await runTask("weights", root, "check", "--each", "0");
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /--each: expected a whole number, from 1 to 1000, got 0/);
});
