/** Tasks as processes, with the permissions that deno.json gives them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { wordsOf } from "../../tasks/v8_flags.ts";

export const root = new URL("../..", import.meta.url).pathname;

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The words of tasks' commands. */
const words = new Map<string, Promise<string[]>>();

/** Starts `deno task <task>` in a folder, without the `deno task` around it, which swallows signals. */
export async function spawnTask(
  task: string,
  cwd: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  stdin: "inherit" | "piped" = "inherit",
): Promise<Deno.ChildProcess> {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  // Asked for once: the answer takes a process of its own.
  if (!words.has(task)) words.set(task, wordsOf(tasks[task]));
  const [run, ...rest] = (await words.get(task)!).slice(1)
    .map((arg) => (arg.endsWith(".ts") ? join(root, arg) : arg));
  return new Deno.Command(Deno.execPath(), {
    args: [run, "--config", join(root, "deno.json"), "--no-check", ...rest, ...args],
    cwd,
    env,
    stdin,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits for a process to end. */
export async function resultOf(process: Deno.ChildProcess): Promise<Result> {
  const { code, stdout, stderr } = await process.output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Runs a task to its end. */
export async function runTask(task: string, cwd: string, ...args: string[]): Promise<Result> {
  return await resultOf(await spawnTask(task, cwd, args));
}

/** The rows of a table of labels, its header checked. */
export async function tableRows(path: string): Promise<string[][]> {
  const [header, ...lines] = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assert.equal(header, "image_name,label");
  return lines.map((line) => line.split(","));
}
