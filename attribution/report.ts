/**
 * The report folder: evidence.jsonl with a line per image, with or without a verdict, summary.json, and what an interrupted
 * run leaves for the next.
 * It stores and finds evidence; it neither measures nor decides.
 *
 * While a run goes on, its lines are in evidence.jsonl.part, and measurements of images that are not complete yet in
 * unfinished.jsonl.part. A run that resumes first moves both to *.previous.part, from which it recalls by content.
 */
import { join } from "node:path";
import { canonicalJson } from "../models/manifest.ts";
import {
  isUnreadable,
  type MeasuredLine,
  type MeasurementLine,
  measurementsSchema,
  parseMeasurement,
  type Settings,
  settingsSchema,
} from "./evidence.ts";
import {
  createPart,
  partSuffix,
  readLines,
  readRange,
  removeIfThere,
  writeFileAtomically,
  writeText,
} from "./files.ts";
import type { Measured } from "./pipeline.ts";
import * as v from "valibot";

/** What evidence must agree on to be used again. */
export interface ReportKey {
  readonly modelSet: string;
  readonly settings: Settings;
}

const tokens = v.array(v.pipe(v.number(), v.integer()));

/** A line of unfinished.jsonl.part; later lines of an image add to earlier ones. */
const unfinishedSchema = v.object({
  sha256: v.string(),
  modelSet: v.string(),
  settings: settingsSchema,
  width: v.number(),
  height: v.number(),
  families: v.optional(measurementsSchema.entries.families),
  tokens: v.optional(v.object({ rar: tokens, var: tokens })),
  classes: measurementsSchema.entries.classes,
  variants: measurementsSchema.entries.variants,
  timings: v.object({ read: v.number(), families: v.number(), variants: v.number() }),
});

interface Place {
  readonly start: number;
  readonly end: number;
}

export class Report {
  readonly dir: string;
  readonly #key: ReportKey;
  readonly #evidence: Deno.FsFile;
  readonly #unfinished: Deno.FsFile;
  readonly #previous: Previous;
  /** Images with lines in unfinished.jsonl.part that are not complete yet. */
  readonly #open = new Set<string>();
  #closed = false;

  private constructor(
    dir: string,
    key: ReportKey,
    evidence: Deno.FsFile,
    unfinished: Deno.FsFile,
    previous: Previous,
  ) {
    this.dir = dir;
    this.#key = key;
    this.#evidence = evidence;
    this.#unfinished = unfinished;
    this.#previous = previous;
  }

  /**
   * Opens the folder, which is created if need be. With `resume`, evidence of earlier runs that has the same key can be
   * recalled; without it, an unfinished run in the folder is an error, because its work would be lost. `replace` is for
   * runs whose evidence is in a journal: the folder is written anew.
   */
  static async open(dir: string, key: ReportKey, resume: boolean | "replace"): Promise<Report> {
    const file = (name: string) => join(dir, name);
    try {
      await Deno.mkdir(dir, { recursive: true });
    } catch (cause) {
      throw new Error(`--report ${dir}: cannot make this folder: ${(cause as Error).message}`, { cause });
    }
    const leftovers = [
      names.evidence + partSuffix,
      names.unfinished + partSuffix,
      names.previous,
      names.unfinishedPrevious,
    ];
    const left = resume !== false ? [] : await Promise.all(leftovers.map((name) => hasContent(file(name))));
    if (left.includes(true)) {
      throw new Error(
        `--report ${dir}: has the evidence of a run that was not finished: continue it with --resume, ` +
          `or name another folder, or remove its *${partSuffix} files`,
      );
    }
    const previous = resume === true ? await Previous.collect(dir, key) : new Previous(null, null);
    const evidence = await createPart("--report", file(names.evidence));
    const unfinished = await createPart("--report", file(names.unfinished));
    return new Report(dir, key, evidence, unfinished, previous);
  }

  /** Number of images whose complete evidence can be recalled. */
  get recallable(): number {
    return this.#previous.size;
  }

  /** Number of images whose evidence is of other weights or settings. */
  get ignored(): number {
    return this.#previous.ignored;
  }

  /** What earlier runs measured of an image with this content, under the same key. */
  async recall(sha256: string): Promise<Measured | undefined> {
    return await this.#previous.recall(sha256);
  }

  /** Adds a line. */
  async add(line: MeasurementLine): Promise<void> {
    await writeText(this.#evidence, JSON.stringify(line) + "\n");
    if (isUnreadable(line) || !this.#open.delete(line.sha256) || this.#open.size > 0) return;
    await this.#unfinished.truncate(0);
    await this.#unfinished.seek(0, Deno.SeekMode.Start);
  }

  /** Keeps measurements of images that are not complete yet. */
  async remember(measured: readonly Measured[]): Promise<void> {
    let text = "";
    for (const { tokens, ...rest } of measured) {
      const isNew = !this.#open.has(rest.sha256);
      this.#open.add(rest.sha256);
      const full = isNew && tokens ? { ...rest, tokens: { rar: [...tokens.rar], var: [...tokens.var] } } : rest;
      text += JSON.stringify({ ...this.#key, ...full }) + "\n";
    }
    await writeText(this.#unfinished, text);
  }

  /** Gives the evidence its name, writes summary.json, and removes what is only of use to an unfinished run. */
  async finish(summary: unknown): Promise<void> {
    this.close();
    await Deno.rename(join(this.dir, names.evidence) + partSuffix, join(this.dir, names.evidence));
    for (const name of [names.previous, names.unfinished + partSuffix, names.unfinishedPrevious]) {
      await removeIfThere(join(this.dir, name));
    }
    await this.#writeSummary(summary);
  }

  /** Leaves everything in place for a run that resumes, and writes summary.json. */
  async pause(summary: unknown): Promise<void> {
    this.close();
    await this.#writeSummary(summary);
  }

  async #writeSummary(summary: unknown): Promise<void> {
    await writeFileAtomically(join(this.dir, names.summary), JSON.stringify(summary, null, 2) + "\n");
  }

  /** Closes the files and leaves them as they are. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#evidence.close();
    this.#unfinished.close();
    this.#previous.close();
  }
}

const names = {
  evidence: "evidence.jsonl",
  previous: "evidence.previous" + partSuffix,
  unfinished: "unfinished.jsonl",
  unfinishedPrevious: "unfinished.previous" + partSuffix,
  summary: "summary.json",
};

/** Evidence of earlier runs, found by content. Only places in the files are kept in memory. */
class Previous {
  readonly #complete: Deno.FsFile | null;
  readonly #unfinished: Deno.FsFile | null;
  readonly #completeAt = new Map<string, Place>();
  readonly #unfinishedAt = new Map<string, Place[]>();
  ignored = 0;

  constructor(complete: Deno.FsFile | null, unfinished: Deno.FsFile | null) {
    this.#complete = complete;
    this.#unfinished = unfinished;
  }

  /** Gathers what earlier runs left in `dir` into the two *.previous.part files and indexes what has this key. */
  static async collect(dir: string, key: ReportKey): Promise<Previous> {
    const file = (name: string) => join(dir, name);
    await append(file(names.previous), [file(names.evidence), file(names.evidence) + partSuffix], (text) => {
      const line = parseMeasurement(text);
      return line === undefined || isUnreadable(line) ? undefined : identity(line);
    });
    await append(file(names.unfinishedPrevious), [file(names.unfinished) + partSuffix], (text) => text);
    const previous = new Previous(
      await Deno.open(file(names.previous)),
      await Deno.open(file(names.unfinishedPrevious)),
    );
    const wanted = canonicalJson([key.modelSet, key.settings]);
    for await (const { text, start, end } of readLines(file(names.previous))) {
      const line = parseMeasurement(text);
      if (line === undefined || isUnreadable(line)) continue;
      if (canonicalJson([line.modelSet, line.settings]) !== wanted) previous.ignored++;
      else previous.#completeAt.set(line.sha256, { start, end });
    }
    for await (const { text, start, end } of readLines(file(names.unfinishedPrevious))) {
      const line = parseUnfinished(text);
      if (line === undefined || canonicalJson([line.modelSet, line.settings]) !== wanted) continue;
      const places = previous.#unfinishedAt.get(line.sha256) ?? [];
      places.push({ start, end });
      previous.#unfinishedAt.set(line.sha256, places);
    }
    return previous;
  }

  get size(): number {
    return this.#completeAt.size;
  }

  async recall(sha256: string): Promise<Measured | undefined> {
    const place = this.#completeAt.get(sha256);
    if (place !== undefined) {
      const line = parseMeasurement(await readRange(this.#complete!, place.start, place.end));
      return line === undefined || isUnreadable(line) ? undefined : measuredOf(line);
    }
    let found: Measured | undefined;
    for (const { start, end } of this.#unfinishedAt.get(sha256) ?? []) {
      const line = parseUnfinished(await readRange(this.#unfinished!, start, end));
      if (line === undefined) continue;
      const { width, height, families, classes, variants, timings } = line;
      const own = line.tokens && { rar: Int32Array.from(line.tokens.rar), var: Int32Array.from(line.tokens.var) };
      found = {
        sha256,
        width,
        height,
        families: families ?? found?.families,
        tokens: own ?? found?.tokens,
        ...(classes ?? found?.classes) && { classes: classes ?? found?.classes },
        variants: { ...found?.variants, ...variants },
        timings,
      };
    }
    return found;
  }

  close(): void {
    this.#complete?.close();
    this.#unfinished?.close();
  }
}

function identity({ sha256, modelSet, settings }: MeasuredLine): string {
  return canonicalJson([sha256, modelSet, settings]);
}

function measuredOf({ sha256, width, height, families, classes, variants, timings }: MeasuredLine): Measured {
  return { sha256, width, height, families, ...classes && { classes }, variants, timings };
}

function parseUnfinished(text: string): v.InferOutput<typeof unfinishedSchema> | undefined {
  try {
    const result = v.safeParse(unfinishedSchema, JSON.parse(text));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}

/** Appends the lines of other files that `path` does not have yet, by what `key` makes of a line; undefined leaves it out. */
async function append(path: string, from: readonly string[], key: (text: string) => string | undefined): Promise<void> {
  const known = new Set<string>();
  for await (const { text } of readLines(path)) {
    const id = key(text);
    if (id !== undefined) known.add(id);
  }
  using file = await Deno.open(path, { create: true, append: true });
  // Ends a torn last line, which from then on is one that nobody can read.
  if ((await file.stat()).size > 0) await writeText(file, "\n");
  for (const source of from) {
    for await (const { text } of readLines(source)) {
      const id = key(text);
      if (id === undefined || known.has(id)) continue;
      known.add(id);
      await writeText(file, text + "\n");
    }
  }
}

async function hasContent(path: string): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.size > 0, () => false);
}
