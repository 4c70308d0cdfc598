/** `deno task pack`: the package for npm, as a tarball. Built by deploy/npm/. */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPackage, run } from "../deploy/npm/build.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";
import { jsonLines } from "./cli/options.ts";

export const command = defineCommand({
  name: "pack",
  about: "Makes the package for npm: all that a user needs, with the embedded weights, in JavaScript.",
  usage: ["[options]"],
  options: {
    out: { value: "DIR", help: "folder for the tarball", default: "." },
    json: jsonLines("one with the name of the tarball"),
  },
  notes: "Needs npm, which writes the tarball. `npm publish FILE` publishes it.",
});

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const out = resolve(values.out);
  await Deno.mkdir(out, { recursive: true });
  const folder = await Deno.makeTempDir({ prefix: "model-tracer-package-" });
  try {
    await buildPackage(root, folder);
    const [{ filename }] = JSON.parse(await run(folder, ["npm", "pack", "--json", "--pack-destination", out]));
    const file = join(out, filename);
    progress.print((values.json ? JSON.stringify({ file }) : file) + "\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return 0;
}

if (import.meta.main) await runTask(command, main);
