/**
 * Crops as tokens: what is in the file, which of the two is mirrored, and when a file of before is refused.
 */
import assert from "node:assert/strict";
import { fromArray, uniforms } from "../../core/tensor/mod.ts";
import { f32ToF16, syntheticSource, writeSafetensors } from "../../models/checkpoint/mod.ts";
import { familyNamed } from "../../models/registry.ts";
import { cropPixels, type Crops } from "../../zoo/images.ts";
import { loadTokenizer, zooPaths } from "../../zoo/paths.ts";
import { tokenizersOf, zooRecipes } from "../../zoo/recipes.ts";
import { makeTokens, type Split } from "../../zoo/steps.ts";
import { readTokens } from "../../zoo/tokens.ts";
import { withFolder } from "../attribution/files.ts";
import { openCpuForTests } from "../core/devices.ts";

const recipe = zooRecipes.tiny, tokenizerRecipes = tokenizersOf(recipe);
const device = await openCpuForTests({ threads: 1 });
globalThis.addEventListener("unload", () => device.close());

function crops(count: number, seed: number): Crops {
  const pixels = Uint8Array.from(uniforms(seed, 0, count * 64 * 64 * 3), (u) => 256 * u);
  const classes = Uint8Array.from({ length: count }, (_, i) => i % 10);
  return { count, side: 64, pixels, classes, fingerprint: `random pixels ${seed}` };
}

/** A tokenizer of the recipe with made-up weights. */
async function writeTokenizer(path: string, name: "rar" | "var", salt: string): Promise<void> {
  const { network } = tokenizerRecipes[name];
  const specs = familyNamed(network.kind).tokenizerSpecs(network.config);
  const source = syntheticSource(salt, specs);
  await writeSafetensors(
    path,
    specs.map(({ name, shape }) => ({
      name,
      shape,
      dtype: "f16" as const,
      data: async () => f32ToF16(await source.readF32(name)),
    })),
  );
}

Deno.test("makeTokens() encodes crops and their mirror images once per tokenizer", async () => {
  await withFolder(async (work) => {
    const at = zooPaths(work);
    const splits: Record<Split, Crops> = { train: crops(5, 1), val: crops(3, 2) };
    let loads = 0;
    const lines: string[] = [];
    const options = {
      recipe,
      device,
      work,
      loadCrops: (split: Split) => {
        loads++;
        return Promise.resolve(splits[split]);
      },
      models: ["rarb", "rarl", "var16"],
      log: (line: string) => lines.push(line),
    };
    await assert.rejects(
      makeTokens(options),
      /maskgit_vq.safetensors: not there yet; deno task zoo tokenizers makes it/,
    );
    await Deno.mkdir(at.weights);
    for (const name of ["rar", "var"] as const) {
      await writeTokenizer(at.network(tokenizerRecipes[name].name), name, name);
    }
    const before = device.memory().liveBytes;
    await makeTokens(options);
    assert.equal(device.memory().liveBytes, before);
    assert.equal(lines.length, 4);
    await makeTokens(options);
    assert.equal(lines.length, 4, "the files are there, nothing is computed again");
    assert.ok(loads > 0);

    for (const name of ["rar", "var"] as const) {
      const recipe = tokenizerRecipes[name];
      const set = await readTokens(at.tokens(recipe.name, "train"));
      assert.deepEqual([set.count, set.tokenCount], [5, name === "rar" ? 64 : 85]);
      assert.deepEqual([...set.classes], [0, 1, 2, 3, 4]);
      // Crop 2 by itself, as it is and mirrored.
      const family = await loadTokenizer(device, recipe, at.network(recipe.name));
      const [low, high] = family.valueRange;
      for (const mirrored of [false, true]) {
        const pixels = cropPixels(splits.train, [2], () => mirrored);
        const images = fromArray(device, pixels.map((v) => v * (high - low) + low), [1, 64, 64, 3]);
        const f = family.encode(images), { tokens, fHat } = family.quantize(f);
        const row = mirrored ? 7 : 2;
        const tokensOfRow = set.tokens.subarray(row * set.tokenCount, (row + 1) * set.tokenCount);
        assert.deepEqual([...tokensOfRow], [...await tokens.ints()]);
        for (const tensor of [images, f, tokens, fHat]) tensor.dispose();
      }
      family.dispose();
    }
    await writeTokenizer(at.network(tokenizerRecipes.var.name), "var", "another");
    await assert.rejects(makeTokens(options), /tokens expected of .* got .*remove the file to make it anew/);
  });
});
