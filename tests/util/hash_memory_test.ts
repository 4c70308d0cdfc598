import assert from "node:assert/strict";
import { join } from "node:path";
import { HashMemory } from "../../util/hash_memory.ts";
import { hashFile } from "../../util/hash.ts";
import { withFolder } from "../attribution/files.ts";

/** Writes a file whose times lie in the past, as those of weights do. The time of its entry cannot be set. */
async function writeOld(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text);
  const past = new Date(Date.now() - 3_600_000);
  await Deno.utime(path, past, past);
}

/** Waits until the times of a file's entry are old enough to tell a later write. */
async function untilSettled(path: string): Promise<void> {
  const changed = (await Deno.stat(path)).ctime!.getTime();
  while (Date.now() - changed < 2100) await new Promise((resolve) => setTimeout(resolve, 50));
}

Deno.test("HashMemory reads a file once, also across processes, as long as it does not change", async () => {
  await withFolder(async (dir) => {
    const file = join(dir, "weights.bin"), path = join(dir, "cache", "hashes.json");
    await writeOld(file, "weights");
    await untilSettled(file);
    const first = await HashMemory.open(path);
    assert.equal(first.recall(file), undefined);
    const sha256 = await hashFile(file);
    assert.equal(await first.hash(file, sha256), sha256);
    assert.equal(await first.hash(file, sha256), sha256);
    assert.equal(first.hashed, 1);
    first.note("a fact");
    await first.save();

    const second = await HashMemory.open(path);
    assert.equal(second.recall(file), sha256);
    assert.equal(await second.hash(file, sha256), sha256);
    assert.equal(second.hashed, 0);
    assert.ok(second.knows("a fact") && !second.knows("another"));
    // A hash that is not the expected one is not believed.
    assert.equal(await second.hash(file, "0".repeat(64)), sha256);
    assert.equal(second.hashed, 1);
  });
});

Deno.test("HashMemory never gives the hash of what a file was before it changed", async () => {
  await withFolder(async (dir) => {
    const file = join(dir, "weights.bin"), path = join(dir, "hashes.json");
    const changes: Record<string, () => Promise<void>> = {
      "other bytes of the same number, and the old time": async () => {
        const { mtime, atime } = await Deno.stat(file);
        await Deno.writeTextFile(file, "heights");
        await Deno.utime(file, atime!, mtime!);
      },
      "another file of the same size and time": async () => {
        const { mtime, atime } = await Deno.stat(file);
        await Deno.writeTextFile(`${file}.new`, "heights");
        await Deno.utime(`${file}.new`, atime!, mtime!);
        await Deno.rename(`${file}.new`, file);
      },
      "another size": () => Deno.writeTextFile(file, "more weights"),
    };
    for (const [what, change] of Object.entries(changes)) {
      await writeOld(file, "weights");
      await untilSettled(file);
      const memory = await HashMemory.open(path);
      const before = await memory.hash(file);
      assert.equal(memory.recall(file), before);
      await change();
      assert.equal(memory.recall(file), undefined, what);
      assert.equal(await memory.hash(file, before), await hashFile(file), what);
      assert.notEqual(await memory.hash(file, before), before, what);
    }
    // Just written: a second write within the resolution of times would not show.
    await Deno.writeTextFile(file, "newest");
    const memory = await HashMemory.open(path);
    await memory.hash(file);
    assert.equal(memory.recall(file), undefined);
  });
});

Deno.test("HashMemory forgets what is damaged, and does without a file", async () => {
  await withFolder(async (dir) => {
    const file = join(dir, "weights.bin"), path = join(dir, "hashes.json");
    await writeOld(file, "weights");
    await untilSettled(file);
    const memory = await HashMemory.open(path);
    const sha256 = await memory.hash(file);
    await memory.save();
    const text = await Deno.readTextFile(path);
    const digit = text.indexOf(sha256);
    const damaged = text.slice(0, digit) + (text[digit] === "0" ? "1" : "0") + text.slice(digit + 1);
    for (const bad of [damaged, "", "{}", text.slice(0, -9)]) {
      await Deno.writeTextFile(path, bad);
      assert.equal(await (await HashMemory.open(path)).recall(file), undefined);
    }
    const nowhere = await HashMemory.open(join(file, "no folder"));
    assert.equal(await nowhere.hash(file), sha256);
    await nowhere.save();
  });
});
