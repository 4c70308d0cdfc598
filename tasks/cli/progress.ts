/**
 * What a task shows while it runs: on stderr notes and progress, as a bar that redraws itself on a terminal and as a
 * plain line now and then elsewhere; on stdout results.
 */
import { describePlan, type RunPlan } from "../../attribution/run/run_plan.ts";
import { printable, printableText } from "../../util/names.ts";
import { spelled } from "./spelling.ts";

/** How often a bar is redrawn, and a plain line written, in milliseconds. */
const barInterval = 100;
const lineInterval = 5000;

export class Progress {
  readonly #terminal = Deno.stderr.isTerminal();
  #total = 0;
  #start = 0;
  #shown = performance.now();
  #drawn = false;
  #isRead = true;

  /** Whether notes and progress are left out. */
  readonly isQuiet: boolean;

  /** Notes begin with the name of the task. */
  constructor(readonly task: string, { isQuiet = false }: { readonly isQuiet?: boolean } = {}) {
    this.isQuiet = isQuiet;
  }

  /** What a run tells of itself, shown. */
  get events() {
    return {
      onNote: (text: string) => this.note(text),
      onPrepare: (text: string) => this.prepare(text),
      onPlan: (plan: RunPlan) => describePlan(plan).forEach((line) => this.note(line)),
      onStart: (total: number) => this.start(total),
      onProgress: (images: number, secondsLeft?: number) => this.update(images, secondsLeft),
    };
  }

  /** Starts counting towards `total` images. */
  start(total: number): void {
    this.#total = total;
    this.#start = this.#shown = performance.now();
  }

  /** Says what is being prepared; without a terminal only now and then, where preparing takes long. */
  prepare(text: string): void {
    if (this.isQuiet) return;
    if (this.#terminal) return this.#draw(text);
    const now = performance.now();
    if (now - this.#shown < lineInterval) return;
    this.#shown = now;
    writeStderr(`${printableText(text)}\n`);
  }

  /** `done` images are done (parts of images count); the rest takes `secondsLeft`, if anybody knows. */
  update(done: number, secondsLeft?: number): void {
    const now = performance.now();
    if (this.isQuiet) return;
    if (now - this.#shown < (this.#terminal ? barInterval : lineInterval)) return;
    this.#shown = now;
    const text = describeProgress(done, this.#total, (now - this.#start) / 1000, secondsLeft);
    if (this.#terminal) this.#draw(`${bar(done / this.#total)} ${text}`);
    else writeStderr(`${text}\n`);
  }

  /** Writes a line to stderr, after the name of the task, without disturbing the bar. Controls are shown as in JSON. */
  note(text: string): void {
    if (!this.isQuiet) this.line(`${this.task}: ${spelled(printableText(text))}`);
  }

  /** Writes a line to stderr as it is: of work that goes on step by step. */
  line(text: string): void {
    if (this.isQuiet) return;
    this.clear();
    writeStderr(`${text}\n`);
  }

  /** Writes results to stdout, controls other than line ends and tabs as in JSON, and says whether anybody still reads it. */
  print(text: string): boolean {
    this.clear();
    return this.#isRead &&= writeStdout(printableText(text));
  }

  /** The same for a text whose controls are its colours: parts that others wrote must have none. */
  printStyled(text: string): boolean {
    this.clear();
    return this.#isRead &&= writeStdout(text);
  }

  /** Removes the bar, until the next update. */
  clear(): void {
    if (this.#drawn) writeStderr("\r\x1b[K");
    this.#drawn = false;
  }

  #draw(text: string): void {
    let columns = 80;
    try {
      columns = Deno.consoleSize().columns || columns; // 0 where the terminal does not know
    } catch {
      // stderr may be a terminal whose size cannot be asked for
    }
    writeStderr(`\r\x1b[K${printable(text).slice(0, columns - 1)}`);
    this.#drawn = true;
  }
}

/**
 * `37 of 200 images, 12.3 images/s, 13 s left`; where images take long, `0 of 3 images (12 % of the work), 4 min left`.
 * Without `secondsLeft`, the rest goes on as what is done did.
 */
export function describeProgress(done: number, total: number, seconds: number, secondsLeft?: number): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const rest = secondsLeft ?? (rate > 0 ? (total - done) / rate : undefined);
  const left = rest === undefined ? "" : `, ${duration(rest)} left`;
  const whole = Math.min(total, Math.floor(done + 1e-6));
  const part = `${Math.min(100, Math.floor(100 * done / total + 1e-6))} % of the work`;
  const speed = rate < slowRate && seconds > 0 ? ` (${part})` : `, ${Number(rate.toPrecision(3))} images/s`;
  return `${whole} of ${total} images${speed}${left}`;
}

/** Images per second below which their number says little. */
const slowRate = 0.2;

/** `45 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

function bar(share: number): string {
  const width = 24;
  const full = Math.min(width, Math.max(0, Math.round(share * width)));
  return `[${"#".repeat(full)}${"-".repeat(width - full)}]`;
}

/** Writes all of a text to stderr at once. */
function writeStderr(text: string): void {
  write(Deno.stderr, text);
}

/** Writes all of a text to stdout at once. Returns false when nobody reads it any more. */
export function writeStdout(text: string): boolean {
  return write(Deno.stdout, text);
}

function write(stream: { writeSync(bytes: Uint8Array): number }, text: string): boolean {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw error;
  }
}
