/**
 * `model-tracer` as npm installs it: runs under Node, finds Deno, and starts the task as model_tracer.ts does. Deno is
 * npm's package of it, which is installed along, else the one on the path.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Manifest } from "./cli/catalogue.ts";
import { namedPaths, readCommandLine, runWords, startedByCommand } from "./cli/launch.ts";
import { wordsOf } from "./v8_flags.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Signals to this process that go on to the task. Ctrl-C reaches both. */
const signals = ["SIGTERM", "SIGHUP"] as const;

/** The executable of Deno. Throws an error for the user where there is none. */
function findDeno(): string {
  if (process.versions.deno !== undefined) return process.execPath;
  try {
    return createRequire(import.meta.url)("deno/install_api.cjs").runInstall();
  } catch {
    // The package is left out (npm install --omit=optional), or has no executable for this system.
  }
  const name = process.platform === "win32" ? "deno.exe" : "deno";
  const found = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)).find((path) =>
    existsSync(path)
  );
  if (found === undefined) throw new Error("expected Deno on the path, or npm's package deno: npm install deno");
  return found;
}

/** Runs a task to its end, and ends this process as it has ended. */
async function launch(task: string, args: readonly string[], { tasks }: Manifest): Promise<void> {
  const deno = findDeno();
  // Tasks start further processes as `deno`.
  const env = { ...process.env, PATH: `${dirname(deno)}${delimiter}${process.env.PATH ?? ""}` };
  const probe = (args: readonly string[]) =>
    Promise.resolve(spawnSync(deno, args, { stdio: "ignore", env }).status === 0);
  const [, ...words] = await wordsOf(tasks[task], probe);
  const paths = namedPaths(args, (name) => process.env[name]);
  const all = [...runWords(words, root, paths), startedByCommand, ...args];
  const child = spawn(deno, all, { stdio: "inherit", env });
  process.on("SIGINT", () => {});
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on("error", fail);
  child.on("close", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    for (const each of signals) process.removeAllListeners(each);
    process.kill(process.pid, signal);
  });
}

function fail(error: unknown): void {
  console.error(`model-tracer: ${(error as Error).message}`);
  process.exit(1);
}

try {
  const manifest: Manifest = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const asked = readCommandLine(process.argv.slice(2), manifest);
  if ("text" in asked) process.stdout.write(asked.text);
  else await launch(asked.task, asked.args, manifest);
} catch (error) {
  fail(error);
}
