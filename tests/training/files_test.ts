/** Pairs and label folders, the state of a run, and what is refused: by the text of its error. */
import { officialLabels } from "../labels.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { encodePng } from "../../attribution/images/decode.ts";
import { formatPair, pairPath, readPair } from "../../generation/pair_file.ts";
import { runTraining, type TrainingJobOptions } from "../../training/run_training.ts";
import { openTrainingData, type PairFamily } from "../../training/pairs.ts";
import { loadState, saveState, stateFile } from "../../training/state.ts";
import { DivergenceError } from "../../training/train.ts";
import { openDevice } from "../../core/open_device.ts";
import { writeSafetensors } from "../../models/checkpoint/mod.ts";
import { withFolder, writeImages } from "../attribution/files.ts";
import { goldenImage } from "../attribution/golden_image.ts";
import { tinySizes, writePairs } from "./pairs.ts";
import { standIns } from "../sets.ts";
import { PartFile } from "../../util/files.ts";

const rar: PairFamily = { family: "rar", imageSize: 32, tokenCount: 64, codes: 64 };
const tokens = Array.from({ length: 64 }, (_, i) => i);

/** Writes an image with the given sidecar text. */
async function writePair(path: string, pair: string | null, size = 32): Promise<void> {
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.writeFile(path, await encodePng(goldenImage(1, size, size)));
  if (pair !== null) await Deno.writeTextFile(pairPath(path), pair);
}

Deno.test("readPair() reads what formatPair() writes, beside the image", async () => {
  await withFolder(async (dir) => {
    const pair = { tokens: [3, 1, 2], family: "var", variant: "var16", class: 7, seed: 5 } as const;
    assert.equal(pairPath("a.b/7.png"), "a.b/7.json");
    assert.equal(pairPath("a.b/7"), "a.b/7.json");
    await writePair(join(dir, "7.png"), formatPair({ ...pair, tokens: [...pair.tokens] }));
    assert.deepEqual(await readPair(join(dir, "7.png")), pair);
    assert.equal(await readPair(join(dir, "8.png")), undefined);
  });
});

Deno.test("openTrainingData() takes the family's pairs, and the other family's for comparison", async () => {
  await withFolder(async (dir) => {
    await writePair(join(dir, "rarb", "1.png"), formatPair({ tokens }));
    await writePair(join(dir, "rarl", "1.png"), formatPair({ tokens: tokens.toReversed(), family: "rar" }));
    await writePair(join(dir, "var16", "1.png"), formatPair({ tokens: [1], family: "var" }));
    const { pairs, others } = await openTrainingData(rar, { pairs: [dir], data: [], labels: officialLabels });
    assert.deepEqual([pairs.count, pairs.partial, others?.count], [2, false, 1]);
    const [first, second] = await pairs.batch([0, 1]);
    assert.deepEqual([...first.tokens!], tokens);
    assert.deepEqual([...second.tokens!], tokens.toReversed());
    assert.deepEqual([...first.pixels], [...goldenImage(1, 32, 32).data].map((byte) => Math.fround(byte / 255)));
    // The fingerprint is of images and tokens, wherever they lie.
    const moved = join(dir, "rarb", "x");
    await Deno.mkdir(moved);
    for (const name of ["1.png", "1.json"]) await Deno.rename(join(dir, "rarb", name), join(moved, name));
    assert.equal(
      (await openTrainingData(rar, { pairs: [dir], data: [], labels: officialLabels })).pairs.fingerprint,
      pairs.fingerprint,
    );
    await Deno.writeTextFile(join(moved, "1.json"), formatPair({ tokens: tokens.with(0, 5) }));
    assert.notEqual(
      (await openTrainingData(rar, { pairs: [dir], data: [], labels: officialLabels })).pairs.fingerprint,
      pairs.fingerprint,
    );
  });
});

Deno.test("openTrainingData() takes several folders, whose images may have the same names", async () => {
  await withFolder(async (dir) => {
    const folders = ["a", "b"].map((name) => join(dir, name));
    await writePair(join(folders[0], "1.png"), formatPair({ tokens }));
    await writePair(join(folders[1], "1.png"), formatPair({ tokens: tokens.toReversed() }));
    const { pairs } = await openTrainingData(rar, { pairs: folders, data: [], labels: officialLabels });
    assert.deepEqual((await pairs.batch([0, 1])).map((pair) => pair.tokens![0]), [0, 63]);
    // The folder around them has the same images; none is there twice.
    const again = await openTrainingData(rar, { pairs: [...folders, dir], data: [], labels: officialLabels });
    assert.deepEqual([again.pairs.count, again.pairs.fingerprint], [2, pairs.fingerprint]);
    await writePair(join(folders[1], "2.png"), null);
    const open = openTrainingData(rar, { pairs: folders, data: [], labels: officialLabels });
    await assert.rejects(
      open,
      ({ message }: Error) => message.endsWith(`have no tokens beside them: ${folders[1]}/2.png`),
    );
  });
});

Deno.test("openTrainingData() takes label folders: own labels without tokens, the other family's, no outliers", async () => {
  await withFolder(async (dir) => {
    for (const [label, count] of [["rarb", 3], ["rarxxl", 2], ["var20", 4], ["outlier", 5]] as const) {
      await writeImages(join(dir, label), count, 32);
    }
    const { pairs, others } = await openTrainingData(rar, { pairs: [], data: [dir], labels: officialLabels });
    assert.deepEqual([pairs.count, pairs.partial, others?.count], [5, true, 4]);
    assert.equal((await pairs.batch([4]))[0].tokens, null);
    const limited = await openTrainingData(rar, { pairs: [], data: [dir], labels: officialLabels, limit: 2 });
    assert.equal(limited.pairs.count, 2);
  });
});

const refused: Record<string, { write: (dir: string) => Promise<void>; data?: boolean; message: RegExp }> = {
  "no images": {
    write: (dir) => Deno.mkdir(dir, { recursive: true }),
    message: /: expected PNG, JPEG or WebP files in this folder or below it, got an empty folder$/,
  },
  "images without tokens": {
    write: (dir) => writeImages(dir, 3, 32),
    message: /: no pairs found: none of 3 images has its tokens beside it, as 7\.json for 7\.png; .* use --data$/,
  },
  "some images without tokens": {
    write: async (dir) => {
      await writePair(join(dir, "1.png"), formatPair({ tokens }));
      await writePair(join(dir, "2.png"), null);
    },
    message: /: 1 of 2 images have no tokens beside them: 2\.png$/,
  },
  "pairs of the other family only": {
    write: (dir) => writePair(join(dir, "1.png"), formatPair({ tokens, family: "var" })),
    message: /: no pairs found: all 1 images are of other families$/,
  },
  "tokens of another number": {
    write: (dir) => writePair(join(dir, "1.png"), formatPair({ tokens: [1, 2] })),
    message: /1\.png: expected 64 tokens \(rar\), got 2$/,
  },
  "a code that does not exist": {
    write: (dir) => writePair(join(dir, "1.png"), formatPair({ tokens: tokens.with(9, 64) })),
    message: /1\.png: token 9: expected a code below 64 \(rar\), got 64$/,
  },
  "tokens that are no numbers": {
    write: (dir) => writePair(join(dir, "1.png"), `{"tokens": [1, "2"]}`),
    message: /1\.json: tokens\.1: expected number, got "2"$/,
  },
  "images of mixed sizes": {
    write: async (dir) => {
      await writePair(join(dir, "1.png"), formatPair({ tokens }));
      await writePair(join(dir, "2.png"), formatPair({ tokens }), 48);
    },
    message:
      /^images of mixed sizes: the rar encoder expects 32x32, got 32x32 \(1 image, .*1\.png\), 48x48 \(1 .*2\.png\);/,
  },
  "images of another size": {
    write: (dir) => writePair(join(dir, "1.png"), formatPair({ tokens }), 48),
    message: /^images of another size: the rar encoder expects 32x32, got 48x48 .* by --models$/,
  },
  "a damaged image": {
    write: async (dir) => {
      await writePair(join(dir, "1.png"), formatPair({ tokens }));
      await Deno.truncate(join(dir, "1.png"), 200);
    },
    message: /^1 of 1 images cannot be read: 1\.png \(.*\)$/,
  },
  "folders that are no labels": {
    write: (dir) => writeImages(join(dir, "cats"), 1, 32),
    data: true,
    message: /^--data .*: cats\/0\.png: expected folders named rarb, .*, outlier, got cats$/,
  },
  "label folders of the other family only": {
    write: (dir) => writeImages(join(dir, "var16"), 1, 32),
    data: true,
    message: /: no images of the family rar found \(rarb, rarl, rarxl, rarxxl\)$/,
  },
};

for (const [what, { write, data, message }] of Object.entries(refused)) {
  Deno.test(`openTrainingData() refuses ${what}`, async () => {
    await withFolder(async (dir) => {
      const folder = join(dir, "d");
      await write(folder);
      const open = openTrainingData(rar, {
        pairs: data ? [] : [folder],
        data: data ? [folder] : [],
        labels: officialLabels,
      });
      await assert.rejects(open, ({ message: text }: Error) => message.test(text) || assert.fail(text));
    });
  });
}

/** A folder with 16 pairs, and how to run on them. */
async function withRun(
  body: (run: (options: Partial<TrainingJobOptions>) => ReturnType<typeof runTraining>, dir: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (dir) => {
    const device = await openDevice("cpu");
    await writePairs(device, "rar", join(dir, "pairs"), 16);
    device.close();
    const run = ({ recipe, ...options }: Partial<TrainingJobOptions>) =>
      runTraining(
        options.resume !== undefined ? { recipe, ...options } : {
          family: "rar",
          models: standIns,
          device: "cpu",
          pairs: [join(dir, "pairs")],
          run: join(dir, "run"),
          recipe: { epochs: 1, batch: 8, ...recipe },
          ...options,
        },
      );
    await body(run, dir);
  });
}

const says = (pattern: RegExp) => ({ message }: Error) => pattern.test(message) || assert.fail(message);

Deno.test("a run is resumed only as what it was", async () => {
  await withRun(async (run, dir) => {
    const resume = join(dir, "run");
    const out = join(dir, "out.safetensors");
    await Deno.writeTextFile(out, "of another run");
    await assert.rejects(run({ out }), says(/^--out .*: this file exists: name another file, or .* --force$/));
    const claim = await PartFile.create("--out", out);
    await assert.rejects(run({ out, force: true }), says(/^--out .*: another run is writing this file/));
    await claim.discard();
    assert.equal((await run({ out, force: true })).status, "done");
    const encoder = await Deno.readFile(out);
    assert.ok(encoder.length > 1000);
    assert.equal((await run({ resume })).out, out, "a run replaces its own file");
    assert.deepEqual(await Deno.readFile(out), encoder);
    await assert.rejects(
      run({}),
      says(/^--run .*: has a run already: go on with --resume .*, or name another folder$/),
    );
    await assert.rejects(run({ resume, family: "var" }), says(/: is a run of the family rar, got --family var$/));
    await assert.rejects(
      run({ resume, recipe: { lr: 1e-3, stepSize: 2, weightDecay: 0.1 } }),
      says(
        /: was started with --lr 0\.0005, got 0\.001; with --weight-decay 0, got 0\.1: start a new run with --run DIR$/,
      ),
    );
    await assert.rejects(run({ resume, device: "webgpu" }), says(/: was started with --device cpu, got webgpu/));
    await assert.rejects(
      run({ resume: join(dir, "pairs") }),
      says(/expected the folder of a run, with state\.safetensors/),
    );
    const { tokenCount, imageSize } = await tinySizes("rar");
    const others = new Array<number>(tokenCount).fill(0);
    await writePair(join(dir, "pairs", "0.png"), formatPair({ tokens: others }), imageSize);
    await assert.rejects(run({ resume }), says(/: the images or tokens in .*pairs have changed since$/));
  });
});

Deno.test("a run refuses states of other weights and other shapes by name", async () => {
  await withRun(async (run, dir) => {
    const resume = join(dir, "run");
    await run({});
    const state = await loadState(resume);
    await saveState(resume, { ...state, settings: { ...state.settings, modelSet: "0".repeat(64) } });
    await assert.rejects(run({ resume }), says(/: was started with other weights \(0{12}\), .* has [0-9a-f]{12}$/));
    const name = "encoder.conv_out.weight";
    const parameters = new Map(state.parameters).set(name, { shape: [1, 2], values: new Float32Array(2) });
    await saveState(resume, { ...state, parameters });
    const expected = state.parameters.get(name)!.shape.join();
    await assert.rejects(
      run({ resume }),
      ({ message }: Error) => message.endsWith(`expected [${expected}], got [1,2]`),
    );
    const path = join(resume, stateFile);
    await Deno.truncate(path, 100_000);
    await assert.rejects(
      run({ resume }),
      says(/^--resume .*: expected the state of a training run, got state\.safetensors: .*truncated/),
    );
    await writeSafetensors(path, []);
    await assert.rejects(run({ resume }), says(/expected the state of a training run, got another file$/));
  });
});

Deno.test("a learning rate of 1e6 stops with step, rate and advice, and keeps the last good state", async () => {
  await withRun(async (run, dir) => {
    await assert.rejects(run({ recipe: { lr: 1e6, epochs: 10 } }), (error: Error) => {
      assert.ok(error instanceof DivergenceError, error.message);
      return says(
        /^training diverges at step \d+ \(epoch \d+, learning rate \d+\): the .* try again in another folder \(--run\) with a lower rate \(--lr 0\.0005\) or with --clip 1; the last good state of this run is kept$/,
      )(error);
    });
    // Not even the encoder after two steps at that rate has become the state, or the best one.
    const { position, parameters } = await loadState(join(dir, "run"));
    assert.deepEqual([position.history.length, position.best], [1, null]);
    const left = await Array.fromAsync(Deno.readDir(join(dir, "run")), ({ name }) => name);
    assert.deepEqual(left.sort(), ["log.csv", stateFile]);
    for (const { values } of parameters.values()) assert.ok(values.every(Number.isFinite));
  });
});

Deno.test("a state that cannot be written leaves the one before it, and says so", async () => {
  await withRun(async (run, dir) => {
    await run({});
    const path = join(dir, "run", stateFile);
    const before = await Deno.readFile(path);
    const state = await loadState(join(dir, "run"));
    // The real writer, whose disk fills up in the middle of the file.
    let written = 0;
    const full: typeof writeSafetensors = async (target, entries, metadata) => {
      const failing = [];
      for await (const entry of entries) {
        failing.push({
          ...entry,
          data: () => {
            if (++written > 20) throw new Error("No space left on device (os error 28)");
            return entry.data();
          },
        });
      }
      await writeSafetensors(target, failing, metadata);
    };
    await assert.rejects(
      saveState(join(dir, "run"), state, full),
      says(
        /state\.safetensors: cannot be written \([\d.]+ MiB\): No space left on device .*; the file that was there before is intact: make room, then go on with --resume .*run$/,
      ),
    );
    assert.ok(written > 20);
    assert.deepEqual(await Deno.readFile(path), before);
    const left = (await Array.fromAsync(Deno.readDir(join(dir, "run")), ({ name }) => name)).sort();
    assert.deepEqual(left, ["best.safetensors", "encoder.safetensors", "log.csv", stateFile]);
  });
});

Deno.test("a first state that cannot be written leaves nothing to go on with, and says so", async () => {
  await withRun(async (run, dir) => {
    await run({});
    const state = await loadState(join(dir, "run"));
    const full: typeof writeSafetensors = () => Promise.reject(new Error("No space left on device (os error 28)"));
    await assert.rejects(
      saveState(join(dir, "new"), state, full),
      says(/: No space left on device .*; nothing was left behind: make room, then start again$/),
    );
  });
});

Deno.test("a run whose end came between saving an epoch and writing its log and best encoder catches up", async () => {
  await withRun(async (run, dir) => {
    await run({});
    const files = ["best.safetensors", "log.csv"].map((name) => join(dir, "run", name));
    const before = await Promise.all(files.map((file) => Deno.readFile(file)));
    for (const file of files) await Deno.remove(file);
    await run({ resume: join(dir, "run") });
    for (const [i, file] of files.entries()) assert.deepEqual(await Deno.readFile(file), before[i], file);
  });
});

Deno.test("a refused run leaves no folder", async () => {
  await withRun(async (run, dir) => {
    await assert.rejects(
      run({ out: join(dir, "nowhere", "x") }),
      says(/^--out .*: cannot write .* to .*nowhere: the folder does not exist$/),
    );
    await assert.rejects(run({ recipe: { holdout: 0.99 } }), says(/^--holdout 0\.99: leaves none of 16 images/));
    await assert.rejects(Deno.stat(join(dir, "run")), Deno.errors.NotFound);
  });
});

Deno.test("label folders are trained on with tokens that are chosen anew every epoch", async () => {
  await withFolder(async (dir) => {
    const { imageSize, tokenCount } = await tinySizes("rar");
    for (const [label, count] of [["rarb", 8], ["rarl", 8], ["var16", 3]] as const) {
      await writeImages(join(dir, "data", label), count, imageSize);
    }
    const stop = new AbortController();
    const options = { family: "rar", models: standIns, data: [join(dir, "data")], device: "cpu" } as const;
    const recipe = { epochs: 3, batch: 4, lr: 1e-4 };
    const whole = await runTraining({ ...options, run: join(dir, "whole"), recipe });
    const { position } = await loadState(join(dir, "whole"));
    const [first, , , last] = position.history;
    // Before training the targets are what the encoder gives; afterwards they are those of the epoch's beginning.
    assert.equal(first.tokenRecovery, 1);
    assert.ok(last.tokenRecovery! < 1 && last.heldOutLoss! < first.heldOutLoss!, JSON.stringify(last));
    assert.ok(last.auc !== null);
    // Interrupted within an epoch, the targets are part of the state.
    const parts = await runTraining({ ...options, run: join(dir, "parts"), recipe, signal: stop.signal }, {
      onProgress: (images) => images > 18 && stop.abort(),
    });
    assert.equal(parts.status, "interrupted");
    const saved = await loadState(join(dir, "parts"));
    assert.equal(saved.targets?.length, 16 * tokenCount);
    const resumed = await runTraining({ resume: join(dir, "parts") });
    assert.deepEqual(await Deno.readFile(resumed.out!), await Deno.readFile(whole.out!));
  });
});
