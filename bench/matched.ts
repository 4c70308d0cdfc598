/**
 * Measures a set of stand-ins and writes the tables of docs/matched.md: how hard its tokens are to find, beside public
 * figures of the official models; all methods; what they would be if tokens or classes were known; and processed images.
 *
 *     deno run -A bench/matched.ts [PART ...] --data DATA --draws WORK/dataset --out runs/matched [options]
 *
 * Parts, each kept in --out and not measured again while nothing that it depends on changes; all without a name:
 *   signals       true tokens found, and how well single signals separate
 *   likelihoods   likelihoods and oracles
 *   budgets       sizes where classes are inferred with fewer passes, and fewer are kept
 *   methods       `evaluate --compare` on the test images; needs a calibration
 *   processing    `evaluate` on them after JPEG 90 and a crop of five pixels on each side; likewise
 *   tables        nothing but the tables, of what there is; those of other parts stay as they are in the document
 *
 *   --data DIR     what `deno task zoo dataset --recipe matched --out DIR` drew
 *   --draws DIR    its generated images with their tokens, WORK/dataset
 *   --models DIR   the set (default weights/matched)
 *   --document F   where the tables go (default docs/matched.md)
 *   --each N       images of each variant, and most of each source of outliers, for the first three parts (default 75)
 *   --fit N        images of each variant that classifiers of likelihoods and budgets are fitted to (default 100)
 *   --limit N      images of each label for methods and processing (default: all)
 *   --threads N    of the processor
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { EvaluationReport } from "../attribution/evaluation/report.ts";
import { expectLimitsMarks, readLimits, writeLimits } from "../attribution/evaluation/limits_document.ts";
import { type EvaluationOptions, runEvaluation } from "../attribution/evaluation/run_evaluation.ts";
import { type Evidence, isUnreadable } from "../attribution/evidence/evidence.ts";
import { parseEdits, type Processing, standardProcessing } from "../attribution/images/edits/mod.ts";
import { parseNameTable } from "../attribution/images/name_table.ts";
import { type Labels, labelsOf } from "../attribution/labels.ts";
import { openDevice } from "../core/open_device.ts";
import { type ModelSet, openModelSet } from "../models/model_set.ts";
import { writeFileAtomically } from "../util/files.ts";
import { canonicalJson } from "../util/json.ts";
import { isStranger } from "./matched/draws.ts";
import { type Budget, type BudgetFigures, budgetFigures, comparedBudgets, knownForBudgets } from "./matched/budgets.ts";
import { type LikelihoodFigures, likelihoodFigures } from "./matched/likelihoods.ts";
import type { TestVerdict } from "./matched/oracles.ts";
import { type SignalFigures, signalFigures } from "./matched/signals.ts";
import { matchedTables } from "./matched/tables.ts";

const parts = ["signals", "likelihoods", "budgets", "methods", "processing", "tables"] as const;

/** What is measured, on what. */
export interface MatchedOptions {
  readonly models: string;
  readonly data: string;
  readonly draws: string;
  readonly out: string;
  readonly document: string;
  readonly each: number;
  readonly fit: number;
  readonly limit?: number;
  /** Passes and classes that are compared, from thorough to cheap. Default: `comparedBudgets`. */
  readonly budgets?: readonly Budget[];
  readonly threads?: number;
  readonly parts: readonly string[];
  readonly log: (line: string) => void;
}

/** The edits of the part `processing`. */
const processings: readonly Processing[] = [
  standardProcessing("jpeg90"),
  { name: "cropped5", title: "5 pixels cropped off each side", edits: parseEdits("crop:5") },
];

/** Measures the parts that are wanted, and writes the tables of all that was measured into the document. */
export async function measureMatched(options: MatchedOptions): Promise<void> {
  const { models, out, document, parts: wanted } = options;
  const unknown = wanted.filter((part) => !parts.includes(part as never));
  if (unknown.length > 0) throw new Error(`matched: expected parts (${parts.join(", ")}), got ${unknown.join(", ")}`);
  await expectLimitsMarks(document, "--document");
  const set = await openModelSet(models);
  const wants = (part: typeof parts[number]) => wanted.length === 0 || wanted.includes(part);
  await Deno.mkdir(out, { recursive: true });
  if (wants("signals")) await signals(set, options);
  if (wants("likelihoods")) { for (const family of set.families) await likelihoods(set, family, options); }
  if (wants("budgets")) { for (const family of set.families) await budgets(set, family, options); }
  if (wants("methods")) await evaluated("methods", options, { compare: true });
  if (wants("processing")) await evaluated("processing", options, { processing: processings });
  await writeTables(set, options);
}

/** Measures unless a file has the result for the same set, data and numbers of images. */
async function kept(
  path: string,
  depends: Readonly<Record<string, unknown>>,
  options: MatchedOptions,
  make: () => Promise<unknown>,
): Promise<void> {
  const known = await readJson<{ readonly depends: unknown }>(path);
  if (known !== undefined && canonicalJson(known.depends) === canonicalJson(depends)) {
    options.log(`${path}: is there`);
    return;
  }
  await writeFileAtomically(path, JSON.stringify({ depends, result: await make() }, null, 1) + "\n");
}

async function signals(set: ModelSet, options: MatchedOptions): Promise<void> {
  const { out, data, draws, each, threads, log } = options;
  await kept(join(out, "signals.json"), { modelSet: set.hash, data, draws, each }, options, async () => {
    const device = await openDevice("cpu", { threads });
    try {
      return await signalFigures({ device, set, data, draws, each, log });
    } finally {
      device.close();
    }
  });
}

async function likelihoods(set: ModelSet, family: string, options: MatchedOptions): Promise<void> {
  const { out, draws, each, fit, threads, log } = options;
  await kept(
    join(out, `likelihoods-${family}.json`),
    { modelSet: set.hash, draws, each, fit },
    options,
    () => likelihoodFigures({ set, family, draws, each, fit, threads, log }),
  );
}

async function budgets(set: ModelSet, family: string, options: MatchedOptions): Promise<void> {
  const { out, draws, each, fit, budgets = comparedBudgets, threads, log } = options;
  const known = knownForBudgets[family] ?? "nothing";
  await kept(
    join(out, `budgets-${family}.json`),
    { modelSet: set.hash, draws, each, fit, known, budgets },
    options,
    () => budgetFigures({ set, family, known, budgets, draws, each, fit, threads, log }),
  );
}

/** Evaluates the test images, and leaves the report in a folder. The journal keeps what was measured. */
async function evaluated(
  part: "methods" | "processing",
  { models, data, out, limit, threads, log }: MatchedOptions,
  more: Pick<EvaluationOptions, "compare" | "processing">,
): Promise<void> {
  const labels = join(data, "test_labels.csv");
  const sources = parseNameTable(await Deno.readTextFile(labels), labels, "source").map(({ source }) => source);
  const { status } = await runEvaluation({
    ...{ models, device: "cpu", threads, search: "quick", limitPerLabel: limit, ...more },
    ...{ val: [join(data, "test")], labels: [labels], strangers: [...new Set(sources.filter(isStranger))] },
    ...{ report: join(out, part), journal: join(out, "journal.sqlite") },
  }, { onStage: (name) => log(`${part}: ${name}`), onNote: log });
  if (status !== "done") throw new Error(`${part}: was interrupted; the same command goes on`);
}

async function writeTables(set: ModelSet, { out, data, document, log }: MatchedOptions): Promise<void> {
  const byFamily = async <T>(part: string) => {
    const files = set.families.map((family) =>
      readJson<{ result: T; depends: Depends }>(join(out, `${part}-${family}.json`))
    );
    return (await Promise.all(files)).filter((file) => file !== undefined);
  };
  const measured = await byFamily<LikelihoodFigures>("likelihoods"), budgets = await byFamily<BudgetFigures>("budgets");
  const signals = await readJson<{ result: SignalFigures[]; depends: Depends }>(join(out, "signals.json"));
  const methods = await readJson<EvaluationReport>(join(out, "methods", "evaluation.json"));
  const processing = await readJson<EvaluationReport>(join(out, "processing", "evaluation.json"));
  for (const { depends } of [...measured, ...budgets, ...signals === undefined ? [] : [signals]]) {
    if (depends.modelSet !== set.hash) throw new Error(`${out}: has figures of another model set: measure them again`);
  }
  const scales = set.families.map((family) => [family, set.tokenizerFacts(family).patchNums] as const)
    .filter(([, sides]) => sides.length > 1);
  const tables = matchedTables({
    modelSet: `${set.manifest.name} ${set.hash}`,
    about: {
      signals: signals && `Signals: ${signals.depends.each} images of each model and source at most.`,
      likelihoods: measured.length === 0 ? undefined : aboutLikelihoods(measured[0].depends),
      methods: methods && aboutCalibration(methods),
      processing: processing && aboutCalibration(processing),
    },
    families: set.families,
    scales: Object.fromEntries(scales),
    signals: signals?.result,
    likelihoods: measured.map(({ result }) => result),
    budgets: budgets.map(({ result }) => result),
    methods,
    verdicts: methods === undefined ? undefined : await readVerdicts(labelsOf(set), data, join(out, "methods")),
    processing,
  }, await readLimits(document, "--document"));
  await writeLimits(document, tables, "--document");
  log(`${document}: format it with deno fmt`);
}

/** What a kept result depends on. */
interface Depends {
  readonly modelSet: string;
  readonly each: number;
  readonly fit?: number;
}

function aboutLikelihoods({ each, fit }: Depends): string {
  return `Likelihoods: ${each} images of each model, with classifiers of ${fit} others.`;
}

function aboutCalibration({ about }: EvaluationReport): string {
  return `Calibration ${about.calibration}.`;
}

/** The verdicts of an evaluation beside the truth, by picture. */
async function readVerdicts(labels: Labels, data: string, report: string): Promise<TestVerdict[]> {
  const table = join(data, "test_labels.csv");
  const rows = parseNameTable(await Deno.readTextFile(table), table, "picture");
  const byName = new Map(rows.map((row) => [row.image_name, row]));
  return (await Deno.readTextFile(join(report, "evidence.jsonl"))).trim().split("\n").flatMap((text) => {
    const line: Evidence = JSON.parse(text), row = byName.get(line.image);
    if (row === undefined || isUnreadable(line)) return [];
    const { label, picture } = row;
    return [{
      ...{ picture, label, family: labels.familyOf(label) },
      ...{ decided: labels.familyOf(line.label), outlier: line.scores.outlier ?? 0 },
    }];
  });
}

async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      data: { type: "string" },
      draws: { type: "string" },
      out: { type: "string", default: "runs/matched" },
      models: { type: "string", default: "weights/matched" },
      document: { type: "string", default: "docs/matched.md" },
      each: { type: "string", default: "75" },
      fit: { type: "string", default: "100" },
      limit: { type: "string" },
      threads: { type: "string" },
    },
  });
  const { data, draws, each, fit, limit, threads, ...rest } = values;
  if (data === undefined || draws === undefined) throw new Error("matched: expected --data DIR and --draws DIR");
  const number = (text: string | undefined) => text === undefined ? undefined : Number(text);
  await measureMatched({
    ...rest,
    ...{ data, draws, each: Number(each), fit: Number(fit), limit: number(limit), threads: number(threads) },
    parts: positionals,
    log: (line) => console.error(line),
  });
}

if (import.meta.main) await main();
