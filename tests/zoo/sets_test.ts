/** Sets in the working folder: of all networks, of some, and what is said where networks are not trained yet. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openModelSet } from "../../models/model_set.ts";
import { zooPaths } from "../../zoo/paths.ts";
import { zooRecipes } from "../../zoo/recipes.ts";
import { writeRelease, writeSets } from "../../zoo/release.ts";
import { withFolder } from "../attribution/files.ts";
import { openCpuForTests } from "../core/devices.ts";
import { tiny } from "../sets.ts";

/** Options of steps whose working folder has some of the embedded networks. */
async function options(work: string, networks: readonly string[], models?: readonly string[]) {
  const at = zooPaths(work), lines: string[] = [];
  await Deno.mkdir(at.weights, { recursive: true });
  for (const name of networks) await Deno.copyFile(join(tiny, `${name}.safetensors`), at.network(name));
  const device = await openCpuForTests({ threads: 1 });
  device.close();
  return { recipe: zooRecipes.tiny, device, work, models, log: (line: string) => void lines.push(line), lines };
}

const some = ["maskgit_vq", "vqvae", "rarb", "var16"];

Deno.test("writeSets() makes a set of the transformers that are named, and names those that are not trained", async () => {
  await withFolder(async (work) => {
    await assert.rejects(writeSets(await options(work, some)), /^Error: rarl, rarxl, .*var30: not there yet/);
    await assert.rejects(writeSets(await options(work, some, ["rarb", "nobody"])), /no transformer is called nobody/);
    const { lines, ...given } = await options(work, some, ["rarb", "var16"]);
    assert.ok(await writeSets(given));
    const set = await openModelSet(join(work, "set"));
    await set.check();
    assert.deepEqual(set.families.map((family) => set.variants(family)), [["rarb"], ["var16"]]);
    // Generators outside of the set that are not named are not looked for.
    assert.equal(lines.length, 1, lines.join("; "));

    assert.ok(await writeSets(await options(work, some, ["rarb"])));
    assert.deepEqual((await openModelSet(join(work, "set"))).families, ["rar"], "a family without transformers");
  });
});

Deno.test("writeRelease() names the families whose inverse decoders are not there", async () => {
  await withFolder(async (work) => {
    await assert.rejects(
      writeRelease(await options(work, some, ["rarb", "var16"]), join(work, "out")),
      /inverse decoders of rar, var: not there yet; deno task zoo inverse makes them/,
    );
  });
});
