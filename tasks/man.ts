/** `model-tracer man`: the manual page of all tasks, in roff. */
import manifest from "../deno.json" with { type: "json" };
import { type Input, runTask } from "./cli/command.ts";
import { loadCommands } from "./cli/commands.ts";
import { manualPage } from "./cli/manual.ts";
import { man as command } from "./cli/own_commands.ts";

export { command };

async function main({ progress }: Input<typeof command.options>): Promise<number> {
  const today = new Date().toISOString().slice(0, 10);
  progress.print(manualPage(await loadCommands(manifest), manifest.version, today));
  return 0;
}

if (import.meta.main) await runTask(command, main);
