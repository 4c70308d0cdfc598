import assert from "node:assert/strict";
import { join } from "node:path";
import { ContentHashes } from "../../../attribution/images/content_hashes.ts";
import { parseEdits } from "../../../attribution/images/edits/mod.ts";
import { UnreadableImageError } from "../../../attribution/images/decode.ts";
import { sha256Hex } from "../../../util/hash.ts";
import { withFolder } from "../files.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("ContentHashes remembers a file's hash while the file is what it was, and no other's", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "a.png"), input = { imageName: "a.png", path };
    await Deno.writeTextFile(path, "one");
    const hashes = new ContentHashes();
    assert.equal(hashes.recall(input), undefined);
    const one = await sha256Hex(bytes("one"));
    assert.equal(await hashes.of(input), one);
    assert.equal(hashes.recall(input), undefined, "another write within the same moment would not show");

    await new Promise((resolve) => setTimeout(resolve, 2200));
    assert.equal(await hashes.of(input), one);
    assert.equal(hashes.recall(input), one);
    // Images that are made of the file, or that are no file, have other hashes.
    const edited = { ...input, edits: parseEdits("mirror") };
    assert.notEqual(await hashes.of(edited), one);
    assert.equal(hashes.recall(edited), undefined);
    const inMemory = { ...input, bytes: bytes("two") };
    assert.equal(await hashes.of(inMemory), await sha256Hex(bytes("two")));
    assert.equal(hashes.recall(input), one);

    const { mtime } = await Deno.stat(path);
    await Deno.writeTextFile(path, "two");
    await Deno.utime(path, mtime!, mtime!);
    assert.equal(hashes.recall(input), undefined, "same size, same time of content");
    assert.equal(await hashes.of(input), await sha256Hex(bytes("two")));
    await Deno.remove(path);
    assert.equal(hashes.recall(input), undefined);
    await assert.rejects(hashes.of(input), UnreadableImageError);
  });
});
