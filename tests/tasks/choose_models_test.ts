/** Tasks without --models take the same set: weights/official where it is complete, else the embedded one, and say so. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withFolder } from "../attribution/files.ts";
import { root, runTask } from "./processes.ts";

Deno.test("generate and train without --models choose the set as the other tasks do, in any folder", async () => {
  const hasOfficial = await Deno.stat(join(root, "weights", "official")).then(() => true, () => false);
  const note = hasOfficial
    ? /weights\/official/
    : /using weights\/tiny \(no --models, and weights\/official is not there\)/;
  await withFolder(async (dir) => {
    // What comes after the set is wrong, so that nothing is computed.
    const runs = await Promise.all([
      runTask("generate", dir, "--model", "nothing", "--out", "x"),
      runTask("train", dir, "--family", "rar", "--data", "nothing", "--run", "x"),
    ]);
    for (const { code, stderr } of runs) {
      assert.equal(code, 1);
      assert.match(stderr, note);
      assert.match(stderr, /: expected .*nothing/);
    }
  });
});
