import assert from "node:assert/strict";
import { join } from "node:path";
import { prefetch } from "../../../models/checkpoint/prefetch.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { tiny } from "../../sets.ts";

Deno.test("prefetch() reads files to their ends, leaves out what cannot be read, and can be stopped", async () => {
  const dir = await Deno.makeTempDir();
  const sizes = [3, 5_000_000, 0];
  const paths = sizes.map((_, i) => join(dir, `${i}`));
  for (const [i, path] of paths.entries()) await Deno.writeFile(path, new Uint8Array(sizes[i]));
  assert.equal(await prefetch([paths[0], join(dir, "missing"), paths[1], paths[2]]).done, 5_000_003);
  assert.equal(await prefetch([]).done, 0);
  const stopped = prefetch(paths);
  stopped.stop();
  assert.ok(await stopped.done <= 5_000_003);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("filesOf() names the files of a network", async () => {
  const set = await openModelSet(tiny);
  for (const network of set.networks) {
    const files = set.filesOf(network);
    assert.ok(files.length >= 1);
    for (const file of files) assert.ok((await Deno.stat(file)).isFile, file);
  }
});
