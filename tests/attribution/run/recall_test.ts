/** Runs that find everything in their journal, and plans of those that do not. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { attributeFiles, type AttributeFilesOptions } from "../../../attribution/run/attribute.ts";
import { describePlan, makePlan, type RunPlan } from "../../../attribution/run/run_plan.ts";
import { stageCosts } from "../../../attribution/run/work_model.ts";
import { type ModelSet, openModelSet } from "../../../models/model_set.ts";
import { HashMemory } from "../../../util/hash_memory.ts";
import { copyStandIns, official, standIns } from "../../sets.ts";
import { withFolder, writeImages } from "../files.ts";

/** The set, of which no file can be opened any more. */
function sealed(set: ModelSet): ModelSet {
  const refused = ["loadTokenizer", "loadVariant", "openNetwork"];
  return new Proxy(set, {
    get(target, name) {
      if (refused.includes(String(name))) return () => Promise.reject(new Error(`${String(name)} was called`));
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

Deno.test("a run that has everything in its journal opens neither device, network nor decoder, and says the same", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 5, 32);
    const set = await openModelSet(standIns);
    const options: AttributeFilesOptions = { inputs: [join(dir, "in")], device: "cpu", threads: 1, models: set };
    const paths = (name: string) => ({ journal: join(dir, "j.sqlite"), out: join(dir, `${name}.csv`) });
    const first = await attributeFiles({ ...options, ...paths("first") });
    assert.equal(first.images.computed, 5);
    assert.ok(first.device !== null && first.plan !== null);

    const prepared: string[] = [];
    const onPrepare = (text: string) => void prepared.push(text);
    const again = await attributeFiles({ ...options, ...paths("again"), models: sealed(set) }, { onPrepare });
    assert.deepEqual(prepared.filter((text) => !text.startsWith("checking")), []);
    assert.deepEqual([again.device, again.plan, again.memory.devicePeakBytes], [null, null, 0]);
    const { total, done, recalled, computed } = again.images;
    assert.deepEqual({ total, done, recalled, computed }, { total: 5, done: 5, recalled: 5, computed: 0 });
    const [a, b] = await Promise.all(["first", "again"].map((name) => Deno.readTextFile(join(dir, `${name}.csv`))));
    assert.equal(a, b);

    // A file that is no image needs the decoder, and still no network.
    await Deno.writeTextFile(join(dir, "in", "5.png"), "no image");
    const more = await attributeFiles({ ...options, ...paths("more"), models: sealed(set) }, { onPrepare });
    assert.deepEqual([more.images.unreadable, more.images.computed], [1, 0]);
    assert.ok(!prepared.some((text) => text.startsWith("loading")), prepared.join());

    // An image that is new needs them all.
    await writeImages(join(dir, "in"), 7, 32);
    await assert.rejects(
      attributeFiles({ ...options, ...paths("new"), models: sealed(set) }),
      /loadTokenizer was called/,
    );
  });
});

Deno.test("check() opens no file that it remembers, and notices when one has changed", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "hashes.json"), folder = join(dir, "set");
    await copyStandIns(folder);
    const set = await openModelSet(folder);
    const files = set.networks.flatMap((network) => set.filesOf(network));
    const past = new Date(Date.now() - 3_600_000);
    for (const file of files) await Deno.utime(file, past, past);
    await new Promise((resolve) => setTimeout(resolve, 2200)); // until the times of entries tell a later write
    const looked = async () => {
      const networks: string[] = [];
      const memory = await HashMemory.open(path);
      await set.check({ memory, onNetwork: (title) => networks.push(title) });
      return networks.length;
    };
    assert.ok(await looked() > 0);
    assert.equal(await looked(), 0);
    const [file] = files;
    const bytes = await Deno.readFile(file);
    bytes[bytes.length - 1] ^= 1;
    await Deno.writeFile(file, bytes);
    await Deno.utime(file, past, past);
    await assert.rejects(looked(), /sha256|expected/);
  });
});

Deno.test("a run tells its plan before it begins, if it will take long", async () => {
  const set = await openModelSet(standIns);
  const listed = (images: number) =>
    Array.from({ length: images }, (_, k) => ({ imageName: `${k}.png`, path: `/no/such/folder/${k}.png` }));
  const plans = async (images: number) => {
    const plans: RunPlan[] = [], stop = new AbortController();
    await attributeFiles({ inputs: listed(images), models: set, device: "cpu", threads: 1, signal: stop.signal }, {
      onPlan: (plan) => void plans.push(plan),
      onStart: () => stop.abort(),
    });
    return plans;
  };
  assert.deepEqual(await plans(1), []);
  const [plan, ...others] = await plans(2_000_000);
  assert.deepEqual(others, []);
  assert.deepEqual([plan.images, plan.recalled, plan.networks.length], [2_000_000, 0, 10]);
  assert.ok(plan.seconds >= 10 && plan.rates.tokenizer > 1e8 && plan.rates.transformer > 1e8);
  assert.ok(plan.cheaper.some(({ change }) => change === "--search off"));
  assert.ok(plan.cheaper.every(({ flops }) => flops > 0));
});

Deno.test("describePlan() says what is computed, how fast, how long, and what would be cheaper", () => {
  const set = official(["rar", "var"]), signals = "core";
  const plan = makePlan({
    ...{ images: 300, recalled: 12, isCounted: true, networks: ["rar", "rarb"] },
    rates: { tokenizer: 100e9, transformer: 60e9 },
    device: { kind: "cpu", name: "WASM SIMD, 2 threads", software: false },
    costs: stageCosts(set, { signals, condition: "infer" }),
    others: [{ change: "--method perplexity", costs: stageCosts(set, { signals, condition: "none", openShare: 0.5 }) }],
    remarks: ["half of the memory"],
  });
  assert.deepEqual(describePlan(plan), [
    "plan: 300 images, 12 of them in the journal; networks: rar, rarb",
    "plan: about 50 TFLOP per image: tokenizers 1.8, classes 16, likelihoods 32",
    "plan: WASM SIMD, 2 threads: 100 GFLOP/s in a convolution, 60 in a product of these networks' sizes, measured now",
    "plan: about 17 min per image, 3.4 days in all; progress corrects this once networks have run",
    "plan: cheaper would be --method perplexity: 4.3 TFLOP, 1 min per image; a GPU of 20 TFLOP/s: 50 TFLOP, 2.5 s per image",
    "plan: half of the memory",
  ]);
});
