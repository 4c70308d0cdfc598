/**
 * `deno task compile`: attribute and serve as programs of one file each, which run without Deno. They are compiled from
 * the package for npm, in which packages are bundled: `deno compile` overflows its stack on one of them.
 */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPackage, run } from "../deploy/npm/build.ts";
import type { DenoJson } from "../deploy/npm/package_json.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { jsonLines } from "./cli/options.ts";

/** What both programs have beside modules that others import: `deno compile` does not see imports of WebAssembly. */
const common = [
  ...["weights/tiny", "weights/official.json", "npm/magick.wasm", "npm/webp_dec.wasm"],
  "attribution/images/decoder/decoder_thread.js",
] as const;

/** The programs, and what each reads or starts as a thread, from the root of the package. */
const included = {
  attribute: common,
  serve: [...common, "attribution/service/device_worker.js", "attribution/service/page"],
} as const;

export type Program = keyof typeof included;

export const programs = Object.keys(included) as Program[];

export const command = defineCommand({
  name: "compile",
  about: "Compiles attribute and serve into programs of one file each, with the embedded set and the page in them.",
  usage: ["[attribute] [serve] [options]"],
  operands: "programs",
  options: {
    out: { value: "DIR", help: "folder for the programs", default: "dist" },
    json: jsonLines("one with the name of each program"),
  },
  notes: "`deno compile` downloads Deno's runtime, unless the variable DENORT_BIN names one. Images are decoded in a " +
    "process of the program itself, which only Linux can be told the right to; elsewhere, serve does not start.",
});

/** A task's command line without the program that prints flags of V8. */
const plain = (line: string) => line.replace(/\$\([^)]*\)/, "");

/** The rights of a program: those of its task, but that it may start itself and no other program. */
export function rightsOf(line: string): string[] {
  return plain(line).split(" ").filter((word) => /^--(allow|deny|no-prompt)/.test(word))
    .map((word) => word.startsWith("--allow-run") ? "--allow-run=/proc/self/exe" : word);
}

/** The words after `deno` that compile a program in the folder of the package. */
export function compileWords(name: Program, { tasks, unstable }: DenoJson, output: string): string[] {
  // Flags of V8 hold for decoders, too, so that none may lift their bounds checks.
  const heap = plain(tasks[name]).match(/(?<=--v8-flags=\S*?)--[\w-]+=\d+/g) ?? [];
  return [
    ...["compile", "--no-check", "--no-config", "--no-lock", "--no-npm", "--no-remote"],
    "--no-code-cache", // which would lie in a folder for temporary files, where others may write
    ...unstable.map((name) => `--unstable-${name}`),
    ...heap.length > 0 ? [`--v8-flags=${heap.join(",")}`] : [],
    ...rightsOf(tasks[name]),
    ...included[name].flatMap((path) => ["--include", path]),
    ...["--output", output, entryName(name)],
  ];
}

export function entryName(name: Program): string {
  return `program_${name}.js`;
}

/** What a program starts with: it is a decoder if it is asked to be one, and then loads nothing else. */
export function entryText(name: Program): string {
  return `import { decodeIfAsked } from "./attribution/images/decoder/decoder_process.js";
await decodeIfAsked();
const { run } = await import("./tasks/${name}.js");
await run();
`;
}

/** Builds the package that programs are compiled from, with their entries, into the folder `to`. */
export async function buildSources(root: string, to: string): Promise<void> {
  await buildPackage(root, to);
  // What it says of npm is of no use here: all modules are files.
  await Deno.remove(join(to, "package.json"));
  for (const name of programs) await Deno.writeTextFile(join(to, entryName(name)), entryText(name));
}

async function main({ operands, values, progress }: Input<typeof command.options>): Promise<number> {
  const wanted = operands.length === 0 ? programs : operands;
  for (const name of wanted) {
    if (!programs.includes(name as Program)) throw new Error(`expected attribute or serve, got ${name} (--help)`);
  }
  const root = fileURLToPath(new URL("..", import.meta.url));
  const out = resolve(values.out);
  await Deno.mkdir(out, { recursive: true });
  const folder = await Deno.makeTempDir({ prefix: "model-tracer-programs-" });
  try {
    await buildSources(root, folder);
    const manifest: DenoJson = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
    for (const name of wanted as Program[]) {
      const file = join(out, `model-tracer-${name}`);
      await run(folder, ["deno", ...compileWords(name, manifest, file)]);
      progress.print((values.json ? JSON.stringify({ file }) : file) + "\n");
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return 0;
}

if (import.meta.main) await runTask(command, main);
