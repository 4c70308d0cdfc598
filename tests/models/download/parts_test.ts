/** The small parts of a download: ranges, pauses, locks, lists, sizes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "npm:fast-check@4.10.2";
import { explainFull, freeBytes, requireSpace } from "../../../models/download/disk.ts";
import { hubUrl } from "../../../models/download/hub.ts";
import { expectedBytes, readFileList, selectFiles } from "../../../models/download/list.ts";
import { withLock } from "../../../models/download/lock.ts";
import { Ranges } from "../../../models/download/ranges.ts";
import { backOff, defaultRetryPolicy, retryAfter, sleep } from "../../../models/download/retry.ts";
import { withFolder } from "../../attribution/files.ts";
import { smallList } from "./set.ts";
import { formatBytes } from "../../../util/bytes.ts";

Deno.test("Ranges know exactly the bytes that were added, whatever the order", () => {
  const size = 40;
  const range = fc.tuple(fc.integer({ min: 0, max: size }), fc.integer({ min: 0, max: size }));
  fc.assert(fc.property(fc.array(range, { maxLength: 12 }), fc.integer({ min: 1, max: size }), (added, longest) => {
    const ranges = new Ranges();
    const there = new Array<boolean>(size).fill(false);
    for (const [a, b] of added) {
      ranges.add(Math.min(a, b), Math.max(a, b));
      there.fill(true, Math.min(a, b), Math.max(a, b));
    }
    assert.equal(ranges.bytes, there.filter((is) => is).length);
    const missing = new Array<boolean>(size).fill(true);
    for (const [start, end] of ranges.gaps(size, longest)) {
      assert.ok(end > start && end - start <= longest);
      missing.fill(false, start, end);
    }
    assert.deepEqual(missing, there);
    const copy = Ranges.checked(JSON.parse(JSON.stringify(ranges)), size);
    assert.deepEqual(copy.gaps(size, 5), ranges.gaps(size, 5));
  }));
});

Deno.test("Ranges.checked() refuses what no download writes", () => {
  for (const bad of [null, [[0]], [[3, 2]], [[0, 11]], [[4, 6], [2, 3]], [[0, 1.5]], ["ab"]]) {
    assert.throws(() => Ranges.checked(bad, 10), /^Error: ranges: expected/, JSON.stringify(bad));
  }
});

Deno.test("backOff() doubles with a spread of a quarter, up to the longest pause", () => {
  const policy = { ...defaultRetryPolicy, firstPause: 500, longestPause: 30_000 };
  assert.deepEqual([1, 2, 3, 6].map((n) => backOff(policy, n, () => 0.5)), [500, 1000, 2000, 16_000]);
  assert.deepEqual([0, 0.999999].map((r) => Math.round(backOff(policy, 1, () => r))), [375, 625]);
  assert.equal(backOff(policy, 30, () => 0), 30_000);
});

Deno.test("retryAfter() reads seconds and dates", () => {
  const now = Date.parse("2024-01-01T00:00:00Z");
  const read = (value: string) => retryAfter(new Headers({ "Retry-After": value }), now);
  assert.equal(read("7"), 7000);
  assert.equal(read("Mon, 01 Jan 2024 00:00:30 GMT"), 30_000);
  assert.equal(read("Sun, 31 Dec 2023 00:00:00 GMT"), 0);
  for (const bad of ["soon", "-5", "1.5", ""]) assert.equal(read(bad), undefined, bad);
  assert.equal(retryAfter(new Headers()), undefined);
});

Deno.test("withLock() lets one in at a time, says that it waits, and leaves no file behind", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "x.lock");
    let inside = 0, most = 0, waits = 0;
    await Promise.all([1, 2, 3].map(() =>
      withLock(path, { onWait: () => waits++ }, async () => {
        most = Math.max(most, ++inside);
        await sleep(20);
        inside--;
      })
    ));
    assert.equal(most, 1);
    assert.equal(waits, 2);
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
    await assert.rejects(withLock(path, {}, () => Promise.reject(new Error("body"))), /body/);
    await withLock(path, {}, () => Promise.resolve()); // given back by the failure
  });
});

Deno.test("withLock() stops waiting when it is told to", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "x.lock");
    const controller = new AbortController();
    await withLock(path, {}, async () => {
      const onWait = () => controller.abort(new Error("enough"));
      await assert.rejects(withLock(path, { signal: controller.signal, onWait }, () => Promise.resolve()), /enough/);
    });
  });
});

Deno.test("requireSpace() says what is needed, what is free and what to do", async () => {
  await requireSpace("pull", "/data", 100, () => Promise.resolve(100));
  await assert.rejects(
    requireSpace("pull", "/data", 3 * 2 ** 30, () => Promise.resolve(2 ** 30)),
    /^Error: pull: needs 3\.00 GiB in \/data, 1\.00 GiB are free: make room for 2\.00 GiB, or name another folder with --out$/,
  );
  assert.ok(await freeBytes(Deno.cwd()) > 0);
  const other = new Error("other");
  assert.equal(explainFull(other, "x", "y"), other);
});

Deno.test("formatBytes() has three digits", () => {
  assert.deepEqual(
    [0, 999, 1000, 1023, 1024 * 10, 99.96 * 1024, 2 ** 20, 999.6 * 2 ** 20, 7.486 * 2 ** 30].map(formatBytes),
    ["0 B", "999 B", "0.977 KiB", "0.999 KiB", "10.0 KiB", "100 KiB", "1.00 MiB", "0.976 GiB", "7.49 GiB"],
  );
});

Deno.test("hubUrl() escapes what is not a path, and refuses endpoints that are no address", () => {
  const file = { repo: "o/n", file: "a b/c#.bin", revision: "refs/pr/1" };
  assert.equal(hubUrl({ endpoint: "https://hub/x/" }, file), "https://hub/x/o/n/resolve/refs%2Fpr%2F1/a%20b/c%23.bin");
  assert.throws(() => hubUrl({ endpoint: "hub" }, file), /^Error: endpoint: expected an address .*, got "hub"$/);
  assert.throws(() => hubUrl({ endpoint: "file:///x" }, file), /endpoint: expected/);
});

Deno.test("hubUrl() sends no token over http, except to this machine", () => {
  const file = { repo: "a/b", file: "c.bin", revision: "main" };
  for (
    const endpoint of [
      "http://hub.example",
      "http://10.0.0.1:8080/",
      "http://127.0.0.1.example",
      "http://localhost.example",
    ]
  ) {
    assert.throws(() => hubUrl({ endpoint, token: "secret" }, file), (error: Error) => {
      assert.match(error.message, /^endpoint: expected https, .*unset HF_TOKEN$/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
    assert.ok(hubUrl({ endpoint }, file).startsWith("http:"), "without a token, http is as good");
  }
  for (const endpoint of ["https://hub.example", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"]) {
    assert.equal(hubUrl({ endpoint, token: "secret" }, file), `${endpoint}/a/b/resolve/main/c.bin`);
  }
});

Deno.test("the official list has the published files, with the official configurations", async () => {
  const list = await readFileList();
  assert.deepEqual(list.files.map(({ repo, file }) => `${repo}/${file}`), [
    "fun-research/TiTok/maskgit-vqgan-imagenet-f16-256.bin",
    ...["b", "l", "xl", "xxl"].map((size) => `yucornetto/RAR/rar_${size}.bin`),
    "FoundationVision/var/vae_ch160v4096z32.pth",
    ...[16, 20, 24, 30].map((depth) => `FoundationVision/var/var_d${depth}.pth`),
    ...["vq_ds16_c2i", "c2i_B_256", "c2i_L_256"].map((name) => `FoundationVision/LlamaGen/${name}.pt`),
    ...["vq_ds16_c2i", "c2i_B_384", "c2i_L_384", "c2i_XL_384", "c2i_XXL_384", "c2i_3B_384"]
      .map((name) => `FoundationVision/LlamaGen/${name}.pt`),
  ]);
  // Published parameter counts: 261 M, 461 M, 955 M, 1.5 B (RAR, README_RAR.md); 310 M, 600 M, 1.0 B, 2.0 B (VAR);
  // those of LlamaGen follow from its official code.
  const published: Record<string, number> = {
    rarb: 261e6,
    rarl: 461e6,
    rarxl: 955e6,
    rarxxl: 1.5e9,
    var16: 310e6,
    var20: 600e6,
    var24: 1e9,
    var30: 2e9,
    llamagenb: 110_888_448,
    llamagenl: 342_910_976,
    llamagenxl384: 774_699_520,
    llamagenxxl384: 1_410_972_672,
    llamagen3b384: 3_096_659_200,
  };
  for (const row of list.files) {
    const millions = published[row.network];
    if (millions === undefined) continue;
    assert.ok(Math.abs(expectedBytes(row) / 4 / millions - 1) < 0.05, `${row.network}: ${expectedBytes(row) / 4}`);
  }
});

Deno.test("selectFiles() by family and name, and the names there are", async () => {
  const list = await readFileList();
  assert.equal(selectFiles(list, {}).length, 10);
  assert.deepEqual(selectFiles(list, { family: "var", only: ["var", "var_d16.pth"] }).map((row) => row.network), [
    "var",
    "var16",
  ]);
  assert.deepEqual(selectFiles(list, { only: ["llamagen", "llamagenb"] }).map(({ file }) => file), [
    ...["vq_ds16_c2i.pt", "c2i_B_256.pt"],
  ]);
  assert.equal(selectFiles(list, { family: "llamagen384" }).length, 6);
  assert.throws(
    () => selectFiles(list, { only: ["var17"] }),
    /^Error: --only var17: expected rar, rarb, .*, var30, llamagen, .*, llamagen3b384$/,
  );
});

Deno.test("readFileList() names every problem and its place", async () => {
  await withFolder(async (dir) => {
    const read = async (change: (list: typeof smallList) => void) => {
      const list = structuredClone(smallList);
      change(list);
      await Deno.writeTextFile(join(dir, "list.json"), JSON.stringify(list));
      return await readFileList(join(dir, "list.json"));
    };
    assert.equal((await read(() => {})).files.length, 6);
    await assert.rejects(
      read((list) => list.files[1].repo = "nobody"),
      /files\.1\.repo: expected owner\/name, got "nobody"/,
    );
    for (const file of ["../x", "/x", "a/../x", "a\\b"]) {
      await assert.rejects(
        read((list) => list.files[0].file = file),
        /files\.0\.file: expected a path of letters/,
        file,
      );
    }
    await assert.rejects(
      read((list) => list.files[1].network = "rar"),
      /files\.1\.network: expected every network once/,
    );
    await assert.rejects(
      read((list) => Object.assign(list.files[1], { file: list.files[0].file, repo: "other/repository" })),
      /files\.1\.file: expected different file names/,
    );
    await assert.rejects(
      read((list) => {
        list.files[1].network = "mine";
        delete list.files[1].config;
        delete list.files[1].sampler;
      }),
      /files\.1\.config: is missing, and mine is none[^]*files\.1\.sampler: is missing/,
    );
    await assert.rejects(readFileList(join(dir, "none.json")), /none\.json: no such file$/);
  });
});
