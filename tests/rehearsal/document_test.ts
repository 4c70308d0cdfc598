/** docs/official.md and the rehearsal have the same commands. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { root } from "../tasks/processes.ts";
import { commands } from "./rehearse.ts";

/** A command with its numbers left out: a rehearsal draws fewer images than the document asks for. */
const plain = (command: string) => command.replace(/\b\d+\b/g, "N");

Deno.test("every command of docs/official.md is one that the rehearsal runs, and the other way round", async () => {
  const text = await Deno.readTextFile(join(root, "docs/official.md"));
  const blocks = text.matchAll(/^```sh\n(.*?)^```/gms).map(([, block]) => block).toArray().join("");
  const documented = blocks.split("\n").filter((line) => line.startsWith("deno task "))
    .map((line) => plain(line.replace(/\s+#.*/, "").slice("deno task ".length)));
  assert.deepEqual(new Set(documented), new Set(Object.values(commands).map(plain)));
});
