/** The version of this program, which is the one in deno.json, and the commit that it runs from. */
import { dirname, join, resolve } from "node:path";
import manifest from "../deno.json" with { type: "json" };

/** As in deno.json, such as `0.2.0`. */
export const version: string = manifest.version;

/**
 * The commit that is checked out where the program lies, as 40 or 64 hexadecimal digits. Undefined where that is no
 * repository, or where the program may not read it. Changes that are not committed do not show in it.
 */
export const commit: string | undefined = commitOf(import.meta.dirname && dirname(import.meta.dirname));

/** The commit that is checked out in a folder, for `commit`. */
export function commitOf(folder: string | undefined): string | undefined {
  // Asking, unlike reading, never makes the runtime ask the user.
  if (folder === undefined || Deno.permissions.querySync({ name: "read", path: folder }).state !== "granted") return;
  try {
    const git = gitFolder(folder);
    const head = Deno.readTextFileSync(join(git, "HEAD")).trim();
    const name = /^ref: (.+)$/.exec(head)?.[1];
    return checked(name === undefined ? head : readRef(git, name));
  } catch {
    return undefined;
  }
}

/** The folder with HEAD: `.git`, or of a further work tree the one that the file `.git` names. */
function gitFolder(folder: string): string {
  const path = join(folder, ".git");
  if (Deno.statSync(path).isDirectory) return path;
  return resolve(folder, /^gitdir: (.+)$/m.exec(Deno.readTextFileSync(path))![1]);
}

/** The commit of a branch: in a file of its name, else in a line of packed-refs. Work trees share both. */
function readRef(git: string, name: string): string | undefined {
  const read = (path: string) => {
    try {
      return Deno.readTextFileSync(path).trim();
    } catch {
      return undefined;
    }
  };
  const shared = resolve(git, read(join(git, "commondir")) ?? ".");
  const packed = () => read(join(shared, "packed-refs"))?.split("\n").find((line) => line.endsWith(` ${name}`));
  return read(join(shared, name)) ?? packed()?.split(" ")[0];
}

function checked(text: string | undefined): string | undefined {
  return text !== undefined && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? text : undefined;
}
