/** Checks of whole sets: the embedded one, one whose networks are not what they should be, official sizes as figures. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type CheckedVariant, checkSet, type PlannedVariant } from "../../../generation/check/check_set.ts";
import { figuresOf } from "../../../generation/check/figures.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { familyNamed } from "../../../models/registry.ts";
import { withFolder } from "../../attribution/files.ts";
import { standIns, tiny } from "../../sets.ts";

const few = { device: "cpu", threads: 1, each: 1, minutes: 10, memoryBytes: 2 ** 30 } as const;

Deno.test("checkSet() finds the embedded set's own images, cheapest variants first, and writes nothing", async () => {
  const seen: CheckedVariant[] = [], plans: (readonly PlannedVariant[])[] = [];
  const result = await checkSet({ ...few, models: tiny, only: ["rarl", "var16", "rarb"], each: 2 }, {
    onVariant: (variant) => seen.push(variant),
    onPlan: (plan) => plans.push(plan),
  });
  assert.equal(result.result, "good", result.summary);
  assert.deepEqual(seen.map(({ variant, images }) => [variant, images]), [["rarb", 2], ["var16", 2], ["rarl", 2]]);
  assert.deepEqual(plans.map((plan) => plan.map(({ variant }) => variant)), [
    ["rarb", "var16", "rarl"],
    ["var16", "rarl"],
  ]);
  assert.ok(plans[0][0].seconds === undefined && plans[1][0].seconds! > 0);
  assert.deepEqual(Object.keys(result.images.find(({ variant }) => variant === "rarb")!.nats).sort(), ["rarb", "rarl"]);
  assert.equal(result.verdicts.length, 6);
  // The embedded set's classes are found in most images; half of its ten are kept.
  const found = result.variants.map(({ classes }) => classes!);
  const sum = (name: "images" | "kept" | "first") => found.reduce((total, one) => total + one[name], 0);
  assert.equal(sum("images"), 6);
  assert.ok(sum("kept") >= sum("first") && sum("first") >= 3, JSON.stringify(found));
  assert.ok(found.every(({ chance }) => chance > 0 && chance <= 0.5), JSON.stringify(found));
  assert.deepEqual([result.isCalibrated, result.withEncoder, result.left], [true, ["rar", "var"], []]);
});

Deno.test("checkSet() says bad of networks that are not those of the figures, and begins no variant out of time", async () => {
  await withFolder(async (dir) => {
    const manifest = JSON.parse(await Deno.readTextFile(join(tiny, "manifest.json")));
    const { config, sampler } = manifest.families.rar.variants.rarb;
    manifest.families.rar.variants.rarb = { synthetic: { salt: "another" }, config, sampler };
    delete manifest.calibration;
    for await (const { name } of Deno.readDir(tiny)) await Deno.symlink(join(tiny, name), join(dir, name));
    await Deno.remove(join(dir, "manifest.json"));
    await Deno.writeTextFile(join(dir, "manifest.json"), JSON.stringify(manifest));
    const result = await checkSet({ ...few, models: dir, only: ["rarb", "rarl"], minutes: 0, each: 4 });
    assert.equal(result.result, "bad", result.summary);
    assert.match(
      result.summary,
      /would not find .*there are no verdicts yet: deno task calibrate.*rarb: nats per drawn token is/,
    );
    assert.deepEqual([result.left, result.variants.map(({ variant }) => variant)], [["rarl"], ["rarb"]]);
  });
});

Deno.test("checkSet() of a set without figures measures only, and refuses variants that it lacks", async () => {
  const result = await checkSet({ ...few, models: standIns, only: ["rarb"] });
  assert.deepEqual([result.result, result.comparisons, result.variants.length], ["unknown", [], 1]);
  assert.match(result.summary, /cannot be said: there are no figures of this set/);
  await assert.rejects(checkSet({ ...few, models: tiny, only: ["rarz"] }), /--only: expected variants of .*got rarz$/);
});

Deno.test("checkSet() that is interrupted judges what it has", async () => {
  const controller = new AbortController();
  const onVariant = () => controller.abort();
  const options = { ...few, models: tiny, only: ["rarb", "rarl"], signal: controller.signal };
  const { status, variants, left, verdicts } = await checkSet(options, { onVariant });
  assert.deepEqual([status, variants.map(({ variant }) => variant), left], ["interrupted", ["rarb"], ["rarl"]]);
  assert.equal(verdicts.length, 0);
});

Deno.test("figuresOf() has published figures of networks of the published configuration, and those only", async () => {
  await withFolder(async (dir) => {
    const family = (name: string, variants: readonly string[]) => {
      const { officialTokenizer, officialVariants } = familyNamed(name);
      const entry = { synthetic: { salt: name } };
      const rows = officialVariants.filter(({ label }) => variants.includes(label));
      return {
        tokenizer: { ...entry, config: officialTokenizer },
        variants: Object.fromEntries(rows.map(({ label, config, sampler }) => [label, { ...entry, config, sampler }])),
      };
    };
    const families = { rar: family("rar", ["rarb"]), var: family("var", ["var16"]) };
    const write = (value: unknown) => Deno.writeTextFile(join(dir, "manifest.json"), JSON.stringify(value));
    await write({ format: "model-tracer-weights/1", name: "some", families });
    const of = async () => (await figuresOf(await openModelSet(dir)))?.figures.map(({ of }) => of);
    assert.deepEqual([...new Set(await of())], ["rar", "var", "rarb", "var16", "all"]);
    const other = {
      ...families.var.variants.var16,
      config: { ...families.var.variants.var16.config as object, depth: 2 },
    };
    const changed = { ...families, var: { ...families.var, variants: { var16: other } } };
    await write({ format: "model-tracer-weights/1", name: "some", families: changed });
    assert.deepEqual([...new Set(await of())], ["rar", "rarb"], "one that is not whole has no figures of all");
  });
  assert.equal(await figuresOf(await openModelSet(standIns)), undefined);
});
