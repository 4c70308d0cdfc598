/** `deno task generate` as a process: what it prints and writes, how it stops and goes on, and what it refuses. */
import { labelsOf } from "../../attribution/labels.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { decodeImage } from "../../attribution/images/decode.ts";
import { openTrainingData } from "../../training/pairs.ts";
import { openSafetensors } from "../../models/checkpoint/mod.ts";
import { openModelSet } from "../../models/model_set.ts";
import { withFolder } from "../attribution/files.ts";
import { standIns } from "../sets.ts";
import { runTask, spawnTask } from "./processes.ts";

const set = await openModelSet(standIns);
const [rarName] = set.variants("rar");
const [varName] = set.variants("var");

const run = (cwd: string, ...args: string[]) => runTask("generate", cwd, ...args);

async function names(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir(dir)) found.push(name);
  return found.sort();
}

/** As in tests/core/devices.ts, which opens the devices; here only the processes do. */
const cpuOnly = Deno.args.includes("--cpu-only") || Deno.env.get("MODEL_TRACER_CPU_ONLY") === "1";

const onCpu = ["--models", standIns, "--device", "cpu"];

for (const device of cpuOnly ? ["cpu"] : ["cpu", "webgpu"]) {
  Deno.test(`generate --device ${device}: images that train reads, with tokens, class, seed and settings`, async () => {
    await withFolder(async (dir) => {
      const args = [
        "--models",
        standIns,
        "--device",
        device,
        "--model",
        varName,
        "-n",
        "3",
        "--seed",
        "4",
        "--out",
        "a",
      ];
      const { code, stdout, stderr } = await run(dir, ...args, "--class", "2", "--latents");
      assert.equal(code, 0, stderr);
      assert.equal(stdout, [0, 1, 2].map((i) => `${join("a", `${i}.png`)}  ${varName}  class 2\n`).join(""));
      assert.match(stderr, /generate: 3 of 3 images in .*; they are in a\n$/);
      assert.deepEqual(
        await names(join(dir, "a")),
        ["json", "png", "safetensors"].flatMap((e) => [0, 1, 2].map((i) => `${i}.${e}`)).sort(),
      );
      const { imageSize, patchNums, channels } = set.tokenizerFacts("var");
      const { tokens, ...record } = JSON.parse(await Deno.readTextFile(join(dir, "a", "1.json")));
      assert.deepEqual(record, {
        family: "var",
        variant: varName,
        class: 2,
        seed: 4,
        index: 1,
        sampler: set.manifest.families.var.variants[varName].sampler,
        modelSet: set.hash,
        device,
      });
      assert.equal(tokens.length, patchNums.reduce((sum, pn) => sum + pn * pn, 0));
      const image = await decodeImage(await Deno.readFile(join(dir, "a", "1.png")));
      assert.deepEqual([image.width, image.height], [imageSize, imageSize]);
      const latent = await openSafetensors(join(dir, "a", "1.safetensors"));
      assert.deepEqual(latent.tensors.get("f_Z")!.shape, [channels, patchNums.at(-1), patchNums.at(-1)]);
      latent.close();
    });
  });
}

Deno.test("generate --model all: a folder per variant, the same images in other batches, all of them pairs", async () => {
  await withFolder(async (dir) => {
    const all = await run(dir, ...onCpu, "--model", "all", "-n", "3", "--out", "all", "--json");
    assert.equal(all.code, 0, all.stderr);
    const variants = [...set.variants("rar"), ...set.variants("var")];
    assert.deepEqual(await names(join(dir, "all")), variants.toSorted());
    const lines = all.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(lines.length, 3 * variants.length + 1);
    assert.deepEqual(
      lines.slice(0, -1).map(({ path }) => path),
      variants.flatMap((v) => [0, 1, 2].map((i) => join("all", v, `${i}.png`))),
    );
    assert.deepEqual(lines.at(-1).images, { total: 3 * variants.length, written: 3 * variants.length, kept: 0 });
    assert.equal(lines.at(-1).status, "done");
    for (const [name, family] of [[rarName, "rar"], [varName, "var"]] as const) {
      const one = await run(dir, ...onCpu, "--model", name, "-n", "1", "--first", "2", "--batch", "1", "--out", name);
      assert.equal(one.code, 0, one.stderr);
      for (const file of ["2.png", "2.json"]) {
        assert.deepEqual(await Deno.readFile(join(dir, name, file)), await Deno.readFile(join(dir, "all", name, file)));
      }
      const facts = set.tokenizerFacts(family);
      const labels = labelsOf(set);
      const data = await openTrainingData({ family, ...facts }, { pairs: [join(dir, "all")], data: [], labels });
      assert.deepEqual([data.pairs.count, data.others?.count], [12, 12]);
    }
  });
});

Deno.test("generate --argmax and settings by option: recorded, and images of a class are equal", async () => {
  await withFolder(async (dir) => {
    const args = [
      ...onCpu,
      "--model",
      rarName,
      "-n",
      "2",
      "--class",
      "none",
      "--guidance",
      "3",
      "--temperature",
      "0.9",
    ];
    const { code, stderr, stdout } = await run(dir, ...args, "--argmax", "--out", "a");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /no class/);
    const records = await Promise.all(
      [0, 1].map(async (i) => JSON.parse(await Deno.readTextFile(join(dir, "a", `${i}.json`)))),
    );
    assert.deepEqual(records[0].tokens, records[1].tokens);
    const { power } = set.manifest.families.rar.variants[rarName].sampler;
    assert.deepEqual(records[0].sampler, { guidance: 3, power, temperature: 0.9, argmax: true });
    assert.equal(records[0].class, null);
  });
});

Deno.test("generate --more-smooth and --round-bytes: recorded, refused where they do not fit, no pairs", async () => {
  await withFolder(async (dir) => {
    const args = [...onCpu, "-n", "1", "--class", "2"];
    const made = await run(dir, ...args, "--model", varName, "--more-smooth", "--round-bytes", "--out", "a");
    assert.equal(made.code, 0, made.stderr);
    const record = JSON.parse(await Deno.readTextFile(join(dir, "a", "0.json")));
    const { sampler } = set.manifest.families.var.variants[varName];
    assert.deepEqual(record.sampler, { ...sampler, moreSmooth: true, roundBytes: true });
    const other = await run(dir, ...args, "--model", varName, "--more-smooth", "--out", "a", "--resume");
    assert.equal(other.code, 1);
    assert.match(other.stderr, /0\.json was made with sampler .*"roundBytes":true.*, expected/);
    for (
      const [more, message] of [
        [["--model", rarName], /--more-smooth: the sampler of \w+ \(rar\) has no such setting/],
        [["--model", varName, "--argmax"], /--more-smooth: draws mixtures of codes, which --argmax does not/],
      ] as const
    ) {
      const refused = await run(dir, ...args, ...more, "--more-smooth", "--out", "b");
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, message);
    }
    const facts = { family: "var", ...set.tokenizerFacts("var") } as const;
    const opened = openTrainingData(facts, { pairs: [join(dir, "a")], data: [], labels: labelsOf(set) });
    await assert.rejects(opened, /0\.png: the image was drawn with --more-smooth: it shows mixtures of codes/);
  });
});

Deno.test("generate --power 0 gives all tokens the same guidance, as the official demonstration", async () => {
  await withFolder(async (dir) => {
    const args = [...onCpu, "--model", rarName, "-n", "1", "--guidance", "4"];
    const { code, stderr } = await run(dir, ...args, "--power", "0", "--out", "a");
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(await Deno.readTextFile(join(dir, "a", "0.json"))).sampler.power, 0);
    const refused = await run(dir, ...args, "--power", "-1", "--out", "b");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /--power/);
  });
});

Deno.test("generate: an interrupted run keeps its images and --resume adds what is missing", async () => {
  await withFolder(async (dir) => {
    const args = [...onCpu, "--model", varName, "-n", "120", "--batch", "4"];
    const whole = await run(dir, ...args, "--out", "whole");
    assert.equal(whole.code, 0, whole.stderr);
    const process = await spawnTask("generate", dir, [...args, "--out", "parts"]);
    const stderr = new Response(process.stderr).text();
    let seen = 0;
    for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
      if (seen === 0) process.kill("SIGTERM");
      seen += text.split("\n").length - 1;
    }
    assert.equal((await process.status).code, 130, await stderr);
    assert.match(await stderr, /generate: interrupted; to go on, run the same command with --resume\n$/);
    const kept = (await names(join(dir, "parts"))).filter((name) => name.endsWith(".png"));
    assert.ok(kept.length === seen && seen >= 1 && seen < 120, `${kept.length} kept, ${seen} named`);
    await Deno.remove(join(dir, "parts", "0.png")); // its JSON alone is not an image
    const resumed = await run(dir, ...args, "--out", "parts", "--resume", "--batch", "7");
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(
      resumed.stderr,
      new RegExp(`${121 - seen} of 120 images in .*, ${seen - 1} were there; they are in parts\n$`),
    );
    assert.deepEqual(await names(join(dir, "parts")), await names(join(dir, "whole")));
    for (const name of await names(join(dir, "whole"))) {
      assert.deepEqual(
        await Deno.readFile(join(dir, "parts", name)),
        await Deno.readFile(join(dir, "whole", name)),
        name,
      );
    }
    const other = await run(dir, ...args, "--out", "parts", "--resume", "--seed", "1");
    assert.equal(other.code, 1);
    assert.match(
      other.stderr,
      /--resume parts: 0\.json was made with (seed|class) \d+, expected \d+: name another folder/,
    );
  });
});

Deno.test("generate refuses what cannot work, before it writes anything", async () => {
  await withFolder(async (dir) => {
    await Deno.mkdir(join(dir, "full"));
    await Deno.writeTextFile(join(dir, "full", "notes.txt"), "mine");
    await Deno.writeTextFile(join(dir, "file"), "");
    const refused: [string[], RegExp][] = [
      [[], /expected --model NAME and --out DIR/],
      [["--model", rarName], /expected --model NAME and --out DIR/],
      [["--model", "rarm", "--out", "x"], /--model: expected all or variants of .*var16.*, got rarm/],
      [["--model", rarName, "--out", "x", "-n", "0"], /--count: expected a whole number, 1 or more, got 0/],
      [["--model", rarName, "--out", "x", "--class", "cat"], /--class: expected the number of a class, random or none/],
      [["--model", "all", "--out", "x", "--class", "100000"], /--class: \w+ has the classes 0 to \d+, got 100000/],
      [["--model", rarName, "--out", "x", "--top-k", "5"], /--top-k: the sampler of \w+ \(rar\) has no such setting/],
      [["--model", varName, "--out", "x", "--top-k", "5000"], /--top-k: expected a whole number from 0 .* got 5000/],
      [["--model", varName, "--out", "x", "--top-p", "1.5"], /--top-p: expected a number from 0 \(off\) to 1, got 1.5/],
      [["--model", rarName, "--out", "x", "--seed", "4294967296"], /--seed: expected a whole number, from 0 to/],
      [["--model", rarName, "--out", "x", "--first", "4294967295"], /--first: expected images below 2\^32/],
      [
        ["--model", rarName, "--out", "x", "--memory", "1MiB"],
        /memory: the limit of 1\.00 MiB is not enough .*what would help: .*--memory \d/s,
      ],
      [["--model", rarName, "--out", "x", "--models", "."], /expected the manifest of a set of weights/],
      [["--model", rarName, "--out", "full"], /--out full: is not empty \(it has notes.txt\): .*--resume/],
      [["--model", rarName, "--out", "file"], /--out file: /],
      [["--model", rarName, "--out", "x", "--gidance", "2"], /unknown option --gidance; did you mean --guidance\?/],
    ];
    const results = await Promise.all(
      refused.map(([args]) => run(dir, ...onCpu.slice(args.includes("--models") ? 2 : 0), ...args)),
    );
    results.forEach(({ code, stdout, stderr }, i) => {
      const what = refused[i][0].join(" ");
      assert.equal(code, 1, `${what}: ${stderr}`);
      assert.match(stderr, /^generate: /, what);
      assert.match(stderr, refused[i][1], what);
      assert.equal(stdout, "", what);
    });
    const files = await names(dir);
    assert.deepEqual(files.filter((name) => name !== "x"), ["file", "full"]);
    if (files.includes("x")) assert.deepEqual(await names(join(dir, "x")), []);
    assert.deepEqual(await names(join(dir, "full")), ["notes.txt"]);
  });
});
