/**
 * Holds the repository against its structure (structure/layout.ts), and draws it.
 *
 *   deno task structure            writes the drawing of the folders into docs/architecture.md and prints their sizes
 *   deno task structure --check    writes nothing; exit code 1 when the drawing is out of date
 *
 * Both list what breaks a rule with file and line, and then end with exit code 1: an import against the order of folders, a
 * cycle of imports between files, a generic module that knows a family of generators, a document's link to a missing file.
 */
import { findProblems, missingFiles } from "../structure/check.ts";
import { drawFolders, sizeTable, withDrawing } from "../structure/drawing.ts";
import { parseSource } from "../structure/source.ts";

const architecture = "docs/architecture.md";

/** Files that git tracks or would track; where there is no repository of git, all but hidden ones. */
async function listFiles(): Promise<string[]> {
  const git = new Deno.Command("git", { args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"] });
  const { success, stdout } = await git.output().catch(() => ({ success: false, stdout: new Uint8Array() }));
  const walk = async (folder: string): Promise<string[]> => {
    const entries = (await Array.fromAsync(Deno.readDir(folder || "."))).filter(({ name }) =>
      !name.startsWith(".") && name !== "node_modules"
    );
    const paths = entries.map((entry) => ({ entry, path: folder === "" ? entry.name : `${folder}/${entry.name}` }));
    return (await Promise.all(paths.map(({ entry, path }) => entry.isDirectory ? walk(path) : [path]))).flat();
  };
  const listed = success ? new TextDecoder().decode(stdout).split("\0").filter(Boolean) : await walk("");
  const files = await Promise.all(listed.map(async (path) => await exists(path) ? [path] : [])); // deleted, not yet committed
  return [...new Set(files.flat())].sort();
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

async function main(): Promise<number> {
  const check = Deno.args.includes("--check");
  const unknown = Deno.args.find((argument) => argument !== "--check");
  if (unknown !== undefined) {
    console.error(`structure: unknown argument ${unknown}; usage: structure [--check]`);
    return 1;
  }
  Deno.chdir(new URL("..", import.meta.url));
  const files = await listFiles();
  const read = (path: string) => Deno.readTextFile(path);
  const code = files.filter((path) => /\.[jt]s$/.test(path));
  const sources = await Promise.all(code.map(async (path) => parseSource(path, await read(path))));
  const documents = files.filter((path) => path.endsWith(".md"));
  const links = documents.map(async (path) =>
    await missingFiles(path, await read(path), exists, path === architecture || path === "CONTRIBUTING.md")
  );
  const problems = [...findProblems(sources), ...(await Promise.all(links)).flat()];
  for (const { path, line, message } of problems) console.error(`${path}:${line}: ${message}`);

  const document = await read(architecture);
  const drawn = withDrawing(document, drawFolders(sources));
  if (check && drawn !== document) {
    console.error(`${architecture}:1: its drawing is out of date: run \`deno task structure\` and commit it`);
    return 1;
  }
  if (!check) {
    await Deno.writeTextFile(architecture, drawn);
    console.log(sizeTable(sources));
  }
  if (problems.length === 0) console.error(`${code.length} files keep the structure`);
  return problems.length === 0 ? 0 : 1;
}

Deno.exit(await main());
