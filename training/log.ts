/**
 * `log.csv` of a run: a row per epoch, the first one before training. The whole file is written after every epoch, so
 * that a run that resumes cannot have a row twice.
 */
import { join } from "node:path";
import { stringify } from "npm:csv-stringify@6.9.0/sync";
import { writeFileAtomically } from "../util/files.ts";
import { type EpochRow, explainFailure } from "./state.ts";

/** Name of the log. */
export const logFile = "log.csv";

/** Columns by name; a cell that does not apply is empty. */
const columns: Readonly<Record<string, (row: EpochRow) => number | null>> = {
  epoch: (row) => row.epoch,
  step: (row) => row.step,
  learning_rate: (row) => row.lr,
  train_loss: (row) => row.trainLoss,
  held_out_loss: (row) => row.heldOutLoss,
  token_recovery: (row) => row.tokenRecovery,
  quant_loss_auc: (row) => row.auc,
  gradient_norm: (row) => row.gradientNorm,
  images_per_second: (row) => row.imagesPerSecond,
  seconds: (row) => row.seconds,
};

/** Writes the log. Throws, with advice, when that fails. */
export async function writeLog(dir: string, history: readonly EpochRow[]): Promise<void> {
  const rows = history.map((row) => Object.values(columns).map((cell) => cell(row) ?? ""));
  const path = join(dir, logFile), text = stringify([Object.keys(columns), ...rows]);
  await explainFailure(
    path,
    `${text.length} bytes`,
    `go on with --resume ${dir}`,
    () => writeFileAtomically(path, text),
  );
}

/** Reads a log: values by column, NaN for an empty cell. Throws when there is none. */
export async function readLog(dir: string): Promise<Map<string, number[]>> {
  const path = join(dir, logFile);
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    throw new Error(`${path}: expected the log of a training run: ${(cause as Error).message}`, { cause });
  }
  // Cells are numbers or empty, so none is quoted.
  const [header, ...rows] = text.trimEnd().split(/\r?\n/).map((line) => line.split(","));
  for (const name of ["epoch", "train_loss"]) {
    if (!header.includes(name)) throw new Error(`${path}: expected a column ${name}, got ${header.join(", ")}`);
  }
  return new Map(header.map((name, c) => [name, rows.map((row) => (row[c] ? Number(row[c]) : NaN))]));
}
