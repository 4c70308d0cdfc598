/**
 * `deno task journal stats|export|merge|gc`: looks into journals, joins those of shards, keeps them small.
 * Parses the command line and prints; journals are attribution/run/journal/.
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
import { nearest, parseOptions } from "./cli/args.ts";
import { fail } from "./cli/measuring.ts";
import { writeStderr, writeStdout } from "./cli/progress.ts";

const usage =
  `Journals: what attribute, calibrate, evaluate and features keep, by content of the image, weights and settings.

usage: deno task journal stats  <file>...            what they have, and whether they are whole
       deno task journal export <file>               a JSON line per image of the last run that gave verdicts, with
                                                     its evidence
       deno task journal merge  <file>... [options]  the submission of a run whose shards they are
       deno task journal gc     <file>... [options]  removes what nobody will recall, and gives its space back

  --out FILE        merge: the table of labels (default submission.csv)
  --into FILE       merge: the evidence of all of them, too, in this journal, which is created if need be
  --model-set HASH  gc: keep evidence of this model set only
  --tokens          gc: drop tokens, too (a seventh of the size; other variants can then not be added without them)
  --quick           stats: without reading all of every file to see whether it is whole
  --json            JSON instead of text
  --help            this text

A shard that is missing, interrupted or of another run is an error, and nothing is written.
Exit code: 0 done, 1 usage or fatal error, or a journal that is damaged, 2 merged, but some images could not be read.`;

const commands = ["stats", "export", "merge", "gc"] as const;

function describe({ path, bytes, integrity, keys, sessions }: JournalStats): string {
  const lines = [`${path}: ${(bytes / 2 ** 20).toFixed(1)} MiB, integrity ${integrity}`];
  for (const { modelSet, complete, pending, mostAttempts, settings } of keys) {
    const own = Object.entries(settings as Record<string, unknown>).map(([name, value]) =>
      `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`
    ).join(", ");
    lines.push(`  ${complete} images, ${pending} begun, of model set ${modelSet.slice(0, 12)} (${own})`);
    if (mostAttempts > 1) lines.push(`  work on one image began ${mostAttempts} times at most`);
  }
  const last = sessions.at(-1);
  if (last !== undefined) {
    lines.push(`  last run: shard ${last.shard} of ${last.listed} images, ${last.status}, ${last.results} rows`);
  }
  return lines.join("\n") + "\n";
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseOptions(args, {
    out: { type: "string", default: "submission.csv" },
    into: { type: "string" },
    "model-set": { type: "string" },
    tokens: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
  if (values.help) {
    writeStdout(usage + "\n");
    return 0;
  }
  const [command, ...files] = positionals;
  if (!(commands as readonly string[]).includes(command)) {
    const near = command === undefined ? undefined : nearest(command, commands);
    throw new Error(
      `expected ${commands.join(", ")}, got ${command ?? "nothing"}${near ? `; did you mean ${near}?` : ""}`,
    );
  }
  if (files.length === 0) throw new Error(`${command}: expected journal files (--help)`);
  if (command === "export" && files.length > 1) throw new Error(`export: expected one journal, got ${files.length}`);

  return await withJournals(files, async (journals) => {
    if (command === "stats") {
      const all = journals.map((journal) => journalStats(journal, { check: !values.quick }));
      writeStdout(values.json ? JSON.stringify(all, null, 2) + "\n" : all.map(describe).join(""));
      return all.every(({ integrity }) => ["ok", "not checked"].includes(integrity)) ? 0 : 1;
    }
    if (command === "export") {
      for (const line of exportLines(journals[0])) if (!writeStdout(JSON.stringify(line) + "\n")) break;
      return 0;
    }
    if (command === "gc") {
      for (const journal of journals) {
        const removed = collectGarbage(journal, { modelSet: values["model-set"], tokens: values.tokens });
        writeStderr(`journal: ${journal.path}: removed ${removed} rows\n`);
      }
      return 0;
    }
    const { rows, unreadable } = await mergeSubmission(journals, values.out);
    let added: number | undefined;
    if (values.into !== undefined) {
      using into = Journal.open(values.into, { durable: false });
      added = joinEvidence(into, journals);
    }
    if (values.json) writeStdout(JSON.stringify({ out: values.out, rows, unreadable, added }) + "\n");
    const joined = added === undefined ? "" : `; ${values.into} has the evidence of ${added} images more`;
    writeStderr(`journal: ${values.out} has ${rows} rows, ${unreadable} of them unreadable${joined}\n`);
    return unreadable > 0 ? 2 : 0;
  });
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    fail("journal", error);
  }
}
