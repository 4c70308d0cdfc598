/** The pages for each kind of reader, followed word by word in a clone: every command is run and its output compared. */
import { ok, strictEqual } from "node:assert/strict";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

interface Command {
  readonly text: string;
  /** Lines of stdout; `...` stands for any. */
  readonly output: readonly string[];
}

/** Commands of the console blocks of a page: lines that begin with `$ `, and what follows them. */
function commandsOf(page: string): Command[] {
  return [...page.matchAll(/^```console\n([\s\S]*?)^```$/gm)].flatMap(([, block]) =>
    block.split(/^\$ /m).slice(1).map((part) => {
      const [text, ...output] = part.trimEnd().split("\n");
      return { text, output };
    })
  );
}

/** Whether two lines agree, where a decimal number may differ in its last places between processors. */
function agree(printed: string, expected: string): boolean {
  const decimal = /[-+]?\d+\.\d+/g;
  if (printed.replace(decimal, "#") !== expected.replace(decimal, "#")) return false;
  const [got, want] = [printed, expected].map((line) => (line.match(decimal) ?? []).map(Number));
  return got.every((value, i) => Math.abs(value - want[i]) <= 0.02 + 0.02 * Math.abs(want[i]));
}

function expectOutput({ text, output }: Command, printed: readonly string[]): void {
  const open = output.at(-1) === "...";
  const wanted = open ? output.slice(0, -1) : output;
  const seen = open ? printed.slice(0, wanted.length) : printed;
  strictEqual(seen.length, wanted.length, `${text}\nprinted\n${printed.join("\n")}`);
  for (const [i, line] of wanted.entries()) {
    ok(agree(seen[i], line), `${text}\nprinted\n${seen[i]}\nwhere the page has\n${line}`);
  }
}

for (const reader of ["analyst", "researcher", "engineer"]) {
  Deno.test(`docs/start/${reader}.md: every command prints in a clone what the page says`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "model-tracer-start-" });
    try {
      const clone = await new Deno.Command("git", { args: ["clone", "-q", root, `${folder}/clone`] }).output();
      ok(clone.success);
      const page = await Deno.readTextFile(`${root}docs/start/${reader}.md`);
      const commands = commandsOf(page);
      ok(commands.length >= 3, `${commands.length} commands`);
      const mark = "== end of a command ==";
      const script = commands.map(({ text }) => `${text}\necho; echo '${mark}'`).join("\n");
      const { stdout, stderr } = await new Deno.Command("bash", {
        args: ["-c", `set -m\n${script}`],
        cwd: `${folder}/clone`,
        env: { NO_COLOR: "1" },
        stdin: "null",
      }).output();
      const parts = new TextDecoder().decode(stdout).split(`\n${mark}\n`).slice(0, -1);
      strictEqual(parts.length, commands.length, new TextDecoder().decode(stderr).slice(-2000));
      for (const [i, command] of commands.entries()) {
        const printed = parts[i].trimEnd();
        expectOutput(command, printed === "" ? [] : printed.split("\n"));
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
