/** `deno task weights` as a process, against a server that behaves like the hub, and misbehaves. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openModelSet } from "../../models/model_set.ts";
import { withFolder } from "../attribution/files.ts";
import { GOLDEN } from "../models/checkpoint/build.ts";
import { someBytes, startHub, type TestHub } from "../models/download/hub.ts";
import { Random } from "../models/download/random.ts";
import { bytesOf, networks, offerSmallSet } from "../models/download/set.ts";
import { type Result, resultOf, root, runTask, spawnTask } from "./processes.ts";

interface Place {
  readonly hub: TestHub;
  readonly folder: string;
  readonly dir: string;
  readonly list: Awaited<ReturnType<typeof offerSmallSet>>["list"];
  start(args: readonly string[], env?: Record<string, string>): Promise<Deno.ChildProcess>;
  run(...args: string[]): Promise<Result>;
}

/** A hub with the small set, and a folder to pull it into; `dir` may lie elsewhere. */
async function withPlace(body: (place: Place) => Promise<void>, dirOf = (folder: string) => join(folder, "set")) {
  const hub = startHub();
  try {
    await withFolder(async (folder) => {
      const { path, list } = await offerSmallSet(hub, folder);
      const dir = dirOf(folder);
      const start = ([action, ...args]: readonly string[], env: Record<string, string> = {}) =>
        spawnTask("weights", folder, [action, "--list", path, "--out", dir, ...args], {
          HF_ENDPOINT: hub.endpoint,
          HF_TOKEN: "",
          ...env,
        });
      await body({ hub, folder, dir, list, start, run: async (...args) => resultOf(await start(args)) });
    });
  } finally {
    await hub.close();
  }
}

async function requirePulled({ dir, list }: Pick<Place, "dir" | "list">, only = networks): Promise<void> {
  for (const row of list.files.filter(({ network }) => only.includes(network))) {
    assert.deepEqual(await Deno.readFile(join(dir, row.file)), await bytesOf(row), row.file);
  }
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

Deno.test("weights: pull through 20 random cuts, 429 and 503; list, verify, convert, and a set that loads", async () => {
  await withPlace(async (place) => {
    const { hub, folder, dir, run } = place;
    const random = new Random(7);
    let cuts = 0, refusals = 0;
    hub.mischief = ({ range }) => {
      if (range === undefined) {
        const [status, headers] = [[429, { "Retry-After": "1" }], [503, {}]][refusals] ?? [];
        return refusals++ < 2 ? { status: status as number, headers: headers as Record<string, string> } : undefined;
      }
      if (cuts >= 20 || random.next() < 0.3) return undefined;
      cuts++;
      return { cutAfter: Math.floor(random.next() * Math.min(100_000, range[1] - range[0])) };
    };
    const pulled = await run("pull", "--connections", "3");
    assert.equal(pulled.code, 0, pulled.stderr);
    assert.equal(cuts, 20);
    assert.match(pulled.stderr, /HTTP 429; trying again in 1 s/);
    assert.match(pulled.stderr, /weights: the set is in .*set; tasks load it with --models /);
    const lines = pulled.stdout.trimEnd().split("\n");
    assert.equal(lines.length, networks.length);
    assert.match(lines[0], /^maskgit_vq_tiny\.bin {2}pulled {2}4\.07 MiB {2}[0-9a-f]{64} {2}\(checked against hub\)$/);
    await requirePulled(place);
    await (await openModelSet(dir)).check();

    const listed = await run("list");
    assert.match(
      listed.stdout,
      /^network +file +size +status .*\nrar +someone\/RAR\/maskgit_vq_tiny\.bin +4\.07 MiB +present/,
    );
    const rows = (await run("list", "--json", "--family", "var")).stdout.trimEnd().split("\n").map((line) =>
      JSON.parse(line)
    );
    assert.deepEqual(rows.map(({ network, status }) => `${network} ${status}`), [
      "var present",
      "var16 present",
      "var20 present",
    ]);

    const verified = await run("verify");
    assert.equal(verified.code, 0, verified.stderr);
    assert.match(verified.stderr, /weights: 6 of 6 files are what they should be\n$/);

    const converted = await run("convert", "--remove-originals");
    assert.equal(converted.code, 0, converted.stderr);
    assert.match(
      converted.stdout,
      /^rar {2}maskgit_vq_tiny\.bin -> rar\.safetensors {2}converted .*\(maskgit_vq_tiny\.bin removed\)\n/,
    );
    assert.deepEqual(
      names(dir),
      [...networks.map((network) => `${network}.safetensors`), "manifest.json", "pulled.json"].sort(),
    );
    await (await openModelSet(dir)).check();
    assert.equal((await run("verify")).code, 0);

    const before = hub.requests.length;
    assert.match((await run("pull", "--json")).stdout, /"status":"present"/);
    assert.equal(hub.requests.length, before, "what is converted is not pulled again");
    const added = await run("convert", "--encoder", `${GOLDEN}checkpoints/encoder_final.pth`, "--family", "rar");
    assert.equal(added.code, 0, added.stderr);
    assert.match(added.stdout, /^rar encoder {2}rar_encoder\.safetensors/);
    const set = await openModelSet(dir);
    await set.check();
    assert.equal(set.manifest.families.rar.encoder?.file, "rar_encoder.safetensors");
    const args = [
      "--models",
      dir,
      "--model",
      "rarb",
      "-n",
      "1",
      "--class",
      "3",
      "--argmax",
      "--device",
      "cpu",
      "--weight-type",
      "f16",
    ];
    const generated = await runTask("generate", folder, ...args, "--out", "images");
    assert.equal(generated.code, 0, generated.stderr);
    assert.deepEqual(names(join(folder, "images")), ["0.json", "0.png"]);
  });
});

Deno.test("weights pull --convert --only: two networks, and what is missing for a set", async () => {
  await withPlace(async ({ dir, run }) => {
    const { code, stdout, stderr } = await run("pull", "--convert", "--only", "rar,var20", "--json");
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      stdout.trimEnd().split("\n").map((line) => JSON.parse(line)).map(({ network, status }) => `${network} ${status}`),
      [
        ...["rar pulled", "rar converted", "var20 pulled", "var20 converted"],
      ],
    );
    assert.match(
      stderr,
      /is not a whole set yet: without a rar variant \(rarb, rarl\), the var tokenizer \(var\) there is no manifest\.json\n$/,
    );
    assert.ok(names(dir).includes("var20.safetensors"));
  });
});

for (const signal of ["SIGINT", "SIGKILL"] as const) {
  Deno.test(`weights pull: after ${signal} nothing has a final name that is not complete, and the next run goes on`, async () => {
    await withPlace(async (place) => {
      const { hub, dir, start, run } = place;
      hub.pause = () => pause(20);
      const process = await start(["pull", "--only", "rar", "--connections", "2"]);
      const ended = resultOf(process);
      // After the first state has been saved.
      while (
        hub.sent < 1_000_000 || (signal === "SIGKILL" && !await stateHas(join(dir, "maskgit_vq_tiny.bin.part.json")))
      ) {
        await pause(20);
      }
      process.kill(signal);
      const { code, stderr } = await ended;
      assert.equal(code, signal === "SIGINT" ? 130 : 137);
      if (signal === "SIGINT") {
        assert.match(stderr, /weights: interrupted; the same command goes on where this one stopped\n$/);
      }
      assert.ok(!names(dir).includes("maskgit_vq_tiny.bin"));
      assert.match((await run("list", "--only", "rar")).stdout, /partial, \d+ %/);
      hub.pause = undefined;
      const resumed = JSON.parse((await run("pull", "--only", "rar", "--json")).stdout);
      assert.ok(resumed.resumed > 0, JSON.stringify(resumed));
      await requirePulled(place, ["rar"]);
    });
  });
}

async function stateHas(path: string): Promise<boolean> {
  const text = await Deno.readTextFile(path).catch(() => "{}");
  return (JSON.parse(text).have?.length ?? 0) > 0;
}

Deno.test("weights pull twice at once: the second waits, says so, and finds the files there", async () => {
  await withPlace(async (place) => {
    const { hub, list, start } = place;
    // Bytes flow when both have asked about both files, and the second has had time to find the first one's lock.
    const asked = () => hub.requests.filter(({ method }) => method === "HEAD").length >= 4;
    const bothThere = (async () => {
      while (!asked()) await pause(10);
      await pause(500);
    })();
    hub.pause = () => bothThere;
    const args = ["pull", "--json", "--only", "rar,rarb"];
    const results = await Promise.all([await start(args), await start(args)].map(resultOf));
    for (const { code, stderr } of results) assert.equal(code, 0, stderr);
    const waits = results.filter(({ stderr }) =>
      /another process is pulling it; waiting until that one is done/.test(stderr)
    );
    assert.ok(waits.length >= 1, "one waits at least; with two files each may wait for the other in turn");
    const statuses = results.flatMap(({ stdout }) =>
      stdout.trimEnd().split("\n").map((line) => JSON.parse(line).status)
    );
    assert.deepEqual(statuses.sort(), ["present", "present", "pulled", "pulled"]);
    await requirePulled(place, ["rar", "rarb"]);
    const size = (await bytesOf(list.files[0])).length + (await bytesOf(list.files[1])).length;
    assert.equal(hub.sent, size, "every byte is fetched once");
  });
});

Deno.test("weights pull: a wrong hash, a 404 and a gated file end with exit code 1 and no file", async () => {
  await withPlace(async ({ hub, dir, run, start }) => {
    const only = ["--only", "rarb"];
    hub.mischief = ({ range }) => (range === undefined ? undefined : { flip: true });
    const wrong = await run("pull", ...only);
    assert.equal(wrong.code, 1);
    assert.match(
      wrong.stderr,
      /weights: rar_tiny\.bin: expected the sha256 [0-9a-f]{64}, got [0-9a-f]{64}: .* pull again or try another endpoint\n$/,
    );
    assert.deepEqual(names(dir), []);
    hub.mischief = () => undefined;
    const offer = hub.offers.get("someone/RAR/rar_tiny.bin")!;
    hub.offers.delete("someone/RAR/rar_tiny.bin");
    const absent = await run("pull", ...only);
    assert.deepEqual([absent.code, absent.stdout], [1, ""]);
    assert.match(
      absent.stderr,
      /^weights: someone\/RAR\/rar_tiny\.bin \(127\.0\.0\.1:\d+\): HTTP 404 \(Entry not found\): no such file/,
    );
    hub.offers.set("someone/RAR/rar_tiny.bin", { ...offer, token: "secret" });
    assert.match((await run("pull", ...only)).stderr, /HTTP 401 .* set HF_TOKEN to an access token/);
    const allowed = await resultOf(await start(["pull", ...only], { HF_TOKEN: "secret" }));
    assert.equal(allowed.code, 0, allowed.stderr);
    assert.ok(hub.requests.every(({ server, authorization }) => server === "hub" || authorization === undefined));
  });
});

Deno.test("weights verify: exit code 1 and the names of the files that are damaged or missing", async () => {
  await withPlace(async ({ dir, run }) => {
    await run("pull", "--only", "rar,rarb");
    await Deno.writeFile(join(dir, "rar_tiny.bin"), someBytes((await Deno.stat(join(dir, "rar_tiny.bin"))).size));
    await Deno.remove(join(dir, "maskgit_vq_tiny.bin"));
    const { code, stdout } = await run("verify");
    assert.equal(code, 1);
    assert.match(stdout, /^maskgit_vq_tiny\.bin {2}missing .*\nrar_tiny\.bin {2}damaged: expected the sha256 /);
  });
});

Deno.test("weights refuses wrong command lines before anything is done", async () => {
  await withPlace(async ({ hub, dir, run }) => {
    for (
      const [args, message] of [
        [["pul"], /^weights: expected pull, list, verify, convert or check, got pul; did you mean pull\?/],
        [["pull", "--famly", "rar"], /unknown option --famly; did you mean --family\?/],
        [
          ["pull", "--family", "mar"],
          /--family: expected one of rar, var, llamagen, llamagen384, got mar|--family: expected rar.*got mar/,
        ],
        [["pull", "--only", "rarc"], /--only rarc: expected rar, rarb, rarl, var, var16, var20/],
        [["pull", "--connections", "0"], /--connections: expected a whole number, from 1 to 64, got 0/],
        [["pull", "--endpoint", "hub"], /endpoint: expected an address such as https:\/\/huggingface\.co, got "hub"/],
        [["list", "--convert"], /--convert: goes with pull, not with list/],
        [["convert", "--encoder", "x.pth"], /--encoder: expected --family rar or --family var or .* with it/],
        [["convert"], /has none of these files: deno task weights pull/],
        [["pull", "more"], /expected options after pull, got more/],
      ] as const
    ) {
      const { code, stdout, stderr } = await run(...args);
      assert.deepEqual([code, stdout], [1, ""], args.join(" "));
      assert.match(stderr, message, args.join(" "));
    }
    assert.equal(hub.requests.length, 0);
    assert.ok(!await Deno.stat(join(dir, "manifest.json")).then(() => true, () => false));
  });
});

Deno.test("only the weights task has network permission", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const networked = Object.entries(tasks as Record<string, string>)
    .filter(([name]) => !/^(test(:\w+)?|check|build-wasm)$/.test(name))
    .filter(([, line]) => /--allow-(net|all)\b|(^|\s)-A\b/.test(line));
  assert.ok(networked.every(([name]) => name === "weights" || name === "serve"), networked.join("; "));
});

/** Mounts a file system of `size` bytes; false where this user may not. */
async function mountSmall(dir: string, size: number): Promise<boolean> {
  if (Deno.build.os !== "linux") return false;
  await Deno.mkdir(dir, { recursive: true });
  const args = ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", dir];
  return await new Deno.Command("mount", { args, stderr: "null" }).output().then(({ success }) => success, () => false);
}

// Where no file system can be mounted (it takes an administrator), full disks are tested with an injected error only:
// "a disk that fills up" in tests/models/download/download_test.ts, "checks the disk" in pull_test.ts.
const mountable = await withFolder(async (folder) => {
  const dir = join(folder, "small");
  if (!await mountSmall(dir, 65536)) return false;
  return (await new Deno.Command("umount", { args: [dir] }).output()).success;
});
if (!mountable) console.warn("weights: no file system can be mounted here: a really full disk is not tested");

if (mountable) {
  Deno.test("weights pull on a disk that is too small, and on one that fills up meanwhile", async () => {
    await withPlace(async (place) => {
      const { hub, folder, dir, start, run } = place;
      const size = (await bytesOf(place.list.files[0])).length;
      assert.ok(await mountSmall(dir, size + 512 * 1024));
      try {
        const small = await run("pull");
        assert.equal(small.code, 1);
        assert.match(
          small.stderr,
          /^weights: pull: needs .* in .*set, .* are free: make room for .*, or name another folder/,
        );
        assert.equal(hub.requests.filter(({ server }) => server === "storage").length, 0);
        // Bytes stop flowing after the first megabyte, until something else has taken the room.
        let taken!: () => void;
        const roomTaken = new Promise<void>((resolve) => taken = resolve);
        hub.pause = async () => {
          if (hub.sent > 1_000_000) await roomTaken;
        };
        const process = resultOf(await start(["pull", "--only", "rar"]));
        while (hub.sent < 1_000_000) await pause(10);
        await Deno.writeFile(join(dir, "other"), someBytes(2_500_000));
        taken();
        const full = await process;
        assert.equal(full.code, 1);
        assert.match(
          full.stderr,
          /weights: maskgit_vq_tiny\.bin: the disk is full; .* MiB of 4\.07 MiB are kept in maskgit_vq_tiny\.bin\.part: make room and run the same command again\n$/,
        );
        assert.ok(!names(dir).includes("maskgit_vq_tiny.bin"));
        await Deno.remove(join(dir, "other"));
        hub.pause = undefined;
        const again = await run("pull", "--only", "rar", "--json");
        assert.equal(again.code, 0, again.stderr);
        assert.ok(JSON.parse(again.stdout).resumed > 0, again.stdout);
        await requirePulled(place, ["rar"]);
      } finally {
        await new Deno.Command("umount", { args: [dir] }).output();
      }
      assert.ok(folder !== dir);
    });
  });
}
