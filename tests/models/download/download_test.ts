/** Downloads from a server that misbehaves: the result is byte for byte the file, or an error that says what to do. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { downloadFile, type DownloadOptions, lookUpPatiently } from "../../../models/download/download.ts";
import type { HubFile } from "../../../models/download/hub.ts";
import { defaultRetryPolicy, type RetryPolicy } from "../../../models/download/retry.ts";
import { Random } from "./random.ts";
import { sha256, someBytes, startHub, type TestHub } from "./hub.ts";

const file: HubFile = { repo: "owner/name", file: "model.bin", revision: "main" };
const MIB = 1 << 20;

/** As patient as the default one, but quick. */
const policy: RetryPolicy = { ...defaultRetryPolicy, firstPause: 2, longestPause: 10, idle: 2000 };

async function withHub(body: (hub: TestHub, path: string) => Promise<void>): Promise<void> {
  const hub = startHub();
  const dir = await Deno.makeTempDir();
  try {
    await body(hub, join(dir, "model.bin"));
  } finally {
    await hub.close();
    await Deno.remove(dir, { recursive: true });
  }
}

async function download(hub: TestHub, path: string, options: DownloadOptions = {}, token?: string) {
  const options_ = { policy, ...options };
  const where = { endpoint: hub.endpoint, token };
  return await downloadFile(where, file, await lookUpPatiently(where, file, options_), path, options_);
}

async function left(path: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(join(path, ".."))) names.push(name);
  return names.sort();
}

for (const connections of [1, 4]) {
  Deno.test(`downloadFile() with ${connections} connection(s) survives 20 cuts at random bytes`, async () => {
    await withHub(async (hub, path) => {
      const bytes = someBytes(3 * MIB + 12345);
      hub.offers.set("owner/name/model.bin", { bytes });
      const random = new Random(connections);
      let cuts = 0;
      hub.mischief = ({ server, range }) => {
        if (server !== "storage" || range === undefined || cuts >= 20) return undefined;
        cuts++;
        return { cutAfter: Math.floor(random.next() * Math.min(150_000, range[1] - range[0])) };
      };
      let longest = 0;
      const done = await download(hub, path, {
        connections,
        onProgress: (at, _, phase) => longest = phase === "download" ? Math.max(longest, at) : longest,
      });
      assert.equal(cuts, 20);
      assert.deepEqual(await Deno.readFile(path), bytes);
      assert.deepEqual(await left(path), ["model.bin"]);
      assert.deepEqual(done, { bytes: bytes.length, sha256: await sha256(bytes), resumed: 0, received: bytes.length });
      assert.equal(longest, bytes.length);
      // Nothing that arrived is fetched again, but for what was still in the socket when the connection broke.
      assert.ok(hub.sent < bytes.length + 20 * 300_000, `${hub.sent} bytes were sent for ${bytes.length}`);
    });
  });
}

Deno.test("downloadFile() goes on where an interrupted run stopped, also with other bytes in flight", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(4 * MIB);
    hub.offers.set("owner/name/model.bin", { bytes });
    const controller = new AbortController();
    const stop = new Error("stop");
    await assert.rejects(
      download(hub, path, {
        connections: 3,
        signal: controller.signal,
        onProgress: (at) => {
          if (at > 1.5 * MIB) controller.abort(stop);
        },
      }),
      (error) => error === stop,
    );
    assert.deepEqual(await left(path), ["model.bin.part", "model.bin.part.json"]);
    const before = hub.sent;
    const done = await download(hub, path);
    assert.ok(done.resumed > 1.5 * MIB && done.resumed < bytes.length, String(done.resumed));
    assert.equal(done.received, bytes.length - done.resumed);
    assert.equal(hub.sent - before, done.received, "only what was missing is fetched");
    assert.deepEqual(await Deno.readFile(path), bytes);
    assert.deepEqual(await left(path), ["model.bin"]);
  });
});

Deno.test("downloadFile() refuses bytes with a wrong sha256, and leaves none of them behind", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(MIB);
    hub.offers.set("owner/name/model.bin", { bytes });
    hub.mischief = ({ range }) => (range?.[0] === 0 ? { flip: true } : undefined);
    await assert.rejects(
      download(hub, path),
      new RegExp(`^Error: model.bin: expected the sha256 ${await sha256(bytes)}, got [0-9a-f]{64}: .* pull again`),
    );
    assert.deepEqual(await left(path), []);
    await assert.rejects(download(hub, path, { sha256: "0".repeat(64) }), /expected the sha256 0{64}, got/);
  });
});

Deno.test("downloadFile() fetches everything again when what an earlier run left turns out wrong", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(2 * MIB);
    hub.offers.set("owner/name/model.bin", { bytes });
    const controller = new AbortController();
    const onProgress = (at: number) => at > MIB && controller.abort();
    await assert.rejects(download(hub, path, { connections: 1, signal: controller.signal, onProgress }));
    const part = await Deno.open(`${path}.part`, { write: true });
    await part.write(new Uint8Array(100)); // as after a power failure
    part.close();
    const notes: string[] = [];
    await download(hub, path, { onNote: (text) => notes.push(text) });
    assert.deepEqual(await Deno.readFile(path), bytes);
    assert.match(
      notes.join("\n"),
      /^model\.bin: expected the sha256 .* fetching it again, without what an earlier run left$/,
    );
  });
});

Deno.test("downloadFile() drops what is left of another version of the file, or has no readable state", async () => {
  for (const damage of ["version", "state"]) {
    await withHub(async (hub, path) => {
      hub.offers.set("owner/name/model.bin", { bytes: someBytes(2 * MIB, 1) });
      const controller = new AbortController();
      const onProgress = (at: number) => at > MIB && controller.abort();
      await assert.rejects(download(hub, path, { connections: 1, signal: controller.signal, onProgress }));
      if (damage === "state") await Deno.writeTextFile(`${path}.part.json`, `{"format": "model-`);
      const bytes = damage === "version" ? someBytes(2 * MIB, 2) : someBytes(2 * MIB, 1);
      hub.offers.set("owner/name/model.bin", { bytes });
      const notes: string[] = [];
      const done = await download(hub, path, { onNote: (text) => notes.push(text) });
      assert.equal(done.resumed, 0);
      assert.match(notes.join(), /model\.bin: starts again: what is there of it cannot be used/);
      assert.deepEqual(await Deno.readFile(path), bytes);
    });
  }
});

Deno.test("a 404 is an error at once, with what the hub says and where", async () => {
  await withHub(async (hub, path) => {
    await assert.rejects(
      download(hub, path),
      /^Error: owner\/name\/model\.bin \(127\.0\.0\.1:\d+\): HTTP 404 \(Entry not found\): no such file, repository or revision at http:\/\/127/,
    );
    assert.equal(hub.requests.length, 1);
  });
});

Deno.test("a gated file says that a token is needed, or that the token may not read it; the storage never sees it", async () => {
  await withHub(async (hub, path) => {
    hub.offers.set("owner/name/model.bin", { bytes: someBytes(1000), token: "secret" });
    await assert.rejects(download(hub, path), /HTTP 401 \(Access to this model is restricted\): set HF_TOKEN/);
    await assert.rejects(download(hub, path, {}, "other"), /HTTP 403 .*: the token in HF_TOKEN may not read it/);
    await download(hub, path, {}, "secret");
    const storage = hub.requests.filter(({ server }) => server === "storage");
    assert.ok(storage.length > 0);
    assert.ok(storage.every(({ authorization }) => authorization === undefined), "the token went to the storage");
    assert.equal(hub.requests.at(-storage.length - 1)!.authorization, "Bearer secret");
  });
});

for (const server of ["hub", "storage"] as const) {
  Deno.test(`429 of the ${server} is waited out as long as Retry-After says, by all connections`, async () => {
    await withHub(async (hub, path) => {
      const bytes = someBytes(3 * MIB);
      hub.offers.set("owner/name/model.bin", { bytes });
      let refusedAt = 0;
      const early: number[] = [];
      hub.mischief = (request) => {
        if (request.server !== server) return undefined;
        if (refusedAt === 0) {
          refusedAt = performance.now();
          return { status: 429, headers: { "Retry-After": "1" } };
        }
        const after = performance.now() - refusedAt;
        if (after < 990) early.push(after);
        return undefined;
      };
      hub.pause = () => new Promise((resolve) => setTimeout(resolve, 5));
      await download(hub, path, { connections: 3 });
      assert.deepEqual(await Deno.readFile(path), bytes);
      // The two other connections may have been on their way when the first was refused.
      assert.ok(early.length <= 2, `asked again after ${early} ms`);
      assert.ok(performance.now() - refusedAt >= 990);
    });
  });
}

Deno.test("a Retry-After beyond the patience, and endless failures, end with an error that says so", async () => {
  await withHub(async (hub, path) => {
    hub.offers.set("owner/name/model.bin", { bytes: someBytes(MIB) });
    hub.mischief = () => ({ status: 429, headers: { "Retry-After": "3600" } });
    await assert.rejects(download(hub, path), /HTTP 429; the server asks to come back in 3600 s: try again then$/);
    hub.requests.length = 0;
    hub.mischief = ({ server }) => (server === "storage" ? { status: 503 } : undefined);
    await assert.rejects(
      download(hub, path, { connections: 1, policy: { ...policy, tries: 3 } }),
      /^Error: model\.bin: HTTP 503; gave up after 3 tries in a row without a new byte$/,
    );
    assert.equal(hub.requests.filter(({ server }) => server === "storage").length, 3);
    await hub.close();
    await assert.rejects(
      download(hub, path, { policy: { ...policy, tries: 2 } }),
      /HEAD http:\/\/127.*; gave up after 2 tries/,
    );
  });
});

Deno.test("a connection that falls silent is dropped and the rest fetched by another", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(MIB);
    hub.offers.set("owner/name/model.bin", { bytes });
    let stalls = 0;
    hub.mischief = ({ server }) => (server === "storage" && stalls++ < 2 ? { stallAfter: 70_000 } : undefined);
    const retries: string[] = [];
    const onRetry = (message: string) => retries.push(message);
    await download(hub, path, { connections: 2, policy: { ...policy, idle: 300 }, onRetry });
    assert.deepEqual(await Deno.readFile(path), bytes);
    assert.equal(retries.filter((text) => text === "model.bin: nothing came for 0.3 s").length, 2);
  });
});

Deno.test("storage addresses that expire are asked for again", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(3 * MIB);
    hub.offers.set("owner/name/model.bin", { bytes });
    let storage = 0;
    hub.mischief = ({ server }) => {
      if (server === "storage" && ++storage % 4 === 0) hub.signature = `s${storage}`;
      return undefined;
    };
    await download(hub, path, { connections: 2 });
    assert.deepEqual(await Deno.readFile(path), bytes);
    assert.ok(hub.requests.filter(({ server }) => server === "hub").length > 1);
  });
});

Deno.test("a file that changes at the hub during the download is an error", async () => {
  await withHub(async (hub, path) => {
    hub.offers.set("owner/name/model.bin", { bytes: someBytes(3 * MIB, 1) });
    let storage = 0;
    hub.mischief = ({ server }) => {
      if (server === "storage" && ++storage === 3) {
        hub.offers.set("owner/name/model.bin", { bytes: someBytes(2 * MIB, 2) });
        hub.signature = "s2";
      }
      return undefined;
    };
    await assert.rejects(
      download(hub, path, { connections: 2 }),
      /model\.bin: (the file at the hub changed|expected the bytes)/,
    );
  });
});

Deno.test("a server without ranges is read from the beginning by one connection, again after a cut", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(2 * MIB);
    hub.offers.set("owner/name/model.bin", { bytes });
    hub.noRanges = true;
    let cuts = 0;
    hub.mischief = ({ server, range }) =>
      server === "storage" && range![1] === bytes.length && range![1] - range![0] > MIB / 2 && cuts++ < 1
        ? { cutAfter: MIB }
        : undefined;
    const notes: string[] = [];
    await download(hub, path, { connections: 4, onNote: (text) => notes.push(text) });
    assert.equal(cuts > 0, true);
    assert.deepEqual(notes, ["model.bin: the server has no ranges: one connection, and a cut costs a new beginning"]);
    assert.deepEqual(await Deno.readFile(path), bytes);
  });
});

Deno.test("a plain file server, without redirects, hub headers or ranges, is enough", async () => {
  const bytes = someBytes(300_000);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, ({ method, url }) => {
    if (new URL(url).pathname !== "/mirror/owner/name/resolve/main/model.bin") {
      return new Response(null, { status: 404 });
    }
    const headers = { "Content-Length": String(bytes.length), "Content-Type": "application/octet-stream" };
    return new Response(method === "HEAD" ? null : bytes, { headers });
  });
  const dir = await Deno.makeTempDir();
  try {
    const where = { endpoint: `http://127.0.0.1:${server.addr.port}/mirror/` };
    const entry = await lookUpPatiently(where, file, { policy });
    assert.deepEqual([entry.bytes, entry.sha256, entry.location], [bytes.length, undefined, entry.url]);
    const path = join(dir, "model.bin");
    const done = await downloadFile(where, file, entry, path, { policy, connections: 4 });
    assert.equal(done.sha256, await sha256(bytes));
    assert.deepEqual(await Deno.readFile(path), bytes);
  } finally {
    await server.shutdown();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a server without a sha256: the hash of what came is returned", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(1000);
    hub.offers.set("owner/name/model.bin", { bytes, announced: null });
    assert.equal((await download(hub, path)).sha256, await sha256(bytes));
  });
});

Deno.test("a disk that fills up during the download: an error, everything kept, and the next run goes on", async () => {
  await withHub(async (hub, path) => {
    const bytes = someBytes(3 * MIB);
    hub.offers.set("owner/name/model.bin", { bytes });
    let room = 1.5 * MIB;
    // The same error as Deno's for ENOSPC; a real full disk is in tests/tasks/weights_test.ts, where one can be mounted.
    const openWriter: DownloadOptions["openWriter"] = async (part) => {
      const file = await part.writer();
      return {
        seek: (offset, whence) => file.seek(offset, whence),
        write: async (piece) => {
          if ((room -= piece.length) < 0) {
            throw Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" });
          }
          return await file.write(piece);
        },
        close: () => file.close(),
      };
    };
    await assert.rejects(
      download(hub, path, { openWriter }),
      /^Error: model\.bin: the disk is full; 1\.\d+ MiB of 3\.00 MiB are kept in model\.bin\.part: make room and run the same command again$/,
    );
    const done = await download(hub, path);
    assert.ok(done.resumed > MIB);
    assert.deepEqual(await Deno.readFile(path), bytes);
  });
});
