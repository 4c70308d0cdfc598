/**
 * Builds the package for npm in an empty folder: JavaScript and declarations of what deno.json publishes and of the
 * packaged tasks, weights and page, and in `npm/` what they need of packages, with its licences.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { parseSource } from "../../structure/source.ts";
import { type Lock, packageOf, prunedLock } from "../prune_lock.ts";
import { type DenoJson, packagedDenoJson, packagedTasks, packageJson } from "./package_json.ts";
import { entryOf, noteTaken, rewritten, type Taken, vendored } from "./rewrite.ts";

/** The font of charts, in the folder `npm/`. */
const font = "DejaVuSans.ttf";

/** What replaces attribution/plot/font.ts, which finds the font in a package. */
const fontModule = `import { fileURLToPath } from "node:url";
export const fontPath = fileURLToPath(new URL("../../npm/${font}", import.meta.url));
`;

/** Builds the package of the repository in `root` into the folder `to`. Throws with the output of a program that fails. */
export async function buildPackage(root: string, to: string): Promise<void> {
  const deno: DenoJson = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const files = await packagedFiles(root, deno);
  const modules = files.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"));
  await run(root, ["deno", "transpile", "--no-check", "--outdir", to, ...modules]);
  for (const path of files.filter((path) => !path.endsWith(".ts") && path !== "deno.json")) {
    await Deno.mkdir(dirname(join(to, path)), { recursive: true });
    await Deno.copyFile(join(root, path), join(to, path));
  }
  await Deno.writeTextFile(join(to, "attribution/plot/font.js"), fontModule);
  await writeDeclarations(root, to);

  const taken = new Map<string, Taken>();
  const copied = new Set<string>();
  for (const path of files.map((path) => path.replace(/(?<!\.d)\.ts$/, ".js")).filter((path) => path.endsWith(".js"))) {
    const text = await Deno.readTextFile(join(to, path));
    noteTaken(text, taken);
    for (const [, specifier] of text.matchAll(/"npm:([^"\n]+\.wasm)"/g)) copied.add(specifier);
    await Deno.writeTextFile(join(to, path), rewritten(text, path));
  }
  const bin = join(to, "tasks/npm.js");
  await Deno.writeTextFile(bin, `#!/usr/bin/env node\n${await Deno.readTextFile(bin)}`);
  await Deno.chmod(bin, 0o755);
  await vendor(root, to, taken, [...copied, "dejavu-fonts-ttf@2.37.3/ttf/DejaVuSans.ttf"]);
  await writeLicences(root, to, modules);
  await writeJson(join(to, "package.json"), packageJson(deno));
  await writeJson(join(to, "deno.json"), packagedDenoJson(deno));
}

/** Files of the repository that the package has, from its root. */
async function packagedFiles(root: string, { publish, tasks }: DenoJson): Promise<string[]> {
  const taskFiles = packagedTasks.map((name) => /(tasks\/\w+\.ts)$/.exec(tasks[name])![1]);
  const wanted = [...publish.include, ...taskFiles, "tasks/cli", "tasks/v8_flags.ts", "tasks/npm.ts", "slurm"];
  const files: string[] = [];
  const add = async (path: string): Promise<void> => {
    if (publish.exclude.includes(path)) return;
    if ((await Deno.stat(join(root, path))).isFile) return void files.push(path);
    for await (const { name } of Deno.readDir(join(root, path))) await add(`${path}/${name}`);
  };
  for (const path of wanted) await add(path);
  return files.sort();
}

/** Declarations, which Deno writes for the public modules. */
async function writeDeclarations(root: string, to: string): Promise<void> {
  const temporary = await Deno.makeTempDir({ prefix: "model-tracer-types-" });
  try {
    const archive = join(temporary, "types.tgz");
    await run(root, ["deno", "pack", "--quiet", "--allow-dirty", "--no-source-maps", "--output", archive]);
    await run(temporary, ["tar", "xzf", archive]);
    const copy = async (folder: string): Promise<void> => {
      for await (const { name, isDirectory } of Deno.readDir(join(temporary, "package", folder))) {
        const path = join(folder, name);
        if (isDirectory) await copy(path);
        else if (name.endsWith(".d.ts")) await Deno.copyFile(join(temporary, "package", path), join(to, path));
      }
    };
    await copy("");
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** Bundles what is taken of packages, and copies what is no module. */
async function vendor(
  root: string,
  to: string,
  taken: ReadonlyMap<string, Taken>,
  copied: readonly string[],
): Promise<void> {
  const temporary = await Deno.makeTempDir({ prefix: "model-tracer-npm-" });
  try {
    const entries: string[] = [];
    for (const [specifier, names] of taken) {
      const entry = join(temporary, vendored(specifier));
      if (entries.includes(entry)) throw new Error(`npm: two modules would be ${entry}`);
      await Deno.writeTextFile(entry, entryOf(specifier, names));
      entries.push(entry);
    }
    const lock = ["--config", join(root, "deno.json"), "--lock", join(root, "deno.lock"), "--frozen"];
    const outdir = ["--platform", "deno", "--code-splitting", "--outdir", join(to, "npm")];
    await run(temporary, ["deno", "bundle", "--quiet", ...lock, ...outdir, ...entries]);
    for (const specifier of copied) {
      const path = join(to, "npm", vendored(specifier));
      await Deno.copyFile(await packageFile(root, specifier), path);
      await Deno.chmod(path, 0o644);
    }
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** The folder of a package in Deno's cache, under whichever registry it came from. `name` has its version: `pako@2.1.0`. */
async function packageFolder(root: string, name: string): Promise<string> {
  const { npmCache } = JSON.parse(await run(root, ["deno", "info", "--json"]));
  const at = name.indexOf("@", 1);
  for await (const registry of Deno.readDir(npmCache)) {
    const folder = join(npmCache, registry.name, name.slice(0, at), name.slice(at + 1).split("_")[0]);
    if (await Deno.stat(folder).then(({ isDirectory }) => isDirectory, () => false)) return folder;
  }
  throw new Error(`npm: ${name} is not in Deno's cache ${npmCache}`);
}

/** The file that a specifier names, through the package's exports where it has some. */
async function packageFile(root: string, specifier: string): Promise<string> {
  const [, name, path] = /^((?:@[^/]+\/)?[^/]+)\/(.+)$/.exec(specifier)!;
  const folder = await packageFolder(root, name);
  const { exports } = JSON.parse(await Deno.readTextFile(join(folder, "package.json")));
  if (exports === undefined) return join(folder, path);
  return createRequire(join(folder, "package.json")).resolve(`${name.slice(0, name.indexOf("@", 1))}/${path}`);
}

/** The licences of all packages whose code or files are in the package. Throws where one has none. */
async function writeLicences(root: string, to: string, modules: readonly string[]): Promise<void> {
  const lock: Lock = JSON.parse(await Deno.readTextFile(join(root, "deno.lock")));
  const packages = new Set<string>();
  for (const path of modules) {
    for (const { specifier, kind } of parseSource(path, await Deno.readTextFile(join(root, path))).imports) {
      const name = packageOf(specifier);
      if (name !== undefined && kind !== "type") packages.add(name);
    }
  }
  const names = Object.keys(prunedLock(lock, packages).npm).sort();
  const parts = ["# Packages in this folder, and their licences\n"];
  for (const name of names) {
    const folder = await packageFolder(root, name);
    const texts: string[] = [];
    for await (const { name: file, isFile } of Deno.readDir(folder)) {
      if (isFile && /^(licen[cs]e|notice|copying|copyright)/i.test(file)) texts.push(join(folder, file));
    }
    if (texts.length === 0) throw new Error(`npm: ${name} has no file of its licence`);
    const bodies = await Promise.all(texts.sort().map((path) => Deno.readTextFile(path)));
    parts.push(`## ${name.split("_")[0]}\n\n\`\`\`text\n${bodies.map((body) => body.trim()).join("\n\n")}\n\`\`\`\n`);
  }
  await Deno.writeTextFile(join(to, "npm/LICENCES.md"), parts.join("\n"));
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, JSON.stringify(value, null, 2) + "\n");
}

/** Runs a program and returns what it prints. Throws with what it says where it fails. */
export async function run(cwd: string, [program, ...args]: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, cwd }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${program} ${args[0]}: ${decoder.decode(stderr).trim()}`);
  return decoder.decode(stdout);
}
