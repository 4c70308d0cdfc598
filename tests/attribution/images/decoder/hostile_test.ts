// 300 hostile files, sent through the decoder process: none has an effect on this one.
import assert from "node:assert/strict";
import { UnreadableImageError } from "../../../../attribution/images/decode.ts";
import { ownDecoder, ProcessDecoder } from "../../../../attribution/images/decoder/mod.ts";
import { testAlone } from "../../../alone.ts";
import { hostileFiles } from "./hostile.ts";

const folders = ["../../../fixtures/images/", "../../../fixtures/odd_images/", "../../../../examples/Dataset/test/"];

/** Images of a few kilobytes, of all formats and varieties. */
async function images(): Promise<Uint8Array<ArrayBuffer>[]> {
  const found: Uint8Array<ArrayBuffer>[] = [];
  for (const folder of folders.map((path) => new URL(path, import.meta.url))) {
    const names = (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
    for (const name of names.filter((name) => /\.(png|jpg|webp)$/.test(name)).slice(0, 40)) {
      const bytes = await Deno.readFile(new URL(name, folder));
      if (bytes.length < 20_000) found.push(bytes);
    }
  }
  return found;
}

testAlone(import.meta.filename!, "300 hostile files have no effect on the process that asks", async () => {
  await using decoder = new ProcessDecoder({ executable: Deno.execPath() });
  const sources = await images();
  assert.ok(sources.length > 40);
  const files = hostileFiles(sources, 300);
  const input = { imageName: "hostile" }, good = sources[0];
  const before = await decoder.pixels(input, good, [16]);
  const memory = Deno.memoryUsage();

  const outcomes = await Promise.allSettled(files.map(({ bytes }) => decoder.pixels(input, bytes, [16], 2 ** 22)));
  let unreadable = 0;
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.status === "fulfilled") {
      const { width, height, bySize } = outcome.value;
      assert.ok(width * height >= 1 && width * height <= 2 ** 22, files[i].name);
      assert.ok(bySize.get(16)!.every((value) => value >= 0 && value <= 1), files[i].name);
    } else {
      unreadable++;
      assert.ok(outcome.reason instanceof UnreadableImageError, `${files[i].name}: ${outcome.reason}`);
      assert.doesNotMatch(
        outcome.reason.message,
        /undefined|not a function|makes no sense|ended within/,
        files[i].name,
      );
    }
  }
  // Not all are damaged where it matters: what lies behind an image, or in its metadata, does not.
  assert.ok(unreadable > 150 && unreadable < 290, `${unreadable} are unreadable`);

  assert.deepEqual(await decoder.pixels(input, good, [16]), before, "a good image is what it was");
  const grown = Deno.memoryUsage().rss - memory.rss;
  assert.ok(grown < 100e6, `this process grew by ${grown} bytes`);
  assert.equal(decoder.client.spawned, 1 + decoder.client.replaced);

  // And the outcome is that of a decoder in this process.
  for (let i = 0; i < files.length; i += 7) {
    const [own] = await Promise.allSettled([ownDecoder.pixels(input, files[i].bytes, [16], 2 ** 22)]);
    const told = outcomes[i];
    assert.equal(own.status, told.status, files[i].name);
    if (own.status === "fulfilled") assert.deepEqual((told as typeof own).value, own.value, files[i].name);
    else assert.equal((told as typeof own).reason.message, own.reason.message, files[i].name);
  }
});
