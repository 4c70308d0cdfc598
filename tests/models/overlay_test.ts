/** A fine-tuned encoder in place of a tokenizer's own: laid over its checkpoint, and named by a manifest. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openDevice } from "../../core/open_device.ts";
import { randomUniform, scope } from "../../core/tensor/mod.ts";
import { openCheckpoint, syntheticSource, writeSafetensors } from "../../models/checkpoint/mod.ts";
import { withEncoder } from "../../models/overlay.ts";
import { openModelSet } from "../../models/model_set.ts";
import { withFolder } from "../attribution/files.ts";
import { writePerturbedEncoder } from "../training/pairs.ts";
import { copyStandIns, standIns } from "../sets.ts";
import { hashFile } from "../../util/hash.ts";

Deno.test("withEncoder() replaces tensors of the same names, and refuses others", async () => {
  const source = syntheticSource("a", new Map([["encoder.w", [2, 3]], ["decoder.w", [4]]]));
  const encoder = syntheticSource("b", new Map([["encoder.w", [2, 3]]]));
  const joined = withEncoder(source, encoder);
  assert.deepEqual([...joined.tensors.keys()], ["encoder.w", "decoder.w"]);
  assert.deepEqual(await joined.readF32("encoder.w"), await encoder.readF32("encoder.w"));
  assert.deepEqual(await joined.readF16("decoder.w"), await source.readF16("decoder.w"));
  const other = (name: string, shape: number[]) => syntheticSource("b", new Map([[name, shape]]));
  assert.throws(
    () => withEncoder(source, other("quant.w", [2])),
    /synthetic:b: synthetic:a has no tensor named quant\.w$/,
  );
  assert.throws(
    () => withEncoder(source, other("encoder.w", [3, 2])),
    /synthetic:b: encoder\.w: synthetic:a expects \[2,3\], got \[3,2\]$/,
  );
});

/** A copy of the stand-ins whose RAR family has a fine-tuned encoder. */
async function withTunedSet(body: (dir: string) => Promise<void>): Promise<void> {
  await withFolder(async (dir) => {
    await copyStandIns(dir);
    const file = join(dir, "inverse.safetensors");
    await writePerturbedEncoder("rar", file, 0.1);
    const manifest = JSON.parse(await Deno.readTextFile(join(dir, "manifest.json")));
    delete manifest.calibration;
    const { size } = await Deno.stat(file);
    manifest.families.rar.encoder = { file: "inverse.safetensors", bytes: size, sha256: await hashFile(file) };
    await Deno.writeTextFile(join(dir, "manifest.json"), JSON.stringify(manifest));
    await body(dir);
  });
}

Deno.test("a manifest's encoder takes the place of the tokenizer's own; decoder and codebook stay", async () => {
  const device = await openDevice("cpu");
  await withTunedSet(async (dir) => {
    const [plain, tuned] = [await openModelSet(standIns), await openModelSet(dir)];
    await tuned.check();
    assert.notEqual(tuned.hash, plain.hash);
    const source = await tuned.openNetwork({ family: "rar" });
    const encoder = await openCheckpoint(join(dir, "inverse.safetensors"));
    assert.deepEqual(
      await source.readF32("encoder.conv_in.weight"),
      await encoder.readF32("encoder.conv_in.weight"),
    );
    encoder.close();
    source.close();
    const families = [await plain.loadTokenizer(device, "rar"), await tuned.loadTokenizer(device, "rar")];
    const image = randomUniform(device, [1, 32, 32, 3], 1), latent = randomUniform(device, [1, 8, 8, 32], 2);
    const read = async (body: (family: typeof families[number]) => ReturnType<typeof families[number]["encode"]>) =>
      await Promise.all(families.map((family) => scope(() => body(family)).data()));
    const [f, tunedF] = await read((family) => family.encode(image));
    assert.notDeepEqual(tunedF, f);
    const [decoded, tunedDecoded] = await read((family) => family.decode(latent));
    assert.deepEqual(tunedDecoded, decoded);
    for (const family of families) family.dispose();
  });
  device.close();
});

Deno.test("a set refuses an encoder that is missing, changed, or not of its tokenizer", async () => {
  await withTunedSet(async (dir) => {
    const file = join(dir, "inverse.safetensors");
    const bytes = await Deno.readFile(file);
    await Deno.writeFile(file, bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte)));
    await assert.rejects(
      (await openModelSet(dir)).check(),
      /inverse\.safetensors: expected the sha256 .*: the file is damaged or not the one that the manifest means$/,
    );
    await writeSafetensors(file, [{ name: "x", shape: [1], dtype: "f32", data: () => new Float32Array(1) }]);
    await assert.rejects(
      openModelSet(dir),
      /inverse\.safetensors \(RAR tokenizer, \d+ bytes\): has \d+ bytes; inverse\.safetensors: .* has no tensor named x/,
    );
    await Deno.remove(file);
    await assert.rejects(openModelSet(dir), /1 of the weight files are missing; expected:\n.*inverse\.safetensors/);
  });
});
