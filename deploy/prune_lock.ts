/**
 * Leaves in deno.lock what some programs import, so that an image of them has no package of any other program: Deno
 * fetches all packages of a lock file. The container is built with it.
 *
 *   deno run --allow-read --allow-write=deno.lock deploy/prune_lock.ts tasks/serve.ts ...
 */
import { dirname, join } from "node:path";
import { parseSource } from "../structure/source.ts";

/** A lock file of version 5, as far as it is read here. */
export interface Lock {
  readonly version: string;
  /** Versions by what imports name. */
  readonly specifiers: Readonly<Record<string, string>>;
  /** Packages by name and version. Those that they need are named as `name`, or `name@version` where there are several. */
  readonly npm: Readonly<Record<string, { readonly dependencies?: readonly string[] }>>;
}

/** The package of an import, such as `npm:valibot@1.5.0`; undefined for other imports. */
export function packageOf(specifier: string): string | undefined {
  return /^npm:(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0];
}

/** What files import from npm, with all files that they import; workers are files, too. */
export async function importedPackages(
  entries: readonly string[],
  read: (path: string) => Promise<string>,
): Promise<ReadonlySet<string>> {
  const packages = new Set<string>();
  const seen = new Set<string>(entries);
  for (const path of seen) {
    if (!/\.[jt]s$/.test(path)) continue;
    for (const { specifier } of parseSource(path, await read(path)).imports) {
      const name = packageOf(specifier);
      if (name !== undefined) packages.add(name);
      if (specifier.startsWith(".")) seen.add(join(dirname(path), specifier));
    }
  }
  return packages;
}

/** The part of a lock file that these packages need. Throws where it lacks one. */
export function prunedLock(lock: Lock, packages: ReadonlySet<string>): Lock {
  const specifiers = Object.fromEntries(Object.entries(lock.specifiers).filter(([name]) => packages.has(name)));
  for (const name of packages) if (!(name in specifiers)) throw new Error(`deno.lock: has no ${name}`);
  const nameOf = (key: string) => key.slice(0, key.indexOf("@", 1));
  const keys = Object.keys(lock.npm);
  const keyOf = (wanted: string) => {
    const found = keys.filter((key) => key === wanted || nameOf(key) === wanted);
    if (found.length !== 1) throw new Error(`deno.lock: expected one ${wanted}, found ${found.length}`);
    return found[0];
  };
  const kept = new Set(
    Object.entries(specifiers).map(([name, version]) => `${nameOf(name.slice("npm:".length))}@${version}`),
  );
  for (const key of kept) for (const name of lock.npm[key].dependencies ?? []) kept.add(keyOf(name));
  const npm = Object.fromEntries(Object.entries(lock.npm).filter(([key]) => kept.has(key)));
  return { ...lock, specifiers, npm };
}

if (import.meta.main) {
  const packages = await importedPackages(Deno.args, Deno.readTextFile);
  const lock: Lock = JSON.parse(await Deno.readTextFile("deno.lock"));
  const pruned = prunedLock(lock, packages);
  await Deno.writeTextFile("deno.lock", JSON.stringify(pruned, null, 2) + "\n");
  console.error(`deno.lock: ${Object.keys(pruned.npm).length} of ${Object.keys(lock.npm).length} packages`);
}
