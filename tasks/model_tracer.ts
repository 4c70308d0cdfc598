/**
 * `model-tracer <task>`: every task as one command, in any folder. docs/command.md says how to install it.
 * A task runs in a process of its own with the permissions that it needs; this one has none of them but to start it.
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import manifest from "../deno.json" with { type: "json" };
import { fail } from "./cli/command.ts";
import { namedPaths, readCommandLine, runWords, startedByCommand } from "./cli/launch.ts";
import { writeStdout } from "./cli/progress.ts";
import { wordsOf } from "./v8_flags.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a task to its end and returns its exit code. */
async function launch(task: string, args: readonly string[]): Promise<number> {
  const [, ...words] = await wordsOf(manifest.tasks[task as keyof typeof manifest.tasks]);
  const paths = namedPaths(args, (name) => Deno.env.get(name));
  const child = new Deno.Command("deno", {
    args: [...runWords(words, root, paths), startedByCommand, ...args],
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  passSignals(child);
  return (await child.status).code; // of a signal, 128 and its number
}

/** Signals to this process alone go on to the task. Ctrl-C reaches both: the task decides what to do with it. */
function passSignals(child: Deno.ChildProcess): void {
  Deno.addSignalListener("SIGINT", () => {});
  if (Deno.build.os === "windows") return;
  for (const signal of ["SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => {
      try {
        child.kill(signal);
      } catch {
        // it has ended
      }
    });
  }
}

try {
  const asked = readCommandLine(Deno.args, manifest);
  if ("text" in asked) writeStdout(asked.text);
  else Deno.exit(await launch(asked.task, asked.args));
} catch (error) {
  fail("model-tracer", error);
}
