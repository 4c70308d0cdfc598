/**
 * Decoder processes as a compiled program starts them: the program itself, with the permissions that were fixed when it was
 * compiled. A script stands in for the program.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import manifest from "../../../../deno.json" with { type: "json" };
import { rightsOf } from "../../../../tasks/compile.ts";
import { withFolder } from "../../files.ts";

/**
 * Calls `use` with the path of a script that runs `main` with the permissions of the compiled serve, which may read the
 * files that lie in it, those of the folder `sources`.
 */
export async function asCompiled(
  main: string,
  use: (executable: string) => Promise<void>,
  sources = fileURLToPath(new URL("../../../../", import.meta.url)),
): Promise<void> {
  const rights = rightsOf(manifest.tasks.serve).map((word) => word === "--allow-read=." ? `${word},${sources}` : word);
  const words = [Deno.execPath(), "run", "--no-config", "--no-check", "--cached-only", "--unstable-worker-options"];
  await withFolder(async (dir) => {
    const script = join(dir, "program");
    await Deno.writeTextFile(script, `#!/bin/sh\nexec ${[...words, ...rights, main].join(" ")} "$@"\n`, {
      mode: 0o755,
    });
    await use(script);
  });
}
