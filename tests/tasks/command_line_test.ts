/** `model-tracer`: its list, what it starts and with which rights, completion in real shells, and the manual. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { catalogue, listedTasks } from "../../tasks/cli/catalogue.ts";
import { loadCommands } from "../../tasks/cli/commands.ts";
import { completionScript, type Shell } from "../../tasks/cli/completion.ts";
import { namedPaths, readCommandLine, runWords, startedByCommand, taskList } from "../../tasks/cli/launch.ts";
import { manualPage } from "../../tasks/cli/manual.ts";
import { spelled } from "../../tasks/cli/spelling.ts";
import { nameOf } from "../../util/options.ts";
import manifest from "../../deno.json" with { type: "json" };
import { withFolder } from "../attribution/files.ts";
import { type Result, resultOf, root } from "./processes.ts";

const names = listedTasks(manifest).map(({ name }) => name);

/** Runs a command; undefined, and a line that says so, where this machine does not have it. */
async function execute(command: string, args: readonly string[]): Promise<Result | undefined> {
  try {
    return await resultOf(
      new Deno.Command(command, { args: [...args], stdin: "null", stdout: "piped", stderr: "piped" }).spawn(),
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log(`${command} is not installed: only the text for it is checked`);
    return undefined;
  }
}

Deno.test("the list has every task that runs a file of tasks/, but for the checks of the repository", () => {
  const files = Object.entries(manifest.tasks).filter(([, line]) => /^deno run .* tasks\/\w+\.ts$/.test(line));
  assert.deepEqual(files.map(([name]) => name).filter((name) => name !== "structure").sort(), [...names].sort());
  const all = Object.values(catalogue).flatMap((rows) => Object.keys(rows));
  assert.deepEqual(all, names, "no task that is not there");
  const list = taskList(manifest);
  for (const name of names) assert.match(list, new RegExp(`^  ${name} +\\S`, "m"));
  assert.ok(list.split("\n").every((line) => line.length <= 100), list);
  const packaged = { ...manifest, tasks: { attribute: manifest.tasks.attribute } };
  assert.match(taskList(packaged), /^Images:\n {2}attribute {2}/m);
  assert.doesNotMatch(taskList(packaged), /serve|Model sets/);
});

Deno.test("readCommandLine() finds the task, also after --quiet and help, and suggests the nearest one", () => {
  const read = (...args: string[]) => readCommandLine(args, manifest);
  for (const args of [[], ["-h"], ["--help"], ["help"]]) assert.deepEqual(read(...args), { text: taskList(manifest) });
  assert.deepEqual(read("--version"), { text: `model-tracer ${manifest.version}\n` });
  assert.deepEqual(read("attribute", "a.png", "--json"), { task: "attribute", args: ["a.png", "--json"] });
  assert.deepEqual(read("--quiet", "serve", "--port", "1"), { task: "serve", args: ["--quiet", "--port", "1"] });
  assert.deepEqual(read("help", "train"), { task: "train", args: ["--help"] });
  assert.throws(() => read("atribute"), /expected a task, got atribute; did you mean attribute\?/);
  assert.throws(() => read("toString"), /expected a task, got toString \(/);
  assert.throws(() => read("--json"), /expected a task, got --json/);
});

Deno.test("runWords() keeps the rights of a task, and makes the program's own paths absolute", () => {
  const words = ["run", "--allow-read=.", "--allow-net=localhost", "--no-prompt", "tasks/serve.ts"];
  assert.deepEqual(runWords(words, "/a,b", ["weights/x"]), [
    ...["run", "--config", "/a,b/deno.json", "--no-check"],
    ...["--allow-read=/a,,b,weights/x", "--allow-net=localhost", "--no-prompt", "/a,b/tasks/serve.ts"],
  ]);
  const none = () => undefined;
  assert.deepEqual(namedPaths(["--models", "a", "--models=b", "--api-keys-file=k"], none), ["b", "k"]);
  assert.deepEqual(namedPaths([], (name) => name === "TRACER_MODELS" ? "c" : undefined), ["c"]);
  assert.deepEqual(namedPaths(["--models"], none), []);
});

Deno.test("texts name tasks as the user started them", () => {
  const text = "run deno task weights pull, or deno task train; deno task is Deno's";
  assert.equal(spelled(text, false), text);
  assert.match(spelled(text, true), /^run model-tracer weights pull, or model-tracer train; /);
});

Deno.test("installed, the command runs in any folder, with the paths of that folder, and ends as the task does", async () => {
  await withFolder(async (dir) => {
    const install = ["install", "-g", "-q", "--root", join(dir, "tools"), "--allow-run=deno"];
    install.push(
      "--allow-env=TRACER_MODELS,TRACER_API_KEYS_FILE",
      "-n",
      "model-tracer",
      join(root, "tasks/model_tracer.ts"),
    );
    assert.equal((await execute(Deno.execPath(), install))!.code, 0);
    const run = async (...args: string[]) =>
      await resultOf(
        new Deno.Command(join(dir, "tools/bin/model-tracer"), { args, cwd: dir, stdout: "piped", stderr: "piped" })
          .spawn(),
      );
    assert.deepEqual(await run("--version"), { code: 0, stdout: `model-tracer ${manifest.version}\n`, stderr: "" });
    const missing = await run("journal", "stats", "none.sqlite");
    assert.deepEqual([missing.code, missing.stdout], [1, ""]);
    assert.match(missing.stderr, /^journal: .*none\.sqlite/);
    const help = await run("help", "attribute");
    assert.match(help.stdout, /^usage: model-tracer attribute /m);
    assert.doesNotMatch(help.stdout, new RegExp(`deno task|${startedByCommand}`));
    const unknown = await run("atribute");
    assert.deepEqual([unknown.code, unknown.stdout], [1, ""]);
    assert.match(unknown.stderr, /^model-tracer: expected a task, got atribute; did you mean attribute\?/);
  });
});

/** What each shell is asked, with `SCRIPT` for the file, and what it must offer. */
const asked: Readonly<Record<Shell, (script: string, line: string) => readonly string[]>> = {
  bash: (script, line) => [
    "-c",
    `source '${script}'; read -ra COMP_WORDS <<<"$1x"; COMP_WORDS[-1]=\${COMP_WORDS[-1]%x}; ` +
    `COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _model_tracer; printf '%s\\n' "\${COMPREPLY[@]}"`,
    "bash",
    line,
  ],
  fish: (script, line) => ["--no-config", "-c", `source '${script}'; complete -C "$argv[1]"`, line],
  // Its completion needs a terminal: a shell within the shell has one, and TAB lists what there is.
  zsh: (script, line) => [
    "-f",
    "-c",
    `zmodload zsh/zpty; zpty -b inner zsh -f; ` +
    `zpty -w inner "setopt nobeep noautomenu; autoload -U compinit; compinit -u -D; source '${script}'; ` +
    // Its prompt says that it reads lines; what is typed before would only be echoed.
    `stty columns 300 rows 200; LISTMAX=1000; PS1='rea''dy> '"; zpty -r inner seen '*ready> *'; ` +
    // Twice: the first TAB completes what all have in common. Then the line is emptied, and another one says the end.
    `zpty -w -n inner "$1"$'\\t\\t\\x15'; zpty -w inner "print do''ne"; zpty -r inner seen '*done*'; print -r -- "$seen"; ` +
    `zpty -d inner`,
    "zsh",
    line,
  ],
};

const offers: readonly (readonly [line: string, wanted: readonly string[], not: readonly string[]])[] = [
  ["model-tracer ", ["attribute", "serve", "completion"], ["--method"]],
  ["model-tracer attribute --me", ["--method", "--memory"], ["--out"]],
  ["model-tracer attribute --method ", ["joint", "perplexity"], ["--method"]],
  ["model-tracer weights ", ["pull", "verify"], ["joint"]],
];

for (const shell of ["bash", "fish", "zsh"] as const) {
  Deno.test(`completion for ${shell} has all options, and offers tasks, options, their words, and actions`, async () => {
    const commands = await loadCommands(manifest);
    const script = completionScript(shell, commands);
    for (const { name, options } of commands) {
      assert.ok(script.includes(name), name);
      for (const [key, row] of Object.entries(options)) {
        assert.ok(script.includes(`${shell === "fish" ? "-l " : "--"}${nameOf(key, row as never)}`), key);
      }
    }
    await withFolder(async (dir) => {
      const path = join(dir, "script");
      await Deno.writeTextFile(path, script);
      const syntax = await execute(shell, ["-n", path]);
      if (syntax === undefined) return;
      assert.deepEqual(syntax, { code: 0, stdout: "", stderr: "" });
      for (const [line, wanted, not] of offers) {
        const { stdout, stderr } = (await execute(shell, asked[shell](path, line)))!;
        // deno-lint-ignore no-control-regex -- codes by which a terminal is told where to write
        const words = stdout.replaceAll(/\x1b(\[[\d;?]*[A-Za-z])?/g, " ").split(/\s+/);
        for (const word of wanted) assert.ok(words.includes(word), `${line}: ${word} in ${stdout} ${stderr}`);
        for (const word of not.filter((word) => !line.includes(word))) {
          assert.ok(!words.includes(word), `${line}: ${word}`);
        }
      }
    });
  });
}

Deno.test("the manual has every task with its options, and man and mandoc find nothing wrong with it", async () => {
  const commands = await loadCommands(manifest);
  const page = manualPage(commands, manifest.version, "2026-11-30");
  assert.doesNotMatch(page, /deno task/);
  for (const { name, options } of commands) {
    assert.ok(page.includes(`\n.SH ${name.toUpperCase().replaceAll("-", "\\-")}\n`), name);
    for (const [key, row] of Object.entries(options)) {
      assert.ok(page.includes(`\\-\\-${nameOf(key, row as never).replaceAll("-", "\\-")}\\fR`), key);
    }
  }
  await withFolder(async (dir) => {
    const path = join(dir, "model-tracer.1");
    await Deno.writeTextFile(path, page);
    const lint = await execute("mandoc", ["-T", "lint", "-W", "warning", path]);
    if (lint !== undefined) assert.deepEqual(lint, { code: 0, stdout: "", stderr: "" });
    const shown = await execute("man", ["-l", "--warnings", path]);
    if (shown === undefined) return;
    assert.deepEqual([shown.code, shown.stderr], [0, ""]);
    // deno-lint-ignore no-control-regex -- bold is a character over itself
    assert.match(shown.stdout.replaceAll(/.\x08/g, ""), /^ATTRIBUTE$[^]*--files-from FILE/m);
  });
});
