/** Pulls into a folder: what is there already, what changed, what is refused, and the set that comes of it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openDevice } from "../../../core/open_device.ts";
import { fromArray } from "../../../core/tensor/mod.ts";
import { openCheckpoint, writeSafetensors } from "../../../models/checkpoint/mod.ts";
import { addEncoder, convertFiles, listFiles, verifyFiles } from "../../../models/download/local.ts";
import { type PulledResult, pullFiles, type PullOptions } from "../../../models/download/pull.ts";
import { defaultRetryPolicy } from "../../../models/download/retry.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { withFolder } from "../../attribution/files.ts";
import { GOLDEN } from "../checkpoint/build.ts";
import { commit, sha256, someBytes, startHub, type TestHub } from "./hub.ts";
import { bytesOf, networks, offerSmallSet } from "./set.ts";

interface Place {
  readonly hub: TestHub;
  /** Folder of the set. */
  readonly dir: string;
  readonly list: PullOptions["list"];
  readonly notes: string[];
  pull(options?: Partial<PullOptions>): Promise<{ results: PulledResult[]; missing: readonly string[] }>;
}

async function withPlace(body: (place: Place) => Promise<void>): Promise<void> {
  const hub = startHub();
  try {
    await withFolder(async (folder) => {
      const { list } = await offerSmallSet(hub, folder);
      const dir = join(folder, "set");
      const notes: string[] = [];
      const policy = { ...defaultRetryPolicy, firstPause: 2, longestPause: 10 };
      await body({
        ...{ hub, dir, list, notes },
        async pull(options = {}) {
          const results: PulledResult[] = [];
          const missing = await pullFiles(
            { dir, list, files: list.files, hub: { endpoint: hub.endpoint }, policy, ...options },
            { onFile: (result) => void results.push(result), onNote: (text) => notes.push(text) },
          );
          return { results, missing };
        },
      });
    });
  } finally {
    await hub.close();
  }
}

const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

Deno.test("pullFiles() makes a set that loads, pinned to sha256 and commit; again it has nothing to do", async () => {
  await withPlace(async ({ hub, dir, list, notes, pull }) => {
    const { results, missing } = await pull();
    assert.deepEqual(missing, []);
    assert.deepEqual(notes, []);
    assert.deepEqual(
      results.map(({ network, status, checkedAgainst }) => [network, status, checkedAgainst]),
      networks.map((network) => [network, "pulled", "hub"]),
    );
    for (const row of list.files) assert.deepEqual(await Deno.readFile(join(dir, row.file)), await bytesOf(row));
    assert.deepEqual(names(dir), [...list.files.map(({ file }) => file), "manifest.json", "pulled.json"].sort());
    const set = await openModelSet(dir);
    await set.check();
    assert.deepEqual([set.variants("rar"), set.variants("var")], [["rarb", "rarl"], ["var16", "var20"]]);
    const { pulled } = JSON.parse(await Deno.readTextFile(join(dir, "pulled.json")));
    assert.equal(pulled["rar_tiny.bin"].commit, commit);
    hub.requests.length = 0;
    assert.deepEqual((await pull()).results.map(({ status }) => status), networks.map(() => "present"));
    assert.equal(hub.requests.length, 0, "what is there needs no network");
  });
});

Deno.test("pullFiles() of one family says what is missing for a set; pulling the rest completes it", async () => {
  await withPlace(async ({ dir, list, pull }) => {
    const rar = list.files.filter(({ family }) => family === "rar");
    assert.deepEqual((await pull({ files: rar })).missing, ["the var tokenizer (var)", "a var variant (var16, var20)"]);
    assert.ok(!names(dir).includes("manifest.json"));
    assert.deepEqual((await pull()).missing, []);
    await (await openModelSet(dir)).check();
  });
});

Deno.test("pullFiles() takes over a file that is there with the right sha256, and never overwrites another", async () => {
  await withPlace(async ({ hub, dir, list, pull }) => {
    await Deno.mkdir(dir);
    const [first, second] = list.files;
    await Deno.writeFile(join(dir, first.file), await bytesOf(first));
    const theirs = someBytes((await bytesOf(second)).length);
    await Deno.writeFile(join(dir, second.file), theirs);
    await assert.rejects(
      pull(),
      /rar_tiny\.bin: is there and is not the file of the hub \(expected the sha256 .*\): move it away and pull again$/,
    );
    assert.deepEqual(await Deno.readFile(join(dir, second.file)), theirs);
    assert.equal(
      hub.requests.filter(({ server, path }) => server === "storage" && path.includes(first.file)).length,
      0,
    );
    await Deno.writeFile(join(dir, second.file), theirs.subarray(1));
    await assert.rejects(pull(), /expected \d+ bytes, got \d+\): move it away/);
    await Deno.remove(join(dir, second.file));
    const { results } = await pull();
    assert.deepEqual(results.map(({ status }) => status), [
      "present",
      "pulled",
      "pulled",
      "pulled",
      "pulled",
      "pulled",
    ]);
  });
});

Deno.test("pullFiles() says of a file that came where its network was found, or why it cannot be opened", async () => {
  await withPlace(async ({ hub, list, notes, pull }) => {
    const [rar, ...others] = list.files;
    hub.offers.set(`${rar.repo}/${rar.file}`, { bytes: someBytes(5000) });
    // The list says where VAR's network is in its file. Without that, it is found by rule.
    const files = [rar, ...others.map((row) => row.network === "var16" ? { ...row, prefix: undefined } : row)];
    await pull({ files });
    assert.equal(notes.length, 2, notes.join("\n"));
    assert.match(notes[0], /^maskgit_vq_tiny\.bin: (?!maskgit)/);
    assert.match(notes[1], /^var_ckpt_nested\.pth: .*below "trainer\.var_wo_ddp\."/);
  });
});

Deno.test("pullFiles() refuses a folder with a set that was put there by other means", async () => {
  await withPlace(async ({ dir, pull }) => {
    await Deno.mkdir(dir);
    await Deno.writeTextFile(join(dir, "manifest.json"), "{}");
    await assert.rejects(pull(), /holds a set of weights that was not pulled here: name another folder with --out$/);
  });
});

Deno.test("pullFiles() replaces what it pulled and is damaged; another file at the hub needs --update", async () => {
  await withPlace(async ({ hub, dir, list, pull }) => {
    await pull();
    const rarb = list.files[1];
    const rarbOf = ({ results }: { results: PulledResult[] }) => results.find(({ network }) => network === "rarb")!;
    await Deno.truncate(join(dir, rarb.file), 1000);
    assert.deepEqual((await listFiles(dir, [rarb])).map(({ status }) => status), ["damaged"]);
    assert.equal(rarbOf(await pull()).status, "pulled");
    assert.deepEqual(await Deno.readFile(join(dir, rarb.file)), await bytesOf(rarb));
    const other = someBytes(5000);
    hub.offers.set("someone/RAR/rar_tiny.bin", { bytes: other });
    assert.equal(rarbOf(await pull()).status, "present");
    await Deno.remove(join(dir, rarb.file));
    await assert.rejects(
      pull(),
      /rar_tiny\.bin: expected the sha256 \w+ of an earlier pull \(pulled\.json\), the hub has \w+; --update takes the new file$/,
    );
    const { results } = await pull({ update: true });
    const updated = rarbOf({ results });
    assert.deepEqual([updated.status, updated.sha256], ["pulled", await sha256(other)]);
    assert.deepEqual(results.filter(({ received }) => received > 0).length, 1, "unchanged files are not fetched again");
  });
});

Deno.test("pullFiles() believes the list more than the hub", async () => {
  await withPlace(async ({ list, pull }) => {
    const [row] = list.files;
    await assert.rejects(
      pull({ files: [{ ...row, sha256: "0".repeat(64) }] }),
      /maskgit_vq_tiny\.bin: expected the sha256 0{64} of the list of files, the hub has \w+$/,
    );
    await assert.rejects(pull({ files: [{ ...row, bytes: 7 }] }), /expected 7 bytes, the hub has a file of \d+$/);
    const { results } = await pull({ files: [{ ...row, sha256: await sha256(await bytesOf(row)) }] });
    assert.equal(results[0].checkedAgainst, "list");
  });
});

Deno.test("pullFiles() checks the disk before it fetches, counting what is there and what is to be converted", async () => {
  await withPlace(async ({ hub, dir, list, pull }) => {
    const total = (await Promise.all(list.files.map(bytesOf))).reduce((sum, { length }) => sum + length, 0);
    let free = total - 1;
    await assert.rejects(
      pull({ free: () => Promise.resolve(free) }),
      /^Error: pull: needs .* are free: make room for 1 B/,
    );
    assert.equal(hub.requests.filter(({ server }) => server === "storage").length, 0);
    free = total;
    await assert.rejects(pull({ free: () => Promise.resolve(free), extraBytes: () => 1 }), /make room for 6 B/);
    await pull({ files: list.files.slice(0, 1) });
    free = total - (await bytesOf(list.files[0])).length;
    assert.equal((await pull({ free: () => Promise.resolve(free) })).results.length, 6);
    assert.ok(names(dir).includes("manifest.json"));
  });
});

Deno.test("a mirror without sha256: what came is noted, and compared the next time", async () => {
  await withPlace(async ({ hub, dir, list, pull, notes }) => {
    for (const offer of hub.offers.values()) offer.announced = null;
    const { results } = await pull();
    assert.ok(results.every(({ checkedAgainst }) => checkedAgainst === "nothing"));
    assert.equal(notes.filter((text) => text.includes("the server gives no sha256")).length, 6);
    await Deno.remove(join(dir, list.files[0].file));
    hub.offers.get("someone/RAR/maskgit_vq_tiny.bin")!.bytes = someBytes((await bytesOf(list.files[0])).length);
    await assert.rejects(pull(), /maskgit_vq_tiny\.bin: expected the sha256 /);
  });
});

Deno.test("convertFiles() says which other network of the list a file fits", async () => {
  await withPlace(async ({ hub, dir, list, pull }) => {
    const other = list.files.find(({ network }) => network === "rarb")!;
    hub.offers.get("someone/RAR/rarl.bin")!.bytes = await bytesOf(other);
    await pull();
    await assert.rejects(
      convertFiles({ dir, list, files: list.files.filter(({ network }) => network === "rarl") }),
      /rarl\.bin: .*; the file fits rarb$/,
    );
  });
});

Deno.test("convertFiles(): the set computes what the originals compute with half-precision weights", async () => {
  const device = await openDevice("cpu");
  await withPlace(async ({ dir, list, pull }) => {
    await pull();
    const logits = async () => {
      const set = await openModelSet(dir);
      const found: Float32Array[] = [];
      for (const variant of ["rarb", "var20"]) {
        const name = set.familyOf(variant);
        const family = await set.loadTokenizer(device, name, { weightType: "f32" });
        const model = await set.loadVariant(device, variant, { weightType: "f16" });
        const side = family.imageSize;
        const image = fromArray(
          device,
          Float32Array.from({ length: side * side * 3 }, (_, i) => (i * 37 % 101) / 101),
          [1, side, side, 3],
        );
        const { tokens } = family.quantize(family.encode(image));
        const output = model.logits(family.transformerInput(tokens), model.condition([1]));
        found.push(await output.data() as Float32Array);
      }
      return { found, hash: set.hash };
    };
    const before = await logits();
    // As a conversion that was killed leaves it.
    await Deno.writeTextFile(join(dir, ".rarb.safetensors.0badcafe.part"), "half a file");
    const converted: string[] = [];
    await convertFiles({ dir, list, files: list.files, removeOriginals: true }, {
      onNetwork: ({ network, status, removedOriginal }) => converted.push(`${network} ${status} ${removedOriginal}`),
    });
    assert.deepEqual(converted, networks.map((network) => `${network} converted true`));
    assert.deepEqual(
      names(dir),
      [...networks.map((network) => `${network}.safetensors`), "manifest.json", "pulled.json"].sort(),
    );
    const after = await logits();
    assert.notEqual(after.hash, before.hash);
    assert.deepEqual(after.found, before.found);
    assert.ok((await verifyFiles(dir)).every(({ result }) => result === "ok"));
    assert.deepEqual((await pull()).results.map(({ status }) => status), networks.map(() => "present"));
    assert.deepEqual((await listFiles(dir, list.files)).map(({ status }) => status), networks.map(() => "converted"));
  });
  device.close();
});

Deno.test("addEncoder() puts the authors' encoder into the manifest, and later pulls keep it", async () => {
  await withPlace(async ({ dir, list, pull }) => {
    const encoder = `${GOLDEN}checkpoints/encoder_final.pth`;
    await pull({ files: list.files.filter(({ network }) => network !== "rarl" && network !== "var") });
    await assert.rejects(addEncoder({ dir, list, path: encoder, family: "rar" }), /has no manifest\.json yet/);
    await pull({ files: list.files.filter(({ network }) => network !== "rarl") });
    const plain = await openModelSet(dir);
    const { file, sha256 } = await addEncoder({ dir, list, path: encoder, family: "rar" });
    assert.equal(file, "rar_encoder.safetensors");
    const set = await openModelSet(dir);
    await set.check();
    assert.notEqual(set.hash, plain.hash);
    await assert.rejects(
      addEncoder({ dir, list, path: encoder, family: "var" }),
      /encoder_final\.pth: does not fit the encoder of the var tokenizer/,
    );
    await pull();
    assert.equal((await openModelSet(dir)).manifest.families.rar.encoder?.sha256, sha256);
    assert.ok((await verifyFiles(dir)).some((row) => row.file === file && row.result === "ok"));
  });
});

Deno.test("addEncoder() recognises differences, and adds them to the tokenizer's own encoder", async () => {
  await withPlace(async ({ dir, list, pull }) => {
    await pull();
    const row = list.files.find(({ network }) => network === "rar")!;
    const own = await openCheckpoint(join(dir, row.file)),
      whole = await openCheckpoint(`${GOLDEN}checkpoints/encoder_final.pth`);
    // Their encoder_final.pth numbers the module; differences are stored under the same names.
    const delta = join(dir, "..", "delta.safetensors");
    const names = [...whole.tensors.keys()];
    await writeSafetensors(
      delta,
      names.map((name) => ({
        name,
        shape: whole.tensors.get(name)!.shape,
        dtype: "f32" as const,
        data: async () => {
          const before = await own.readF32(name.replace("module0.", "encoder."));
          return (await whole.readF32(name)).map((value, i) => value - before[i]) as Float32Array<ArrayBuffer>;
        },
      })),
    );
    const add = (path: string, delta?: boolean) => addEncoder({ dir, list, path, family: "rar", delta });
    await assert.rejects(add(delta), /delta\.safetensors: expected an encoder, got differences to one: .*--delta/);
    await assert.rejects(add(`${GOLDEN}checkpoints/encoder_final.pth`, true), /--delta: .*got a whole one/);
    const { file } = await add(delta, true);
    const written = await openCheckpoint(join(dir, file));
    for (const name of names) {
      const expected = await whole.readF32(name), actual = await written.readF32(name.replace("module0.", "encoder."));
      actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-6, `${name}[${i}]`));
    }
    for (const source of [own, whole, written]) source.close();
  });
});

Deno.test("pullFiles() warns where a file is not the one of public texts, and takes it", async () => {
  await withPlace(async ({ list, notes, pull }) => {
    const files = list.files.map((row) => row.network === "var16" ? { ...row, hint: "0".repeat(64) } : row);
    const { missing } = await pull({ files });
    assert.deepEqual(missing, []);
    const [warning] = notes.filter((note) => note.includes("public texts"));
    assert.match(warning, /^\S+: its sha256 is [0-9a-f]{12}\.\.\., public texts give 000000000000\.\.\./);
  });
});

Deno.test("verifyFiles() names what is damaged and missing", async () => {
  await withPlace(async ({ dir, list, pull }) => {
    await assert.rejects(verifyFiles(dir), /nothing to verify$/);
    await pull();
    const [a, b, c] = list.files.map(({ file }) => join(dir, file));
    const bytes = await Deno.readFile(a);
    bytes[bytes.length >> 1] ^= 1;
    await Deno.writeFile(a, bytes);
    await Deno.truncate(b, 10);
    await Deno.remove(c);
    const results = await verifyFiles(dir);
    assert.deepEqual(results.map(({ result }) => result), ["damaged", "damaged", "missing", "ok", "ok", "ok"]);
    assert.match(results[0].problem!, /^expected the sha256 /);
    assert.match(results[1].problem!, /^expected \d+ bytes, got 10$/);
  });
});
