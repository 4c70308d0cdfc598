import assert from "node:assert/strict";
import { join } from "node:path";
import type { Evidence, EvidenceLine } from "../../../attribution/evidence/evidence.ts";
import { parseEvidence } from "../../../attribution/evidence/schemas.ts";
import type { JournalKey } from "../../../attribution/run/journal/mod.ts";
import { Report } from "../../../attribution/run/report.ts";
import { Submission, submissionColumns } from "../../../attribution/run/submission.ts";
import { commit, version } from "../../../util/version.ts";
import { readJsonLines, withFolder } from "../files.ts";

const key: JournalKey = {
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
    finding: "variant",
    reasons: [],
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

const unreadable: EvidenceLine = {
  image: "2.png",
  label: "unreadable",
  error: { reason: "truncated", message: "ends" },
};

const namesIn = async (dir: string) => (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();

Deno.test("a report has a line per image in order and a summary, and nothing else", async () => {
  await withFolder(async (folder) => {
    const dir = join(folder, "deep", "report");
    const report = await Report.open(dir);
    await report.add(evidence(1));
    await report.add(unreadable);
    assert.deepEqual(await namesIn(dir), ["evidence.jsonl.part"], "nothing has its name before it is whole");
    await report.finish({ status: "done" });
    await report.discard();
    assert.deepEqual(await readJsonLines(join(dir, "evidence.jsonl")), [evidence(1), unreadable]);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(join(dir, "summary.json"))), {
      version,
      ...commit !== undefined && { commit },
      status: "done",
    });
    assert.deepEqual(await namesIn(dir), ["evidence.jsonl", "summary.json"]);
  });
});

Deno.test("a report is replaced by a run that came to an image, and by none that did not", async () => {
  await withFolder(async (dir) => {
    const run = async (lines: EvidenceLine[], status?: "done" | "interrupted" | "failed") => {
      const report = await Report.open(dir);
      for (const line of lines) await report.add(line);
      await (status === undefined ? report.discard() : report.finish({ status }));
      assert.ok(!(await namesIn(dir)).includes("evidence.jsonl.part"));
      return await readJsonLines(join(dir, "evidence.jsonl"));
    };
    assert.deepEqual(await run([evidence(1)], "done"), [evidence(1)]);
    assert.deepEqual(await run([], "interrupted"), [evidence(1)]);
    assert.deepEqual(await run([], "failed"), [evidence(1)]);
    assert.deepEqual(await run([]), [evidence(1)], "one that could not begin");
    assert.deepEqual(await run([evidence(2)], "interrupted"), [evidence(2)]);
    await Deno.writeTextFile(join(dir, "evidence.jsonl.part"), "torn by a kill");
    assert.deepEqual(await run([evidence(3)], "done"), [evidence(3)]);
    const report = await Report.open(dir);
    await report.finish({ status: "done" });
    assert.equal(await Deno.readTextFile(join(dir, "evidence.jsonl")), "", "a shard without images");
  });
});

Deno.test("Report.open() names a folder that cannot be made", async () => {
  await withFolder(async (dir) => {
    await Deno.writeTextFile(join(dir, "file"), "");
    await assert.rejects(
      Report.open(join(dir, "file", "report")),
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

Deno.test("Submission quotes names that need it and appears only when finished", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "s.csv");
    const submission = await Submission.create(path);
    await submission.add({ ...evidence(1), image: "a.png" });
    await submission.addRow('b, "c".png', "outlier");
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
    assert.equal(await submission.finish(), 2);
    assert.equal(await Deno.readTextFile(path), 'image_name,label\na.png,rarb\n"b, ""c"".png",outlier\n');
    assert.equal((await Array.fromAsync(Deno.readDir(dir))).length, 1);
  });
});

Deno.test("Submission has the columns that are asked for, and none of its texts is a formula", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "s.csv");
    const submission = await Submission.create(path, submissionColumns);
    const judged = "2026-11-30T12:00:00.000Z", commit = "c".repeat(40);
    const reasons = ["=1+1 is no reason.", "Neither is this."];
    await submission.add(
      evidence(1, { reasons, log10LikelihoodRatio: -2.5, version: "0.2.0", notes: ["odd", "old"], judged }),
    );
    await submission.add(evidence(3, { commit, finding: "none", label: "outlier", family: null, confidence: 0.75 }));
    await submission.add(unreadable);
    await submission.finish();
    assert.deepEqual((await Deno.readTextFile(path)).trimEnd().split("\n"), [
      "image_name,label,finding,confidence,family,reasons,log10lr,sha256,notes,version,commit,judged",
      `1.png,rarb,variant,0.5,rar,'=1+1 is no reason. Neither is this.,-2.5,${sha(1)},odd; old,0.2.0,,${judged}`,
      `3.png,outlier,none,0.75,,,,${sha(3)},,,${commit},`,
      "2.png,unreadable,,,,ends,,,,,,",
    ]);
    const two = await Submission.create(path, ["version", "finding"]);
    await two.add(evidence(1, { version: "0.2.0" }));
    await two.finish();
    assert.equal(await Deno.readTextFile(path), "image_name,label,version,finding\n1.png,rarb,0.2.0,variant\n");
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
