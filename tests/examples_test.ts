/**
 * The examples, each as a program in a folder outside of the repository: neither deno.json nor the working folder helps it.
 */
import { match, strictEqual } from "node:assert";

const root = new URL("../", import.meta.url).href;
const image = decodeURIComponent(new URL("examples/Dataset/test/0001.png", root).pathname);
const two = ["001", "013"].map((name) =>
  decodeURIComponent(new URL(`examples/Dataset/val/var16/${name}.png`, root).pathname)
);

/** What an example is given, and what its output must match. */
const runs: Record<string, { flags?: string[]; args?: string[]; prints: RegExp[] }[]> = {
  "attribute_folder.ts": [{ args: two, prints: [/^made by var16: 2$/m] }],
  "attribute_image.ts": [{
    prints: [
      /^tiny, joint: rarb .* outlier$/m,
      /^0001\.png: made by rarxl, confidence (0\.\d\d|1\.00)$/m,
      /^ +finding variant.*; label rarxl: a model of/m,
    ],
  }],
  "own_method.ts": [{ prints: [/^0001\.png: made by rarxl, confidence 1\.00$/m] }],
  "own_kernel.ts": ["cpu", ...Deno.args.includes("--cpu-only") ? [] : ["webgpu"]].map((device) => ({
    args: [device],
    prints: [/^sums: 1 3 6 4 9 15$/m, /^gradient agrees with differences: true$/m],
  })),
  "fetch_handler.ts": [{
    flags: ["--unstable-worker-options"],
    args: [image],
    prints: [/^200: made by rarxl, confidence (0\.\d\d|1\.00)$/m],
  }],
  "finetune.ts": [{
    prints: [/^epoch 0: held-out loss 0\.0\d+$/m, /^epoch 2: /m, /^run\/encoder\.safetensors after 2 epochs$/m],
  }],
};

Deno.test("every example has a test", async () => {
  const files = (await Array.fromAsync(Deno.readDir(new URL("examples/", root)))).map(({ name }) => name);
  strictEqual(files.filter((name) => name.endsWith(".ts")).sort().join(), Object.keys(runs).sort().join());
});

for (const [name, cases] of Object.entries(runs)) {
  for (const [index, { flags = [], args = [], prints }] of cases.entries()) {
    Deno.test(`examples/${name} runs outside of the repository, case ${index + 1}`, async () => {
      const folder = await Deno.makeTempDir();
      try {
        const text = await Deno.readTextFile(new URL(`examples/${name}`, root));
        await Deno.writeTextFile(
          `${folder}/example.ts`,
          text.replaceAll('"../', `"${root}`).replaceAll('"./', `"${root}examples/`),
        );
        const command = new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "--no-prompt", ...flags, "example.ts", ...args],
          cwd: folder,
          env: { NO_COLOR: "1" },
        });
        const output = await command.output();
        const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes));
        strictEqual(output.code, 0, stderr);
        for (const line of prints) match(stdout, line);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
}
