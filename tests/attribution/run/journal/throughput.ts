/**
 * How fast evidence is written by shards and joined, and in how much memory: 8 processes write journals of made-up evidence
 * of full size, one process merges them. Run with the number of records: deno run -A throughput.ts 1000000
 */
import { join } from "node:path";
import type { Measured } from "../../../../attribution/run/pipeline.ts";
import { joinEvidence, Journal, type JournalKey, mergeSubmission } from "../../../../attribution/run/journal/mod.ts";
import { familyNames, variantLabels } from "../../../labels.ts";

const key: JournalKey = {
  modelSet: "a".repeat(64),
  settings: { condition: "infer", quantization: "estimate", signals: "core", device: "cpu", weightType: "f32" },
};

const summaries = [..."abcdefghijklmnop"].map((letter) => `kind.${letter}umber`);

/** Evidence as large as that of a full-size image: eight variants of 16 numbers, 256 + 680 tokens. */
function evidence(record: number): Measured {
  const number = (k: number) => Math.sin(record * 31 + k);
  const signals = () => ({
    ...{ quantLoss: number(1) ** 2, encLoss: number(2) ** 2, encLossUncalibrated: number(3) ** 2 },
    ...{ combined: number(4) ** 2, quantErrorTail: number(5) ** 2 },
  });
  const variant = (k: number) => {
    const values = summaries.map((name, i) => [name, number(k * 16 + i)] as const);
    return { tokens: 256, meanLogProb: -1 - number(k) ** 2, perplexity: 9, summaries: Object.fromEntries(values) };
  };
  const names = familyNames.flatMap((family) => variantLabels[family]);
  const classes = { top: [1, 2, 3, 4, 5].map((id) => ({ class: id, weight: number(id) ** 2 })), cost: 5 };
  return {
    sha256: hashOf(record),
    ...{ width: 256, height: 256, families: { rar: signals(), var: signals() } },
    tokens: { rar: new Int32Array(256).fill(record % 1024), var: new Int32Array(680).fill(record % 4096) },
    classes: { rar: classes, var: classes },
    variants: Object.fromEntries(names.map((name, k) => [name, variant(k)])),
    timings: { read: 1, families: 2, variants: 3 },
  };
}

/** Spread like a hash, and a different one for every record. */
function hashOf(record: number): string {
  const spread = Math.imul(record, 0x9e3779b1) >>> 0;
  return spread.toString(16).padStart(8, "0") + record.toString(16).padStart(56, "0");
}

/** Writes the records of one shard, a thousand and their rows at a time, each flushed to the disk. */
async function write(path: string, index: number, count: number, records: number): Promise<void> {
  using journal = Journal.open(path, { exclusive: true });
  const own = journal.evidence(key);
  const session = await journal.begin({ ...key, test: records }, records, { index, count });
  let done = 0;
  for (let first = index - 1; first < records; first += 1000 * count) {
    const batch = Array.from({ length: 1000 }, (_, k) => first + k * count).filter((record) => record < records);
    journal.transact(() => batch.forEach((record) => own.insert(evidence(record))));
    // deno-lint-ignore no-explicit-any -- a row needs no more of a line than this
    const line = (record: number): any => ({ image: `${record}.png`, label: "rarb", confidence: 1, unsure: false });
    journal.addResults(
      session,
      batch.map((record) => ({ line: line(record), position: record, sha256: hashOf(record) })),
    );
    done += batch.length;
  }
  journal.end(session, "done", done);
}

/** Peak of this process's resident memory so far, in bytes. */
async function peak(): Promise<number> {
  return Number(/VmHWM:\s+(\d+) kB/.exec(await Deno.readTextFile("/proc/self/status"))?.[1]) * 1024;
}

export interface Throughput {
  readonly records: number;
  readonly writeSeconds: number;
  readonly mergeSeconds: number;
  /** Of all shards' files, and of the merged one. */
  readonly bytes: number;
  readonly mergedBytes: number;
  /** Of all processes that run at the same time. */
  readonly peakBytes: number;
  readonly rows: number;
}

const self = new URL(import.meta.url).pathname;

async function child(...args: (string | number)[]): Promise<{ peak: number; rows: number }> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", self, ...args.map(String)],
    stderr: "inherit",
  });
  const { success, stdout } = await process.output();
  if (!success) throw new Error(`${args.join(" ")} failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Writes `records` by 8 shards, `atOnce` processes at a time, and merges them. */
export async function throughput(dir: string, records: number, atOnce = 2): Promise<Throughput> {
  const shards = 8;
  const paths = Array.from({ length: shards }, (_, i) => join(dir, `shard-${i + 1}.sqlite`));
  const begin = performance.now();
  let peakBytes = 0;
  for (let first = 0; first < shards; first += atOnce) {
    const own = paths.slice(first, first + atOnce);
    const done = await Promise.all(own.map((path, k) => child("write", path, first + k + 1, shards, records)));
    peakBytes = Math.max(peakBytes, done.reduce((sum, { peak }) => sum + peak, 0));
  }
  const between = performance.now();
  const into = join(dir, "all.sqlite");
  const merged = await child("merge", join(dir, "submission.csv"), into, ...paths);
  const size = async (path: string) => (await Deno.stat(path)).size;
  return {
    records,
    writeSeconds: (between - begin) / 1000,
    mergeSeconds: (performance.now() - between) / 1000,
    bytes: (await Promise.all(paths.map(size))).reduce((sum, bytes) => sum + bytes, 0),
    mergedBytes: await size(into),
    peakBytes: Math.max(peakBytes, merged.peak),
    rows: merged.rows,
  };
}

if (import.meta.main) {
  const [what, ...args] = Deno.args;
  if (what === "write") {
    await write(args[0], Number(args[1]), Number(args[2]), Number(args[3]));
    console.log(JSON.stringify({ peak: await peak(), rows: 0 }));
  } else if (what === "merge") {
    const [out, into, ...paths] = args;
    const journals = paths.map((path) => Journal.open(path, { mustExist: true, cacheBytes: 8 * 2 ** 20 }));
    const { rows } = await mergeSubmission(journals, out);
    const all = Journal.open(into, { durable: false });
    joinEvidence(all, journals);
    for (const journal of [all, ...journals]) journal.close();
    console.log(JSON.stringify({ peak: await peak(), rows }));
  } else {
    const dir = await Deno.makeTempDir();
    try {
      console.log(await throughput(dir, Number(what)));
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  }
}
