/** What is left of deno.lock for some programs. */
import assert from "node:assert/strict";
import { importedPackages, type Lock, prunedLock } from "../../deploy/prune_lock.ts";

const files: Readonly<Record<string, string>> = {
  "tasks/a.ts": 'import "../util/b.ts";\nnew Worker(new URL("./worker.ts", import.meta.url));\n',
  "tasks/worker.ts": 'const { x } = await import("npm:lazy@1.0.0/deep/file.js"); // import "npm:comment@1.0.0"\n',
  "util/b.ts": 'import type { T } from "npm:@scope/types@2.0.0";\nimport "../data.json" with { type: "json" };\n',
};

const lock: Lock = {
  version: "5",
  specifiers: { "npm:lazy@1.0.0": "1.0.0_peer@3.0.0", "npm:@scope/types@2.0.0": "2.0.0", "npm:other@1.0.0": "1.0.0" },
  npm: {
    "lazy@1.0.0_peer@3.0.0": { dependencies: ["peer", "deep"] },
    "@scope/types@2.0.0": {},
    "other@1.0.0": { dependencies: ["big"] },
    "peer@3.0.0": {},
    "deep@1.0.0": { dependencies: ["peer"] },
    "big@9.0.0": {},
  },
};

Deno.test("importedPackages() follows imports, types, lazy ones and workers", async () => {
  const read = (path: string) => Promise.resolve(files[path]);
  const found = await importedPackages(["tasks/a.ts"], read);
  assert.deepEqual([...found].sort(), ["npm:@scope/types@2.0.0", "npm:lazy@1.0.0"]);
});

Deno.test("prunedLock() keeps what packages need, and refuses a package that is not locked", () => {
  const pruned = prunedLock(lock, new Set(["npm:lazy@1.0.0", "npm:@scope/types@2.0.0"]));
  assert.deepEqual(Object.keys(pruned.npm), [
    ...["lazy@1.0.0_peer@3.0.0", "@scope/types@2.0.0", "peer@3.0.0", "deep@1.0.0"],
  ]);
  assert.deepEqual(Object.keys(pruned.specifiers), ["npm:lazy@1.0.0", "npm:@scope/types@2.0.0"]);
  assert.throws(() => prunedLock(lock, new Set(["npm:none@1.0.0"])), /deno\.lock: has no npm:none@1\.0\.0/);
});
