import assert from "node:assert/strict";
import { join } from "node:path";
import { openDevice } from "../../core/open_device.ts";
import { fromArray, scope } from "../../core/tensor/mod.ts";
import { familiesOf, type Manifest, modelSetHash, parseManifest } from "../../models/manifest.ts";
import { networkName, openModelSet } from "../../models/model_set.ts";
import { hostileCheckpoint } from "./hostile.ts";
import { copyStandIns, standIns } from "../sets.ts";
import { canonicalJson } from "../../util/json.ts";
import { hashFile } from "../../util/hash.ts";

const text = await Deno.readTextFile(join(standIns, "manifest.json"));

// deno-lint-ignore no-explicit-any -- edits make manifests that are not valid
type Edit = (manifest: any) => void;

function edited(edit: Edit): string {
  const manifest = JSON.parse(text);
  edit(manifest);
  return JSON.stringify(manifest);
}

/** A folder with the stand-ins, its manifest changed. */
async function setWith(edit: Edit, change: (dir: string) => Promise<void> = () => Promise.resolve()): Promise<string> {
  const dir = await Deno.makeTempDir();
  await copyStandIns(dir, { calibration: true });
  await Deno.writeTextFile(join(dir, "manifest.json"), edited(edit));
  await change(dir);
  return dir;
}

Deno.test("parseManifest() reads the stand-ins' manifest", () => {
  const manifest = parseManifest(text);
  assert.equal(manifest.name, "standins");
  assert.deepEqual(Object.keys(manifest.families.rar.variants), ["rarb", "rarl", "rarxl", "rarxxl"]);
  assert.deepEqual(Object.keys(manifest.families.var.variants), ["var16", "var20", "var24", "var30"]);
});

Deno.test("parseManifest() reads sets of one family", () => {
  for (const [name, other] of [["rar", "var"], ["var", "rar"]]) {
    const manifest = parseManifest(edited((m) => delete m.families[other]));
    assert.deepEqual(familiesOf(manifest), [name]);
  }
});

const invalid: [string, Edit, string][] = [
  ["a missing field", (m) => delete m.families.rar.tokenizer.bytes, "families.rar.tokenizer.bytes: is missing"],
  [
    "a set without families",
    (m) => m.families = {},
    "families: expected at least one of rar, var, llamagen, llamagen384, got none",
  ],
  ["an unknown family", (m) => m.families.gan = m.families.rar, "families.gan: is not a known field"],
  [
    "a name that two families share",
    (m) => m.families.var.variants.rarb = m.families.var.variants.var16,
    "families.var.variants.rarb: expected another name, this one is a variant of rar",
  ],
  [
    "a variant called outlier",
    (m) => m.families.var.variants.outlier = m.families.var.variants.var16,
    "families.var.variants.outlier: expected another name, this one is a label of images that no variant made",
  ],
  ["an unknown field", (m) => m.families.rar.tokenizer.fyle = "x", "families.rar.tokenizer.fyle: is not a known field"],
  ["a wrong type", (m) => m.families.rar.tokenizer.file = 3, "families.rar.tokenizer.file: expected string, got 3"],
  [
    "a short hash",
    (m) => m.families.rar.tokenizer.sha256 = "abc",
    'families.rar.tokenizer.sha256: expected 64 lower-case hexadecimal digits, got "abc"',
  ],
  [
    "a path that leaves the folder",
    (m) => m.families.rar.tokenizer.file = "../secret.bin",
    'families.rar.tokenizer.file: expected a path inside the set\'s folder, got "../secret.bin"',
  ],
  [
    "an absolute path",
    (m) => m.calibration = "/etc/passwd",
    'calibration: expected a path inside the set\'s folder, got "/etc/passwd"',
  ],
  [
    "a wrong field of synthetic weights",
    (m) => m.families.rar.variants.rarl.synthetic = { seed: 1 },
    "families.rar.variants.rarl.synthetic.salt: is missing",
  ],
  [
    "a fraction",
    (m) => m.families.var.variants.var16.config.depth = 1.5,
    "families.var.variants.var16.config.depth: expected a whole number, got 1.5",
  ],
  [
    "a transformer that does not fit its tokenizer",
    (m) => m.families.rar.variants.rarl.config.codes = 65,
    "families.rar.variants.rarl.config.codes: expected the tokenizer's 64, got 65",
  ],
  [
    "scales that do not end at the latent's size",
    (m) => m.families.var.tokenizer.config.patchNums = [1, 2, 7],
    "families.var.tokenizer.config.patchNums: expected a last number of 8, got 7",
  ],
  ["no variants", (m) => m.families.rar.variants = {}, "families.rar.variants: expected at least one, got none"],
  ["another format", (m) => m.format = "v2", 'format: expected "model-tracer-weights/1", got "v2"'],
];

for (const [what, edit, message] of invalid) {
  Deno.test(`parseManifest() refuses ${what}, naming the place`, () => {
    assert.throws(() => parseManifest(edited(edit)), (error: Error) => {
      assert.ok(error.message.split("\n").includes(`manifest.json: ${message}`), error.message);
      return true;
    });
  });
}

Deno.test("parseManifest() refuses every size of a configuration that no memory holds", () => {
  const { families } = JSON.parse(text);
  let sizes = 0;
  for (const family of Object.keys(families)) {
    const variant = Object.keys(families[family].variants)[0];
    const places = [["tokenizer", families[family].tokenizer], [
      `variants.${variant}`,
      families[family].variants[variant],
    ]];
    for (const [at, { config }] of places) {
      for (const [field, value] of Object.entries({ ...config, normGroups: 8, spareRows: 2 })) {
        if (typeof value === "boolean" || !(field in config)) continue;
        const place = `families.${family}.${at}.config.${field}`;
        const huge = edited((m) => {
          const network = at === "tokenizer" ? m.families[family].tokenizer : m.families[family].variants[variant];
          network.config[field] = Array.isArray(value) ? value.map(() => 1e9) : 1e9;
        });
        assert.throws(() => parseManifest(huge), (error: Error) => {
          assert.match(error.message, /: expected at most [0-9]+, got 1000000000/);
          assert.ok(error.message.includes(`manifest.json: ${place}`), `${place}: ${error.message}`);
          return true;
        });
        sizes++;
      }
    }
  }
  assert.ok(sizes >= 28, `${sizes} sizes`);
  const long = edited((m) => m.families.var.tokenizer.config.patchNums = Array(10_000).fill(1));
  assert.throws(() => parseManifest(long), /patchNums: expected at most 64 numbers/);
});

Deno.test("parseManifest() lists every problem, and says when a file is not JSON", () => {
  const two = edited((m) => {
    m.name = 1;
    m.families.rar.tokenizer.bytes = -1;
  });
  assert.throws(() => parseManifest(two), /name: expected string, got 1\n.*bytes: expected at least 1, got -1/);
  assert.throws(() => parseManifest("{", "a/manifest.json"), /^ModelSetError: a\/manifest.json: is not JSON: /);
});

Deno.test("modelSetHash() depends on configurations and files, not on order, names and calibration", async () => {
  const hash = (edit: Edit) => modelSetHash(parseManifest(edited(edit)));
  const original = await hash(() => {});
  assert.match(original, /^[0-9a-f]{64}$/);
  const reordered = JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()));
  assert.equal(await modelSetHash(parseManifest(reordered)), original);
  assert.equal(await hash((m) => m.description = "other"), original);
  assert.equal(await hash((m) => delete m.calibration), original);
  assert.notEqual(await hash((m) => m.families.rar.variants.rarl.synthetic.salt = "x"), original);
  assert.notEqual(await hash((m) => m.families.rar.tokenizer.sha256 = "0".repeat(64)), original);
});

Deno.test("canonicalJson() sorts keys at every depth and leaves arrays alone", () => {
  assert.equal(canonicalJson({ b: [2, { d: 1, c: null }], a: "x" }), '{"a":"x","b":[2,{"c":null,"d":1}]}');
});

Deno.test("openModelSet() says what to do when there is no manifest", async () => {
  const dir = await Deno.makeTempDir();
  await assert.rejects(openModelSet(dir), /manifest\.json: expected the manifest of a set of weights.*--models/);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("openModelSet() opens another manifest of a folder, whose files it shares", async () => {
  const dir = await setWith(() => {}), other = join(dir, "other.json");
  const { families, ...rest } = JSON.parse(await Deno.readTextFile(join(dir, "manifest.json")));
  await Deno.writeTextFile(other, JSON.stringify({ ...rest, name: "other", families: { rar: families.rar } }));
  const [whole, part] = [await openModelSet(dir), await openModelSet(other)];
  assert.deepEqual([whole.dir, whole.path, part.dir, part.path], [dir, dir, dir, other]);
  assert.deepEqual([whole.families, part.families], [["rar", "var"], ["rar"]]);
  assert.notEqual(whole.hash, part.hash);
  await part.check();
  await assert.rejects(openModelSet(join(dir, "none.json")), /none\.json: expected the manifest of a set of weights/);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("openModelSet() lists every missing file, where it is expected and how large", async () => {
  const dir = await setWith(() => {}, async (dir) => {
    await Deno.remove(join(dir, "rar_tiny.bin"));
    await Deno.remove(join(dir, "vqvae_tiny.pth"));
  });
  await assert.rejects(openModelSet(dir), (error: Error) => {
    assert.match(error.message, /2 of the weight files are missing; expected:/);
    assert.ok(error.message.includes(`${join(dir, "rar_tiny.bin")} (RAR transformer rarb, 1590185 bytes)`));
    assert.ok(error.message.includes(`${join(dir, "vqvae_tiny.pth")} (VAR tokenizer, 5677423 bytes)`));
    assert.match(error.message, /Put the files there, or name another set with --models/);
    return true;
  });
  await Deno.remove(dir, { recursive: true });
});

Deno.test("openModelSet() tells which variant a file of the wrong size fits", async () => {
  const dir = await setWith((m) => {
    // rarl becomes a file; what lies there is rarb's checkpoint.
    const { config, sampler } = m.families.rar.variants.rarl;
    m.families.rar.variants.rarl = { file: "rar_l.bin", bytes: 2000000, sha256: "0".repeat(64), config, sampler };
  }, (dir) => Deno.copyFile(join(dir, "rar_tiny.bin"), join(dir, "rar_l.bin")));
  await assert.rejects(
    openModelSet(dir),
    /RAR transformer rarl, 2000000 bytes\): has 1590185 bytes; .*the file fits RAR transformer rarb/,
  );
  await Deno.remove(dir, { recursive: true });
});

Deno.test("check() refuses a damaged file by its sha256, and does so only when it verifies", async () => {
  const dir = await setWith(() => {}, async (dir) => {
    using file = await Deno.open(join(dir, "rar_tiny.bin"), { write: true });
    await file.seek(800_000, Deno.SeekMode.Start); // inside the values: the index stays as it is
    await file.write(new Uint8Array([1, 2, 3, 4]));
  });
  const set = await openModelSet(dir);
  await set.check({ verify: false });
  await assert.rejects(
    set.check(),
    /rar_tiny\.bin: expected the sha256 [0-9a-f]{64}, got [0-9a-f]{64}: the file is damaged/,
  );
  await Deno.remove(dir, { recursive: true });
});

Deno.test("check() refuses the checkpoint of another variant and names the one that it fits", async () => {
  const hash = await hashFile(join(standIns, "rar_tiny.bin"));
  const dir = await setWith((m) => {
    const { config, sampler } = m.families.rar.variants.rarxl;
    m.families.rar.variants.rarxl = { file: "rar_tiny.bin", bytes: 1590185, sha256: hash, config, sampler };
  });
  const set = await openModelSet(dir);
  await assert.rejects(
    set.check(),
    /rar_tiny\.bin: does not fit RAR transformer rarxl: .*; the file fits RAR transformer rarb/,
  );
  const device = await openDevice("cpu", { threads: 1 });
  const before = device.memory().liveBytes;
  await assert.rejects(set.loadVariant(device, "rarxl"), /does not fit RAR transformer rarxl/);
  assert.equal(device.memory().liveBytes, before);
  device.close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("check() finds a network below a prefix that the manifest does not have, and refuses a wrong one", async () => {
  const dir = await setWith((m) => delete m.families.var.variants.var16.prefix);
  await (await openModelSet(dir)).check();
  await Deno.remove(dir, { recursive: true });
  const wrong = await setWith((m) => void (m.families.var.variants.var16.prefix = "trainer.vae."));
  await assert.rejects((await openModelSet(wrong)).check(), /no tensor's name begins with "trainer\.vae\."/);
  await Deno.remove(wrong, { recursive: true });
});

Deno.test("check() refuses a pickle that calls os.system, by name", async () => {
  const bytes = await hostileCheckpoint();
  const dir = await setWith(() => {}, async (dir) => {
    await Deno.writeFile(join(dir, "rar_tiny.bin"), bytes);
    const manifest = JSON.parse(text) as Manifest;
    const entry = manifest.families.rar.variants.rarb as { bytes: number; sha256: string };
    entry.bytes = bytes.length;
    entry.sha256 = await hashFile(join(dir, "rar_tiny.bin"));
    await Deno.writeTextFile(join(dir, "manifest.json"), JSON.stringify(manifest));
  });
  const set = await openModelSet(dir);
  await assert.rejects(set.check(), /rar_tiny\.bin: .*os\.system/);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("footprint() has the exact size of the weights and bounds what a pass needs", async () => {
  const set = await openModelSet(standIns);
  const device = await openDevice("cpu", { threads: 1 });
  const empty = device.memory().liveBytes;
  for (const id of set.networks) {
    const name = networkName(id);
    const footprint = set.footprint(device, id);
    const before = device.memory().liveBytes;
    const measure = (work: () => void) => {
      device.trim();
      device.resetPeak();
      const { liveBytes, pooledBytes } = device.memory();
      scope(work);
      return device.memory().peakBytes - liveBytes - pooledBytes;
    };
    // Allocations are rounded up, and a transformer keeps tables of positions: a few per cent.
    const near = (got: number, expected: number) =>
      assert.ok(
        got >= 0.99 * expected && got <= 1.1 * expected,
        `${name}: expected about ${expected} bytes, got ${got}`,
      );
    let peak: number;
    const batch = 3;
    if (id.variant === undefined) {
      const family = await set.loadTokenizer(device, id.family);
      near(device.memory().liveBytes - before, footprint.weights);
      const { imageSize: size } = family;
      peak = measure(() => {
        const x = fromArray(device, new Float32Array(batch * size * size * 3).fill(0.5), [batch, size, size, 3]);
        family.decode(family.quantize(family.encode(x)).fHat);
      });
      family.dispose();
    } else {
      const family = await set.loadTokenizer(device, id.family);
      const start = device.memory().liveBytes;
      const variant = await set.loadVariant(device, id.variant);
      const condition = variant.condition([null]);
      near(device.memory().liveBytes - start, footprint.weights + footprint.condition);
      const n = variant.tokenCount;
      peak = measure(() => {
        const tokens = fromArray(device, new Int32Array(batch * n), [batch, n]);
        variant.logits(family.transformerInput(tokens), condition);
      });
      condition.dispose();
      variant.dispose();
      family.dispose();
    }
    const bound = batch * footprint.perImage;
    assert.ok(peak <= bound, `${name}: a pass took ${peak} bytes, the estimate is ${bound}`);
    assert.ok(peak >= bound / 5, `${name}: a pass took ${peak} bytes, the estimate of ${bound} is far too high`);
    assert.equal(device.memory().liveBytes, empty, name);
  }
  device.close();
});
