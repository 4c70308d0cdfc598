/**
 * `deno task journal stats|export|merge|gc`: looks into journals, joins those of shards, keeps them small.
 * Journals are attribution/run/journal/; this prints.
 */
import {
  collectGarbage,
  exportLines,
  joinEvidence,
  Journal,
  type JournalStats,
  journalStats,
  mergeSubmission,
  withJournals,
} from "../attribution/run/journal/mod.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { expectNoFile } from "../util/files.ts";
import { damagedNote } from "./cli/notes.ts";
import { jsonLines } from "./cli/options.ts";
import { submissionColumns } from "../attribution/run/submission.ts";
import { choice, listOf } from "../util/options.ts";
import type { Progress } from "./cli/progress.ts";

export const command = defineCommand({
  name: "journal",
  about:
    "Looks into journals: what attribute, calibrate, evaluate and features keep, by content of the image, weights " +
    "and settings.",
  usage: ["stats <file>...", "export <file>", "merge <file>... [options]", "gc <file>... [options]"],
  actions: {
    stats: "what they have, and whether they are whole",
    export: "a JSON line per image of the last run that gave verdicts: verdict, version, time and evidence",
    merge: "the submission of a run whose shards they are",
    gc: "removes what no run will recall, and gives its space back",
  },
  operands: "journal files",
  options: {
    out: { value: "FILE", default: "submission.csv", help: "merge: the table of labels" },
    columns: {
      value: "LIST",
      type: listOf(choice(submissionColumns)),
      help: "merge: columns of the table beside image_name,label",
      unset: "none",
    },
    force: { help: "merge: replace a file at --out" },
    into: {
      value: "FILE",
      help: "merge: the evidence of all of them, too, in this journal, which is created if need be",
    },
    modelSet: { value: "HASH", help: "gc: keep evidence of this model set only" },
    tokens: { help: "gc: drop tokens, too (a seventh of the size; other variants can then not be added without them)" },
    quick: { help: "stats: do not read all of every file to see whether it is whole" },
    json: jsonLines("stats: one per journal; merge: one; export has no other form"),
  },
  notes: "A shard that is missing, interrupted or of another run is an error, and nothing is written.",
  exitCodes: { 1: "usage or fatal error or a damaged journal", 2: "merged but some images could not be read" },
});

function describe({ path, bytes, integrity, keys, sessions, damaged }: JournalStats): string {
  const lines = [`${path}: ${(bytes / 2 ** 20).toFixed(1)} MiB, integrity ${integrity}`];
  if (damaged > 0) lines.push(`  ${damaged} damaged rows: runs measure them again`);
  for (const { modelSet, complete, pending, mostAttempts, settings } of keys) {
    const named = Object.entries(settings as Record<string, unknown>).map(([name, value]) =>
      `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`
    ).join(", ");
    lines.push(`  ${complete} images, ${pending} begun, of model set ${modelSet.slice(0, 12)} (${named})`);
    if (mostAttempts > 1) lines.push(`  work on one image began ${mostAttempts} times at most`);
  }
  const last = sessions.at(-1);
  if (last !== undefined) {
    lines.push(`  last run: shard ${last.shard} of ${last.listed} images, ${last.status}, ${last.results} rows`);
  }
  return lines.join("\n") + "\n";
}

type JournalInput = Input<typeof command.options>;

async function main({ values, operands: [action, ...files], progress }: JournalInput): Promise<number> {
  if (files.length === 0) throw new Error(`${action}: expected journal files (--help)`);
  if (action === "export" && files.length > 1) throw new Error(`export: expected one journal, got ${files.length}`);
  return await withJournals(files, async (journals) => {
    if (action === "stats") {
      const stats = journals.map((journal) => journalStats(journal, { check: !values.quick }));
      progress.print(stats.map((row) => values.json ? JSON.stringify(row) + "\n" : describe(row)).join(""));
      return stats.every(({ integrity, damaged }) => ["ok", "not checked"].includes(integrity) && damaged === 0)
        ? 0
        : 1;
    }
    if (action === "merge") return await merge(journals, values, progress);
    if (action === "export") {
      for (const line of exportLines(journals[0])) if (!progress.print(JSON.stringify(line) + "\n")) break;
      return noteDamaged(journals, progress) ? 1 : 0;
    } else {
      for (const journal of journals) {
        const removed = collectGarbage(journal, values);
        progress.note(`${journal.path}: removed ${removed} rows`);
      }
    }
    return 0;
  });
}

/** Notes how many images have damaged evidence, which was left out. Returns whether there are any. */
function noteDamaged(journals: readonly Journal[], progress: Progress): boolean {
  for (const { path, damaged } of journals) if (damaged.size > 0) progress.note(damagedNote(path, damaged.size));
  return journals.some(({ damaged }) => damaged.size > 0);
}

async function merge(
  journals: readonly Journal[],
  { out, columns, into, json, force }: JournalInput["values"],
  progress: Progress,
): Promise<number> {
  await expectNoFile("--out", out, force);
  const { rows, unreadable } = await mergeSubmission(journals, out, columns);
  let added: number | undefined;
  if (into !== undefined) {
    using joined = Journal.open(into, { durable: false });
    added = joinEvidence(joined, journals);
    noteDamaged(journals, progress);
  }
  if (json) progress.print(JSON.stringify({ out, rows, unreadable, added }) + "\n");
  const more = added === undefined ? "" : `; ${into} has the evidence of ${added} images more`;
  progress.note(`${out} has ${rows} rows, ${unreadable} of them unreadable${more}`);
  return unreadable > 0 ? 2 : 0;
}

if (import.meta.main) await runTask(command, main);
