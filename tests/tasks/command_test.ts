/** What all tasks have in common: their descriptions as data, help texts, and the version. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Command, helpText } from "../../tasks/cli/command.ts";
import { nameOf } from "../../util/options.ts";
import { root, runTask } from "./processes.ts";

const { tasks, version } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
/** Tasks that are a file of tasks/, but for the checks of the repository itself. */
const files = Object.entries(tasks as Record<string, string>).flatMap(([name, line]) => {
  const file = / (tasks\/\w+\.ts)$/.exec(line)?.[1];
  const isTask = line.startsWith("deno run ") && file !== "tasks/structure.ts";
  return file === undefined || !isTask ? [] : [{ name, file }];
});

for (const { name, file } of files) {
  Deno.test(`deno task ${name}: a help text of 120 columns with all its options and words`, async () => {
    const { command }: { command: Command } = await import(join(root, file));
    assert.equal(command.name, name);
    const help = helpText(command);
    const lines = help.split("\n");
    assert.ok(lines.every(({ length }) => length <= 120), help);
    assert.ok(help.includes(`usage: deno task ${name} `) && help.includes("Exit code: 0 "), help);
    for (const [key, row] of [...Object.entries(command.options), ["help", {}], ["version", {}]] as const) {
      const option = nameOf(key, row as never);
      assert.ok(lines.some((line) => new RegExp(`^ {2}(-\\w, )?--${option}( |$)`).test(line)), option);
    }
    for (const word of Object.keys(command.actions ?? {})) assert.match(help, new RegExp(`^ {2}${word} +\\w`, "m"));
  });
}

Deno.test("a task prints its help text, or the version, and ends with exit code 0, whatever else it is told", async () => {
  const { command }: { command: Command } = await import(join(root, "tasks/journal.ts"));
  assert.deepEqual(await runTask("journal", root, "-h"), { code: 0, stdout: helpText(command), stderr: "" });
  const shown = await runTask("journal", root, "stats", "--version");
  assert.deepEqual(shown, { code: 0, stdout: `model-tracer ${version}\n`, stderr: "" });
});
