/**
 * The tables of docs/matched.md, from the results of bench/matched.ts. A part of which there are no results stays as it is
 * in the document, so that parts can be measured one at a time, and on different machines.
 */
import type { EvaluationReport } from "../../attribution/evaluation/report.ts";
import { dash, describeEstimate, describeFigure, markdownTable, percent } from "../../attribution/evaluation/format.ts";
import { methodColumns } from "../../attribution/evaluation/methods.ts";
import type { Compared } from "../../attribution/evaluation/processing.ts";
import { familyNamed } from "../../models/registry.ts";
import type { BudgetFigures } from "./budgets.ts";
import type { LikelihoodFigures } from "./likelihoods.ts";
import { found, oracleRows, recallAtPrecision, type TestVerdict } from "./oracles.ts";
import { type Published, published, publishedVerdicts } from "./published.ts";
import { comparedSignals, type EncoderKind, type SignalFigures } from "./signals.ts";

/** What there is to show. */
export interface MatchedResults {
  /** The model set, by name and hash: tables in the document are kept where it names the same. */
  readonly modelSet: string;
  /** What the parts were measured on: a sentence each. */
  readonly about: Partial<Readonly<Record<"signals" | "likelihoods" | "methods" | "processing", string>>>;
  readonly families: readonly string[];
  /** By family with scales, the sides of their token maps. */
  readonly scales: Readonly<Record<string, readonly number[]>>;
  readonly signals?: readonly SignalFigures[];
  readonly likelihoods: readonly LikelihoodFigures[];
  readonly budgets?: readonly BudgetFigures[];
  /** Evaluation of the images as they are stored, with all methods; and its verdicts. */
  readonly methods?: EvaluationReport;
  readonly verdicts?: readonly TestVerdict[];
  /** The same after processing. */
  readonly processing?: EvaluationReport;
}

const unmeasured = "Not measured yet.";

/** The document's tables in Markdown, with those of `before`, its present ones, of parts without results. */
export function matchedTables(results: MatchedResults, before = ""): string {
  const { modelSet, about, signals, likelihoods, budgets = [], methods, verdicts, processing } = results;
  const head = `Model set ${modelSet}.`;
  const known = before.startsWith(head) ? sectionsOf(before) : new Map<string, string>();
  const section = (title: string, isMeasured: boolean, ...body: readonly (() => string | undefined)[]) => {
    const text = isMeasured
      ? body.map((part) => part()).filter((part) => part !== undefined).join("\n\n")
      : known.get(title) ?? unmeasured;
    return `### ${title}\n\n${text}`;
  };
  const isScored = likelihoods.length > 0;
  return [
    head,
    section(
      "Figures that are to match",
      signals !== undefined || isScored,
      ...[() => about.signals, () => about.likelihoods, () => matchingTable(results)],
    ),
    section(
      "True tokens found, by scale",
      signals !== undefined,
      ...[() => about.signals, () => scaleTable(results, signals!)],
    ),
    section("Methods", methods !== undefined, () => about.methods, () => methodTable(methods!, verdicts)),
    section(
      "Oracles",
      isScored,
      ...[() => about.likelihoods, () => verdicts && about.methods, () => oracleTable(results)],
    ),
    section("Cheaper inference of classes", budgets.length > 0, () => budgetTable(budgets)),
    section("After processing", processing !== undefined, () => about.processing, () => processingTable(processing!)),
  ].join("\n\n") + "\n";
}

/** The text under every heading. */
function sectionsOf(tables: string): Map<string, string> {
  return new Map(
    tables.split(/^### /m).slice(1).map((part) => {
      const [title] = part.split("\n", 1);
      return [title.trim(), part.slice(title.length).trim()];
    }),
  );
}

/** Figures of the set beside the published ones. */
function matchingTable({ families, signals, likelihoods }: MatchedResults): string {
  const bySignals = (encoder: EncoderKind, of: (figures: SignalFigures) => string) => (family: string) => {
    const found = signals?.find((row) => row.family === family && row.encoder === encoder);
    return found === undefined ? undefined : of(found);
  };
  const byLikelihood = (of: (figures: LikelihoodFigures) => string) => (family: string) => {
    const found = likelihoods.find((row) => row.family === family);
    return found === undefined ? undefined : of(found);
  };
  const nats = (name: "nothing" | "both", kind: "conditional" | "guided") =>
    byLikelihood(({ cases }) => {
      const [middle, low, high] = Object.values(cases[name].nats)[0][kind];
      return `${middle.toFixed(2)} (${low.toFixed(1)} to ${high.toFixed(1)})`;
    });
  const recovered = ({ recovered, recoveredGreedy }: SignalFigures) =>
    `${percent(recovered)}, nearest codes ${percent(recoveredGreedy)}`;
  const rows: readonly [keyof typeof published, (family: string) => string | undefined][] = [
    ["recoveredInverse", bySignals("inverse", recovered)],
    ["recoveredOriginal", bySignals("original", recovered)],
    ...comparedSignals.map((name): [keyof typeof published, (family: string) => string | undefined] => [
      name as keyof typeof published,
      bySignals(
        "original",
        ({ auc }) => `${auc[name].outliers.toFixed(3)}, photographs ${auc[name].photographs.toFixed(3)}`,
      ),
    ]),
    ["natsFound", nats("nothing", "guided")],
    ["natsTrue", nats("both", "guided")],
    ["conditionalTrue", nats("both", "conditional")],
    ["margin", byLikelihood(({ cases }) => cases.both.margin.toFixed(2))],
  ];
  const head = families.flatMap((family) => [`${familyNamed(family).title}, published`, "this set"]);
  return markdownTable(
    ["figure", ...head],
    rows.map(([name, of]) => {
      const row: Published & Readonly<Record<string, string | undefined>> = published[name];
      return [row.title, ...families.flatMap((family) => [row[family] ?? dash, of(family) ?? "not measured yet"])];
    }),
  );
}

/** Tokens found on every scale of the families that have several. */
function scaleTable({ scales }: MatchedResults, signals: readonly SignalFigures[]): string {
  return Object.entries(scales).map(([family, sides]) =>
    markdownTable(
      [`${familyNamed(family).title}, encoder`, ...sides.map(String), "all"],
      signals.filter((row) => row.family === family).map(({ encoder, byScale, recovered }) => [
        encoder,
        ...byScale.map(percent),
        percent(recovered),
      ]),
    )
  ).join("\n\n");
}

/** All methods, the rules that look at nothing, and the public figures. */
function methodTable(
  { methods, evaluation, zeroPixels }: EvaluationReport,
  verdicts: readonly TestVerdict[] | undefined,
): string {
  const wanted = methodColumns(methods).filter(({ name }) =>
    ["accuracy", "familyAccuracy", "outlierRecall", "outlierPrecision", "accused", "auroc"].includes(name) ||
    name.endsWith("Variants")
  );
  const empty = wanted.map(() => dash);
  const at = (values: Readonly<Record<string, string>>) => wanted.map(({ name }, i) => values[name] ?? empty[i]);
  const { labels, families } = zeroPixels;
  const table = markdownTable(["method", ...wanted.map(({ title }) => title)], [
    [
      "as `attribute` decides, with the search for poses",
      ...at({
        accuracy: describeEstimate(evaluation.accuracy),
        familyAccuracy: describeEstimate(evaluation.familyAccuracy),
        outlierRecall: describeEstimate(evaluation.outlierRecall),
        outlierPrecision: describeEstimate(evaluation.outlierPrecision),
      }),
    ],
    ...methods.map((result) => [
      `\`${result.method}\``,
      ...wanted.map(({ of, unit }) => describeEstimate(of(result), unit)),
    ]),
    [
      "always the most frequent answer",
      ...at({ accuracy: percent(labels.chance), familyAccuracy: percent(families.chance) }),
    ],
    [
      "zero pixels",
      ...at({ accuracy: describeEstimate(labels.accuracy), familyAccuracy: describeEstimate(families.accuracy) }),
    ],
    [
      "published, official models, 11 % outliers",
      ...at({
        accuracy: publishedVerdicts.labels,
        familyAccuracy: publishedVerdicts.families,
        varVariants: `${publishedVerdicts.varByRegression}; own-sample rule ${publishedVerdicts.varByOwnSamples}`,
      }),
    ],
  ]);
  const recall = verdicts === undefined ? null : recallAtPrecision(verdicts, 0.9);
  return [
    `${evaluation.images} images. Brackets: 95 % intervals by picture.`,
    table,
    ...recall === null ? [] : [
      `Outlier recall where the limit on the outlier's probability is the one that gives a precision of 90 % on these ` +
      `very images: ${percent(recall)}.`,
    ],
  ].join("\n\n");
}

/** What sizes, and labels, would be if tokens, classes or families were known. */
function oracleTable({ likelihoods, verdicts }: MatchedResults): string {
  const head = likelihoods.flatMap(({ family }) => {
    const { title } = familyNamed(family);
    return [`size given ${title}, fitted`, `size given ${title}, likeliest`];
  });
  const rows = oracleRows(likelihoods, verdicts).map(({ title, sizes, labels, familiesKnown }) => [
    title,
    ...sizes.flatMap(({ fitted, likeliest }) => [fitted, likeliest].map((estimate) => describeEstimate(estimate))),
    ...[labels, familiesKnown].map((estimate) => estimate === null ? "not measured yet" : describeEstimate(estimate)),
  ]);
  return markdownTable(["known", ...head, "labels, families as decided", "labels, families known"], rows);
}

/** Sizes at every budget, beside those of the first. */
function budgetTable(figures: readonly BudgetFigures[]): string {
  const rows = figures.flatMap(({ family, known, truth, budgets }) => {
    const right = (fitted: Readonly<Record<string, string>>, picture: string) => fitted[picture] === truth[picture];
    const [{ fitted: first }] = budgets, pictures = Object.keys(truth);
    return budgets.map(({ budget, top, flops, kept, first: head, fitted, margin }) => {
      const won = pictures.filter((picture) => right(fitted, picture) && !right(first, picture)).length;
      const lost = pictures.filter((picture) => !right(fitted, picture) && right(first, picture)).length;
      return [
        ...[`${familyNamed(family).title}, ${known === "nothing" ? "as found" : "true tokens"}`, `${budget}, ${top}`],
        ...[(flops / 1e9).toFixed(0), percent(kept), percent(head), describeEstimate(found(truth, fitted))],
        ...[`${won} and ${lost} of ${pictures.length}`, margin.toFixed(2)],
      ];
    });
  });
  const classes = Math.max(...figures.map((row) => row.classes));
  const top = Math.max(...figures.flatMap(({ budgets }) => budgets.map((row) => row.top)));
  return [
    `The set has ${classes} classes; keeping ${top} at random keeps the true one in ${percent(top / classes)}.`,
    markdownTable([
      ...["family", "passes, classes", "GFLOP per image", "true class kept", "true class likeliest"],
      ...["size, fitted", "images won and lost beside the first row", "lead, nats per token"],
    ], rows),
  ].join("\n\n");
}

/** Labels after each processing, with and without the outliers that went through a tokenizer, beside trivial rules. */
function processingTable({ processings }: EvaluationReport): string {
  const cells = (found: Compared | undefined) => {
    if (found === undefined) return [dash, dash, dash];
    const { all: { figures }, zeroPixels } = found;
    return [
      describeFigure("accuracy", figures),
      zeroPixels === undefined ? dash : percent(zeroPixels.labels.chance),
      describeFigure("familyAccuracy", figures),
    ];
  };
  return markdownTable(
    [
      ...["processing", "images", "labels right", "most frequent answer", "families right", "outliers called outlier"],
      ...["outliers named a model", "without strangers: labels right", "most frequent answer", "families right"],
    ],
    processings.map((row) => [
      ...[row.title, String(row.all.images), ...cells(row)],
      ...(["outlierRecall", "accused"] as const).map((name) => describeFigure(name, row.all.figures)),
      ...cells(row.ordinary),
    ]),
  );
}
