/** What a rehearsal stands on: a hub that serves files by ranges, and checkpoints written tensor by tensor. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openCheckpoint, syntheticTensor } from "../../models/checkpoint/mod.ts";
import { lookUp } from "../../models/download/hub.ts";
import { pullFiles } from "../../models/download/pull.ts";
import { readFileList } from "../../models/download/list.ts";
import { openModelSet } from "../../models/model_set.ts";
import { withFolder } from "../attribution/files.ts";
import { writeTorchFile } from "../models/checkpoint/torch_file.ts";
import { startFileHub } from "./file_hub.ts";
import { writeCheckpoints, writeList } from "./sets.ts";

Deno.test("writeTorchFile() writes what openCheckpoint() reads", async () => {
  await withFolder(async (dir) => {
    const specs = [{ name: "a.weight", shape: [3, 5] }, { name: "b", shape: [7] }];
    const path = join(dir, "a.pth");
    await writeTorchFile(path, specs, ({ name, shape }) => syntheticTensor("salt", name, shape));
    const source = await openCheckpoint(path);
    for (const { name, shape } of specs) {
      assert.deepEqual(source.tensors.get(name)?.shape, shape);
      assert.deepEqual(await source.readF32(name), syntheticTensor("salt", name, shape));
    }
    source.close();
  });
});

Deno.test("startFileHub() answers as a hub: size, sha256, ranges, 404; a set is pulled from it", async () => {
  await withFolder(async (dir) => {
    const listPath = join(dir, "list.json");
    const files = await writeList(listPath, "tiny");
    const bytes = await writeCheckpoints(join(dir, "hub"), files);
    const hub = await startFileHub(join(dir, "hub"), files);
    try {
      const [{ repo, file }] = files;
      const entry = await lookUp({ endpoint: hub.endpoint }, { repo, file, revision: "main" });
      const whole = await Deno.readFile(join(dir, "hub", file));
      assert.equal(entry.bytes, whole.length);
      assert.match(entry.sha256!, /^[0-9a-f]{64}$/);
      const part = await fetch(new URL(entry.location, hub.endpoint), { headers: { Range: "bytes=5-10" } });
      assert.deepEqual([part.status, await part.bytes()], [206, whole.slice(5, 11)]);
      await assert.rejects(
        lookUp({ endpoint: hub.endpoint }, { repo, file: "other", revision: "main" }),
        /404|no such|not/i,
      );
      const options = { dir: join(dir, "set"), list: await readFileList(listPath), files, hub };
      assert.deepEqual(await pullFiles(options), []);
      assert.equal(hub.sent, bytes + 6);
      await (await openModelSet(join(dir, "set"))).check();
    } finally {
      await hub.close();
    }
  });
});
