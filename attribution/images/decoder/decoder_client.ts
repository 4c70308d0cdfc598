/** Starts the decoder process, asks it, and starts another one when it ends. */
import { fileURLToPath } from "node:url";
import { type Frame, readFrames, writeFrame } from "./frames.ts";
import { DecodeOverloadError, type DecoderLimits, decoderWord, sources } from "./messages.ts";
import { UnreadableImageError } from "../image.ts";

/** How the process is started, and how much it is asked at once. */
export interface ClientOptions {
  readonly limits: DecoderLimits;
  /** The executable of Deno, or a compiled program. */
  readonly executable: string;
  /** Whether the executable is a compiled program, which is its own decoder. Default: whether this process is one. */
  readonly isCompiled?: boolean;
  /** Questions that are sent before the first of them is answered. Default 1. */
  readonly ahead?: number;
  /**
   * A process that holds more memory than this is replaced before the next image: that of WebAssembly grows and never
   * shrinks. Default 512 MiB.
   */
  readonly keptBytes?: number;
  /** What runs. Default: decoder_process.ts. */
  readonly program?: URL;
}

interface Task {
  readonly question: Frame;
  /** Whether it was one of several questions when a process died. It is asked alone now. */
  isSuspect: boolean;
  readonly resolve: (answer: Frame) => void;
  readonly reject: (error: Error) => void;
}

interface Child {
  readonly process: Deno.ChildProcess;
  readonly input: WritableStreamDefaultWriter<Uint8Array>;
  /** Resolves when it takes questions. Rejects when it ends before that. */
  readonly started: Promise<void>;
  /** Resolves when it has ended and all that it wrote has been read. */
  readonly ended: Promise<void>;
}

/** Milliseconds that a timer can wait: longer than any image takes. */
const longest = 2 ** 31 - 1;
/** Bytes of an answer at most: pixels of a large image. */
const maxAnswer = 2 ** 32;
/** Of what it writes to stderr, this much is kept for error messages. */
const keptErrors = 4096;

/** Environment variables by which Deno finds its cache, and the system its programs. The process gets no others. */
const neededVariables = ["DENO_DIR", "HOME", "PATH", "SYSTEMROOT", "XDG_CACHE_HOME"];

/** V8's heap of JavaScript objects, in MiB. Pixels are outside of it. */
const heapMiB = 256;

/** A decoder process, as one who asks sees it: it is there whenever it is needed. */
export class DecoderClient {
  readonly #waiting: Task[] = [];
  /** Sent, not answered. Answers come in the order of the questions. */
  readonly #asked: Task[] = [];
  #child: Child | undefined;
  /** Questions as they are written, one after the other. */
  #writing: Promise<void> = Promise.resolve();
  /** Whether the process holds more memory than the next image should find taken. */
  #isTired = false;
  #isClosed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Of processes that were told to end. */
  readonly #ending = new Set<Promise<void>>();
  /** Processes that ended because of an image. */
  replaced = 0;
  /** Processes that were started. */
  spawned = 0;

  constructor(readonly options: ClientOptions) {}

  /** Starts the process, so that the first question need not wait for that. Rejects if it cannot be started. */
  async start(): Promise<void> {
    this.#child ??= this.#spawn();
    await waitFor(this.#child.started);
  }

  /**
   * The answer. Rejects with UnreadableImageError if the process died of the question, with DecodeOverloadError if it
   * is silent for too long, and with an Error if it cannot be started.
   */
  ask(question: Frame): Promise<Frame> {
    const { promise, resolve, reject } = Promise.withResolvers<Frame>();
    this.#waiting.push({ question, isSuspect: false, resolve, reject });
    this.#next();
    return promise;
  }

  /** Ends the process, and with it all questions. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#failAll(new Error("decoding: the decoder is closed"));
    this.#dismiss();
    await waitFor(Promise.all(this.#ending));
  }

  #dismiss(): void {
    const child = this.#child;
    this.#child = undefined;
    this.#isTired = false;
    if (child === undefined) return;
    this.#ending.add(child.ended);
    void child.ended.then(() => this.#ending.delete(child.ended));
    kill(child);
  }

  #next(): void {
    const { ahead = 1 } = this.options;
    for (let task = this.#waiting[0]; task !== undefined; task = this.#waiting[0]) {
      if (this.#isClosed) return this.#failAll(new Error("decoding: the decoder is closed"));
      const isAlone = task.isSuspect || this.#asked[0]?.isSuspect;
      if (this.#isTired || this.#asked.length >= (isAlone ? 1 : ahead)) break;
      const child = this.#child ??= this.#spawn();
      this.#asked.push(this.#waiting.shift()!);
      this.#look();
      const { question } = task;
      this.#writing = this.#writing.then(() => writeFrame(child.input, question)).catch(() => {}); // `ended` says it
    }
  }

  /** Waits for the first answer twice as long as the process itself would, and keeps this process alive meanwhile. */
  #look(): void {
    clearTimeout(this.#timer);
    if (this.#asked.length === 0) return;
    const { elapsedMs = Infinity } = this.options.limits;
    this.#timer = setTimeout(() => {
      this.#asked.shift()?.reject(new DecodeOverloadError(`decoding gave no answer in ${2 * elapsedMs} ms`));
      this.#waiting.unshift(...this.#asked.splice(0));
      this.replaced++;
      this.#dismiss();
      this.#next();
    }, Math.min(2 * elapsedMs, longest));
  }

  #spawn(): Child {
    const process = decoderCommand(this.options).spawn();
    this.spawned++;
    const started = Promise.withResolvers<void>();
    started.promise.catch(() => {}); // questions are rejected as well
    let isReady = false, errors = "";
    const listen = async () => {
      for await (const frame of readFrames(process.stdout, maxAnswer)) {
        if (isReady) this.#answered(frame);
        isReady = true;
        started.resolve();
      }
    };
    const collect = async () => {
      for await (const text of process.stderr.pipeThrough(new TextDecoderStream())) {
        errors = (errors + text).slice(-keptErrors);
      }
    };
    const run = async () => {
      // What it writes may be no messages at all: then it is of no use any more.
      await Promise.all([listen().catch(() => process.kill("SIGKILL")), collect(), process.status]).catch(() => {});
      await child.input.abort().catch(() => {});
      const { code, signal } = await process.status;
      const how = signal ?? `exit code ${code}`;
      const error = new Error(`decoding: the decoder process did not start (${how})${errors && `:\n${errors.trim()}`}`);
      started.reject(error); // in vain if it has started
      if (this.#child !== child) return;
      this.#child = undefined;
      if (isReady) this.#replace(code === 0 && signal === null, how, errors);
      else this.#failAll(error);
    };
    const input = process.stdin.getWriter(), ended = Promise.resolve().then(run);
    const child: Child = { process, input, started: started.promise, ended };
    process.unref();
    return child;
  }

  #answered(frame: Frame): void {
    const { memory } = frame.data as { memory?: unknown };
    const { keptBytes = 2 ** 29 } = this.options;
    if (typeof memory === "number" && memory > keptBytes) this.#isTired = true;
    this.#asked.shift()?.resolve(frame);
    if (this.#isTired && this.#asked.length === 0) this.#dismiss();
    this.#look();
    this.#next();
  }

  /** Goes on with another process. `isOrderly`: it has answered the question that it gave up. */
  #replace(isOrderly: boolean, how: string, errors: string): void {
    clearTimeout(this.#timer);
    this.replaced++;
    this.#isTired = false;
    const lost = this.#asked.splice(0);
    if (!isOrderly && lost.length === 1) {
      const outOfMemory = /out of memory|OOM/i.test(errors);
      const message = outOfMemory
        ? "decoding needs more memory than the decoder process has"
        : `the decoder process ended within this file (${how})`;
      lost.pop()!.reject(new UnreadableImageError(outOfMemory ? "too-large" : "corrupt", message));
    }
    // Which of several files it was shows when each is asked alone.
    if (!isOrderly) { for (const task of lost) task.isSuspect = true; }
    this.#waiting.unshift(...lost);
    this.#next();
  }

  #failAll(error: Error): void {
    clearTimeout(this.#timer);
    for (const { reject } of [...this.#asked.splice(0), ...this.#waiting.splice(0)]) reject(error);
  }
}

/**
 * The command that starts the process: without permissions, but for its own sources; a compiled program has those that it
 * was compiled with (decoder_process.ts).
 */
export function decoderCommand(options: ClientOptions): Deno.Command {
  const { executable, limits, isCompiled = Deno.build.standalone } = options;
  return new Deno.Command(executable, {
    args: isCompiled ? [decoderWord, JSON.stringify(limits)] : denoArguments(options),
    clearEnv: true,
    env: { ...environment(), NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
}

function denoArguments(
  { limits, program = new URL("./decoder_process.ts", import.meta.url) }: ClientOptions,
): string[] {
  return [
    "run",
    ...["--no-prompt", "--cached-only", "--no-check", "--no-code-cache", "--unstable-worker-options"],
    `--v8-flags=--max-old-space-size=${heapMiB}`,
    ...sources.protocol === "file:" ? [`--allow-read=${fileURLToPath(sources)}`] : [],
    ...[program.href, JSON.stringify(limits)],
  ];
}

/** Waits, and keeps this process alive meanwhile: the decoder process, which nobody may wait for, does not. */
async function waitFor(promise: Promise<unknown>): Promise<void> {
  const alive = setTimeout(() => {}, longest);
  await promise.finally(() => clearTimeout(alive));
}

function kill(child: Child | undefined): void {
  try {
    child?.process.kill("SIGKILL");
  } catch {
    // it has ended
  }
}

/** What of the environment the process needs, as far as it may be read. */
function environment(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of neededVariables) {
    const { state } = Deno.permissions.querySync({ name: "env", variable: name });
    const value = state === "granted" ? Deno.env.get(name) : undefined;
    if (value !== undefined) found[name] = value;
  }
  return found;
}
