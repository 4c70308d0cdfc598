/** How texts for users name tasks: as they were started. */
import { startedByCommand } from "./launch.ts";

/** Whether the process was started as `model-tracer <task>`, and not as `deno task <task>`. */
const isCommand = Deno.args[0] === startedByCommand;

/** The command line of this process without the mark of who started it. */
export const commandLine: readonly string[] = isCommand ? Deno.args.slice(1) : Deno.args;

/** A text that names tasks as `deno task <task>`, with the names that the user knows. */
export function spelled(text: string, asCommand = isCommand): string {
  return asCommand ? text.replace(/\bdeno task (?=[a-z])/g, "model-tracer ") : text;
}
