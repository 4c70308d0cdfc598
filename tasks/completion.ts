/** `model-tracer completion SHELL`: completion of its command lines, as a script for the shell. */
import manifest from "../deno.json" with { type: "json" };
import { type Input, runTask } from "./cli/command.ts";
import { loadCommands } from "./cli/commands.ts";
import { completionScript, type Shell } from "./cli/completion.ts";
import { completion as command } from "./cli/own_commands.ts";

export { command };

async function main({ operands: [shell, ...more], progress }: Input<typeof command.options>): Promise<number> {
  if (more.length > 0) throw new Error(`expected one shell, got ${more[0]} too (--help)`);
  progress.print(completionScript(shell as Shell, await loadCommands(manifest)));
  return 0;
}

if (import.meta.main) await runTask(command, main);
