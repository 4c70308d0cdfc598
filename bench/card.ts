/**
 * Everything that there is to measure on a graphics card, in one run of at most ten minutes:
 * deno run -A bench/card.ts [--out FILE] [--minutes 10] [--memory 40GiB] [--peak-tflops N] [--golden DIR] [--only NAME,...]
 * [--quick]
 *
 * Tests of WGSL, parity with the reference, kernels, passes beside PyTorch on CUDA where there is one, time per kernel by the GPU's
 * timestamps, attribution of 64 images with networks of official size, and the service under load. Every part is a process of its
 * own with a limit of time; one that fails or is stopped is noted, and the others go on. Results go to one JSON file.
 * --quick takes small sizes and a software adapter, to see that everything runs. docs/cards.md describes the file.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { knownCard } from "../core/wgsl/card.ts";
import { probeWebGpu } from "../core/wgsl/mod.ts";
import { writeFileAtomically } from "../util/files.ts";
import { type CardOptions, type Part, parts } from "./card_parts.ts";
import { table } from "./table.ts";
import { findPython } from "./torch.ts";

/** What became of a part. */
interface Outcome {
  readonly name: string;
  readonly seconds: number;
  /** The limit was reached. */
  readonly stopped: boolean;
  readonly exitCode: number;
  readonly result?: unknown;
  /** The end of what it printed, of a part that failed. */
  readonly output?: string;
}

/** A software adapter takes longer even for small sizes, most of all to compile. */
const quickFactor = 4;

async function hasCuda(python: string | undefined): Promise<boolean> {
  if (python === undefined) return false;
  const code = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)";
  return (await new Deno.Command(python, { args: ["-c", code], stderr: "null" }).output()).success;
}

/** Runs a part for at most `limit` seconds. */
async function run({ name, command, read }: Part, options: CardOptions, limit: number): Promise<Outcome> {
  const { args, env } = await command(options);
  const start = performance.now();
  // A group of its own: a part may start processes, which end with it.
  const child = new Deno.Command(Deno.execPath(), {
    ...{ args: [...args], env, stdout: "piped", stderr: "piped", detached: true },
  }).spawn();
  let stopped = false;
  const timer = setTimeout(() => {
    stopped = true;
    Deno.kill(-child.pid, "SIGTERM");
  }, limit * 1000);
  const { stdout, stderr, code } = await child.output();
  clearTimeout(timer);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const seconds = Math.round((performance.now() - start) / 100) / 10;
  let result: unknown;
  let problem = "";
  try {
    result = await read(text(stdout), options);
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  }
  const failed = code !== 0 || problem !== "";
  const output = failed ? `${text(stdout)}\n${text(stderr)}\n${problem}`.trim().slice(-2000) : undefined;
  return {
    ...{ name, seconds, stopped, exitCode: code },
    ...result !== undefined && { result },
    ...failed && { output },
  };
}

/** TFLOP/s of a card's float32 by its maker's data sheet, where its name is known. */
function peakOf(adapter: string): string | undefined {
  const card = knownCard(adapter);
  return card && String(card.flopsPerSecond / 1e12);
}

async function optionsOf(
  adapter: string,
): Promise<CardOptions & { out: string; minutes: number; chosen: readonly Part[] }> {
  const { values } = parseArgs({
    options: {
      ...{ out: { type: "string" }, minutes: { type: "string", default: "10" } },
      ...{ memory: { type: "string", default: "40GiB" }, "peak-tflops": { type: "string" } },
      ...{ golden: { type: "string", default: "tests/fixtures/golden" }, only: { type: "string" } },
      quick: { type: "boolean", default: false },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error(`card: --minutes expects a number above 0, got ${values.minutes}`);
  const wanted = values.only?.split(",");
  const unknown = wanted?.find((name) => !parts.some((part) => part.name === name));
  if (unknown !== undefined) {
    throw new Error(`card: --only expects ${parts.map(({ name }) => name).join(", ")}, got ${unknown}`);
  }
  const python = await findPython().catch(() => undefined);
  return {
    ...{ memory: values.memory, golden: values.golden, quick: values.quick, minutes },
    ...{ peakTflops: values["peak-tflops"] ?? peakOf(adapter), folder: await Deno.makeTempDir({ prefix: "card-" }) },
    python: await hasCuda(python) ? python : undefined,
    out: values.out ?? `bench/results/${new Date().toISOString().slice(0, 10)}-card.json`,
    chosen: parts.filter(({ name }) => wanted?.includes(name) ?? true),
  };
}

async function main(): Promise<number> {
  const adapter = await probeWebGpu();
  const options = await optionsOf(adapter.name);
  if (adapter.kind !== "hardware" && !options.quick) {
    throw new Error(
      `card: expected a hardware adapter, got ${adapter.name || "none"}; --quick takes a software adapter`,
    );
  }
  console.error(`card: ${adapter.name}; PyTorch on CUDA: ${options.python ?? "none"}`);
  const { minutes, chosen, folder, out } = options;
  const end = performance.now() + minutes * 60_000;
  const outcomes: Outcome[] = [];
  try {
    for (const part of chosen) {
      const left = (end - performance.now()) / 1000;
      if (left < 1) break;
      const limit = Math.min(left, options.quick ? quickFactor * part.seconds : part.seconds);
      console.error(`card: ${part.name} (at most ${Math.round(limit)} s)`);
      outcomes.push(await run(part, options, limit));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const skipped = chosen.slice(outcomes.length).map(({ name }) => name);
  const report = {
    format: 1,
    date: new Date().toISOString(),
    versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
    adapter,
    ...options.peakTflops !== undefined && { peakTflops: Number(options.peakTflops) },
    cuda: options.python !== undefined,
    quick: options.quick,
    skipped,
    parts: outcomes,
  };
  await writeFileAtomically(out, JSON.stringify(report, null, 1) + "\n");
  console.log(table([
    ["part", "seconds", ""],
    ...outcomes.map(({ name, seconds, stopped, exitCode }) => [
      name,
      seconds.toFixed(0),
      stopped ? "stopped" : exitCode === 0 ? "done" : `failed (${exitCode})`,
    ]),
    ...skipped.map((name) => [name, "", "no time left"]),
  ]));
  console.log(join(Deno.cwd(), out) === out ? out : `results: ${out}`);
  return outcomes.every(({ exitCode, output }) => exitCode === 0 && output === undefined) && skipped.length === 0
    ? 0
    : 1;
}

if (import.meta.main) Deno.exit(await main());
