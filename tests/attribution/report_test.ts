import assert from "node:assert/strict";
import { join } from "node:path";
import type { Evidence, EvidenceLine } from "../../attribution/evidence.ts";
import { parseEvidence } from "../../attribution/evidence.ts";
import { readLines } from "../../attribution/files.ts";
import type { Measured } from "../../attribution/pipeline.ts";
import { Report, type ReportKey } from "../../attribution/report.ts";
import { Submission } from "../../attribution/submission.ts";
import { readJsonLines, withFolder } from "./files.ts";

const key: ReportKey = {
  modelSet: "a".repeat(64),
  settings: { condition: "none", quantization: "greedy", signals: "core", device: "cpu", weightType: "f32" },
};

const sha = (n: number) => n.toString(16).padStart(64, "0");
const signals = { quantLoss: 0.25, encLoss: 1.5, encLossUncalibrated: 0.1, combined: 0.375, quantErrorTail: 0.5 };
const likelihood = { tokens: 4, meanLogProb: -1, perplexity: Math.E };

function evidence(n: number, more: Partial<Evidence> = {}): Evidence {
  return {
    image: `${n}.png`,
    label: "rarb",
    confidence: 0.5,
    unsure: false,
    method: "perplexity",
    family: "rar",
    scores: { rarb: 1 },
    sha256: sha(n),
    width: 8,
    height: 9,
    modelSet: key.modelSet,
    calibration: null,
    settings: key.settings,
    families: { rar: signals, var: signals },
    variants: { rarb: likelihood },
    timings: { read: 1, families: 2, variants: 3 },
    ...more,
  };
}

function measured(n: number, variants: string[], tokens?: number[]): Measured {
  return {
    sha256: sha(n),
    width: 8,
    height: 9,
    families: { rar: signals, var: signals },
    tokens: tokens && { rar: Int32Array.from(tokens), var: Int32Array.from(tokens) },
    variants: Object.fromEntries(variants.map((name) => [name, likelihood])),
    timings: { read: 1, families: 2, variants: 3 },
  };
}

/** Opens the folder as a run would after this one was killed: nothing is closed or finished. */
async function killed(dir: string, work: (report: Report) => Promise<void>, resume = false): Promise<void> {
  const report = await Report.open(dir, key, resume);
  await work(report);
  report.close();
}

Deno.test("a finished report has a line per image in order and a summary, and nothing else", async () => {
  await withFolder(async (folder) => {
    const dir = join(folder, "deep", "report");
    const report = await Report.open(dir, key, false);
    const unreadable: EvidenceLine = {
      image: "2.png",
      label: "unreadable",
      error: { reason: "truncated", message: "ends" },
    };
    await report.remember([measured(1, [], [1, 2])]);
    await report.add(evidence(1));
    await report.add(unreadable);
    await report.finish({ status: "done" });
    assert.deepEqual(await readJsonLines(join(dir, "evidence.jsonl")), [evidence(1), unreadable]);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(join(dir, "summary.json"))), { status: "done" });
    const left = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name);
    assert.deepEqual(left.sort(), ["evidence.jsonl", "summary.json"]);
  });
});

Deno.test("a report that resumes recalls by content what a killed run wrote, and drops a torn last line", async () => {
  await withFolder(async (dir) => {
    await killed(dir, async (report) => {
      await report.add(evidence(1));
      await report.add(evidence(2));
    });
    const part = join(dir, "evidence.jsonl.part");
    await Deno.writeTextFile(part, JSON.stringify(evidence(3)).slice(0, 80), { append: true });
    const report = await Report.open(dir, key, true);
    assert.equal(report.recallable, 2);
    const { tokens: _, ...complete } = measured(2, ["rarb"]);
    assert.deepEqual(await report.recall(sha(2)), complete);
    assert.equal(await report.recall(sha(3)), undefined);
    report.close();
  });
});

Deno.test("a report that is killed again and again loses nothing", async () => {
  await withFolder(async (dir) => {
    await killed(dir, (report) => report.add(evidence(1)));
    for (let n = 2; n <= 4; n++) {
      await killed(dir, async (report) => {
        assert.equal(report.recallable, n - 1);
        await report.add(evidence(n)); // without writing the recalled ones again: killed before it came to them
      }, true);
    }
    const report = await Report.open(dir, key, true);
    assert.equal(report.recallable, 4);
    for (let n = 1; n <= 4; n++) assert.ok(await report.recall(sha(n)));
    await report.add(evidence(4));
    await report.finish({});
    assert.deepEqual(await readJsonLines(join(dir, "evidence.jsonl")), [evidence(4)]);
  });
});

Deno.test("a report recalls from a finished run as well", async () => {
  await withFolder(async (dir) => {
    const first = await Report.open(dir, key, false);
    await first.add(evidence(1));
    await first.finish({});
    const second = await Report.open(dir, key, true);
    assert.equal(second.recallable, 1);
    second.close();
  });
});

Deno.test("a report does not recall evidence of other weights or settings", async () => {
  await withFolder(async (dir) => {
    await killed(dir, async (report) => {
      await report.add(evidence(1, { modelSet: "b".repeat(64) }));
      await report.add(evidence(2, { settings: { ...key.settings, device: "webgpu" } }));
      await report.add(evidence(3));
    });
    const report = await Report.open(dir, key, true);
    assert.equal(report.recallable, 1);
    assert.equal(report.ignored, 2);
    assert.equal(await report.recall(sha(1)), undefined);
    assert.equal(await report.recall(sha(2)), undefined);
    assert.ok(await report.recall(sha(3)));
    report.close();
  });
});

Deno.test("a report puts together what it remembered of an unfinished image", async () => {
  await withFolder(async (dir) => {
    await killed(dir, async (report) => {
      await report.remember([measured(1, [], [7, 8]), measured(2, [], [9, 10])]);
      await report.remember([measured(1, ["rarb"], [7, 8])]);
      await report.remember([measured(1, ["rarb", "rarl"])]);
    });
    const report = await Report.open(dir, key, true);
    assert.deepEqual(await report.recall(sha(1)), measured(1, ["rarb", "rarl"], [7, 8]));
    assert.deepEqual(await report.recall(sha(2)), measured(2, [], [9, 10]));
    report.close();
  });
});

Deno.test("a report forgets unfinished measurements once the images are complete, so that they take no space", async () => {
  await withFolder(async (dir) => {
    const report = await Report.open(dir, key, false);
    for (let n = 0; n < 20; n += 2) {
      await report.remember([measured(n, [], [1, 2]), measured(n + 1, [], [1, 2])]);
      await report.add(evidence(n));
      assert.ok((await Deno.stat(join(dir, "unfinished.jsonl.part"))).size > 0);
      await report.add(evidence(n + 1));
      assert.equal((await Deno.stat(join(dir, "unfinished.jsonl.part"))).size, 0);
    }
    report.close();
  });
});

Deno.test("Report.open() refuses to lose the work of an unfinished run", async () => {
  await withFolder(async (dir) => {
    await killed(dir, (report) => report.add(evidence(1)));
    await assert.rejects(Report.open(dir, key, false), /has the evidence of a run that was not finished: .*--resume/);
  });
});

Deno.test("Report.open() names a folder that cannot be made", async () => {
  await withFolder(async (dir) => {
    await Deno.writeTextFile(join(dir, "file"), "");
    await assert.rejects(
      Report.open(join(dir, "file", "report"), key, false),
      /--report .*: cannot make this folder: /,
    );
  });
});

Deno.test("parseEvidence() reads its own lines and nothing else", () => {
  assert.deepEqual(parseEvidence(JSON.stringify(evidence(1))), evidence(1));
  for (const text of ["", "{", "[]", "{}", JSON.stringify({ ...evidence(1), sha256: "x" })]) {
    assert.equal(parseEvidence(text), undefined);
  }
});

Deno.test("readLines() gives complete lines with their places, across blocks, and leaves out a torn one", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "lines");
    const lines = ["", "a", "é".repeat(70_000), "end"];
    await Deno.writeTextFile(path, lines.join("\n") + "\ntorn");
    const bytes = await Deno.readFile(path);
    const found = await Array.fromAsync(readLines(path));
    assert.deepEqual(found.map(({ text }) => text), lines);
    for (const { text, start, end } of found) {
      assert.equal(new TextDecoder().decode(bytes.subarray(start, end)), text);
    }
    assert.deepEqual(await Array.fromAsync(readLines(join(dir, "absent"))), []);
  });
});

Deno.test("Submission quotes names that need it and appears only when finished", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "s.csv");
    const submission = await Submission.create(path);
    await submission.add("a.png", "rarb");
    await submission.add('b, "c".png', "outlier");
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
    assert.equal(await submission.finish(), 2);
    assert.equal(await Deno.readTextFile(path), 'image_name,label\na.png,rarb\n"b, ""c"".png",outlier\n');
    assert.equal((await Array.fromAsync(Deno.readDir(dir))).length, 1);
  });
});

Deno.test("Submission without rows replaces nothing", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "s.csv");
    await Deno.writeTextFile(path, "old");
    const submission = await Submission.create(path);
    assert.equal(await submission.finish(), 0);
    assert.equal(await Deno.readTextFile(path), "old");
    assert.equal((await Array.fromAsync(Deno.readDir(dir))).length, 1);
  });
});

Deno.test("Submission.create() refuses a folder that does not exist, and a name that is one", async () => {
  await withFolder(async (dir) => {
    await assert.rejects(
      Submission.create(join(dir, "no", "s.csv")),
      /--out .*: cannot write s\.csv to .*does not exist/,
    );
    await assert.rejects(Submission.create(dir), /--out .*: expected the name of a file, this is a folder/);
  });
});
