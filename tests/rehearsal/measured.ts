/** Runs tasks as processes and records what each took: time, processor time and memory of all its processes, output. */
import { join } from "node:path";
import { root } from "../tasks/processes.ts";
import { runWords } from "../../tasks/cli/launch.ts";
import { wordsOf } from "../../tasks/v8_flags.ts";

/** What a step of a rehearsal took. */
export interface Recorded {
  readonly step: string;
  /** As a user types it. */
  readonly command: string;
  readonly code: number;
  /** Whether it was killed on purpose. */
  readonly killed: boolean;
  readonly seconds: number;
  /** Of the process and its children, in the kernel, too. What children of a killed process took is not known. */
  readonly processorSeconds: number;
  /** Largest sum of resident memory of all its processes, looked at ten times a second. */
  readonly peakBytes: number;
  /** Last lines of both outputs. */
  readonly stdout: string;
  readonly stderr: string;
}

/** A task to run. */
export interface Job {
  readonly step: string;
  /** Words after `deno task`. */
  readonly words: readonly string[];
  /** Further words that a user does not need: where files are, and what makes a rehearsal shorter. */
  readonly more?: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Folders that it may read beside those of deno.json. */
  readonly read?: readonly string[];
  /** Called every tenth of a second; kills the process, all at once, when it gives true. */
  readonly killWhen?: () => boolean | Promise<boolean>;
  /** Called once the process runs; the process is asked to end by SIGTERM afterwards. */
  readonly whileItRuns?: (stderr: () => string) => Promise<void>;
}

/** Clock ticks in a second (Linux, `getconf CLK_TCK`). */
const ticks = 100;

/** Processor seconds of all children that have ended and were waited for. */
function childSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
  return (Number(fields[13]) + Number(fields[14])) / ticks;
}

/** Resident bytes of a process and all below it. */
function treeBytes(pid: number): number {
  const children = new Map<number, number[]>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = Number(Deno.readTextFileSync(`/proc/${name}/stat`).split(") ")[1].split(" ")[1]);
      children.set(parent, [...children.get(parent) ?? [], Number(name)]);
    } catch {
      // has ended
    }
  }
  let total = 0;
  const add = (id: number) => {
    try {
      const line = /VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${id}/status`));
      total += 1024 * Number(line?.[1] ?? 0);
    } catch {
      // has ended
    }
    children.get(id)?.forEach(add);
  };
  add(pid);
  return total;
}

/** Reads an output while the process runs, and keeps its end. */
function tail(stream: ReadableStream<Uint8Array>): { text: () => string; done: Promise<void> } {
  let text = "";
  const read = async () => {
    for await (const part of stream.pipeThrough(new TextDecoderStream())) text = (text + part).slice(-20_000);
  };
  return { text: () => text, done: read() };
}

/** Runs a job to its end, or until it is killed. Throws what `whileItRuns` throws. */
export async function record(job: Job): Promise<Recorded> {
  const { step, words, more = [], cwd, env = {}, read = [], killWhen, whileItRuns } = job;
  const [task, ...args] = words;
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const started = runWords((await wordsOf(tasks[task])).slice(1), root.replace(/\/$/, ""), read);
  const before = childSeconds(), start = performance.now();
  const process = new Deno.Command(Deno.execPath(), {
    args: [...started, ...args, ...more],
    ...{ cwd, env, stdin: "null", stdout: "piped", stderr: "piped" },
  }).spawn();
  const stdout = tail(process.stdout), stderr = tail(process.stderr);
  let peakBytes = 0, killed = false, hasEnded = false;
  const status = process.status.finally(() => hasEnded = true);
  const watch = (async () => {
    while (!hasEnded) {
      peakBytes = Math.max(peakBytes, treeBytes(process.pid));
      if (!killed && await killWhen?.() && !hasEnded) {
        killed = true;
        process.kill("SIGKILL");
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  try {
    if (whileItRuns !== undefined) {
      const ended = status.then(({ code }) =>
        Promise.reject(new Error(`${step}: ended with ${code}\n${stderr.text()}`))
      );
      await Promise.race([whileItRuns(stderr.text), ended]);
    }
  } finally {
    if (whileItRuns !== undefined && !hasEnded) process.kill("SIGTERM");
  }
  const { code } = await status;
  await Promise.all([watch, stdout.done, stderr.done]);
  return {
    ...{ step, command: `deno task ${words.join(" ")}`, code, killed },
    seconds: (performance.now() - start) / 1000,
    processorSeconds: childSeconds() - before,
    ...{ peakBytes, stdout: stdout.text(), stderr: stderr.text() },
  };
}
