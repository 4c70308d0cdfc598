import assert from "node:assert/strict";
import { openCpuDevice } from "../../core/cpu/mod.ts";
import { fromArray, scope } from "../../core/tensor/mod.ts";
import { openModelSet } from "../../models/model_set.ts";
import { standIns, tiny } from "../sets.ts";

Deno.test("networks stay as their files have them: half precision takes its memory, and gives the numbers of float32", async () => {
  const device = openCpuDevice({ threads: 1 });
  const set = await openModelSet(tiny);
  for (const family of set.families) {
    const tokenizer = await set.loadTokenizer(device, family);
    const [name] = set.variants(family);
    const outputs = new Map<string, Float32Array>();
    for (const weightType of [undefined, "f32", "f16"] as const) {
      const variant = await set.loadVariant(device, name, { weightType });
      assert.equal(variant.weightBytes, set.footprint(device, { family, variant: name }, weightType).weights);
      const condition = variant.condition([3]);
      const logits = scope(() => {
        const tokens = Int32Array.from({ length: variant.tokenCount }, (_, i) => 7 * i % variant.codes);
        const input = tokenizer.transformerInput(fromArray(device, tokens, [1, variant.tokenCount]));
        return variant.logits(input, condition);
      });
      outputs.set(weightType ?? "stored", await logits.data());
      for (const item of [logits, condition, variant]) item.dispose();
    }
    assert.deepEqual(outputs.get("stored"), outputs.get("f32"));
    const bytes = (type?: "f32" | "f16") => set.footprint(device, { family, variant: name }, type).weights;
    assert.ok(bytes() === bytes("f16") && bytes() < 0.6 * bytes("f32"));
    tokenizer.dispose();
  }
  device.close();
});

Deno.test("files in single precision, and weights that are computed, stay in single precision", async () => {
  const device = openCpuDevice({ threads: 1 });
  const set = await openModelSet(standIns);
  for (const network of set.networks) {
    assert.deepEqual(set.footprint(device, network), set.footprint(device, network, "f32"));
  }
  device.close();
});

Deno.test("a tokenizer's kernels that loading changes are not rounded to half precision again", async () => {
  const device = openCpuDevice({ threads: 1 });
  const set = await openModelSet(tiny);
  const images = Float32Array.from({ length: 64 * 64 * 3 }, (_, i) => Math.sin(i / 50));
  const run = async (weightType?: "f32") => {
    const tokenizer = await set.loadTokenizer(device, "var", { weightType });
    const decoded = scope(() => {
      const latents = tokenizer.encode(fromArray(device, images, [1, 64, 64, 3]));
      return tokenizer.decode(tokenizer.quantize(latents).fHat);
    });
    const values = await decoded.data();
    for (const item of [decoded, tokenizer]) item.dispose();
    return values;
  };
  assert.deepEqual(await run(), await run("f32"));
  device.close();
});
