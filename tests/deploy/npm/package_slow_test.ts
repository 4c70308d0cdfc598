/** The package for npm as a user gets it: packed, installed into an empty project, used through the API and the command. */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import manifest from "../../../deno.json" with { type: "json" };
import { run } from "../../../deploy/npm/build.ts";
import { withFolder } from "../../attribution/files.ts";
import { resultOf, root } from "../../tasks/processes.ts";

const program = `import { isUnreadable, Tracer } from "model-tracer";
import { scope } from "model-tracer/tensor";

// @ts-expect-error types come with the package
export const wrong: number = scope;

await using tracer = await Tracer.open({ device: "cpu" });
for await (const line of tracer.attribute(["image.png"])) {
  const finding: string = isUnreadable(line) ? line.error.message : line.finding;
  console.log(JSON.stringify({ image: line.image, finding, label: line.label }));
}
`;

/** Whether a path belongs in the package. */
function belongs(path: string): boolean {
  if (/(^|\/)(tests|bench|zoo|parity|structure|assembly|fixtures)\//.test(path)) return false;
  return path.endsWith(".d.ts") || !path.endsWith(".ts");
}

Deno.test("the packed package has what is needed and no more, and attributes an image in an empty project", async () => {
  await withFolder(async (dir) => {
    const packed = join(dir, "packed"), project = join(dir, "project");
    const pack = await run(root, ["deno", "task", "--quiet", "pack", "--quiet", "--out", packed]);
    const archive = pack.trim();
    assert.equal(basename(archive), `model-tracer-${manifest.version}.tgz`);
    const files = (await run(dir, ["tar", "tzf", archive])).trim().split("\n").map((path) =>
      path.slice("package/".length)
    );
    assert.deepEqual(files.filter((path) => !belongs(path)), []);
    for (
      const needed of [
        ...[
          "package.json",
          "deno.json",
          "LICENSE",
          "README.md",
          "CHANGELOG.md",
          "npm/LICENCES.md",
          "mod.js",
          "mod.d.ts",
        ],
        ...["weights/tiny/manifest.json", "weights/official.json", "attribution/service/page/index.html"],
        ...["attribution/images/decoder/decoder_process.js", "attribution/service/device_worker.js", "tasks/npm.js"],
      ]
    ) assert.ok(files.includes(needed), needed);
    const { size } = await Deno.stat(archive);
    assert.ok(size < 30e6, `${size} bytes`);

    await Deno.mkdir(project);
    await run(project, ["npm", "init", "-y"]);
    await run(project, ["npm", "install", "--no-audit", "--no-fund", archive]);
    await Deno.copyFile(join(root, "examples/Dataset/test/0001.png"), join(project, "image.png"));

    await Deno.writeTextFile(join(project, "program.ts"), program);
    await run(project, ["deno", "check", "program.ts"]);
    const viaApi = JSON.parse(await run(project, ["deno", "run", "--allow-read", "--allow-run=deno", "program.ts"]));
    assert.equal(viaApi.image, "image.png");

    const npx = async (...args: string[]) =>
      await resultOf(
        new Deno.Command("npx", { args: ["model-tracer", ...args], cwd: project, stdout: "piped", stderr: "piped" })
          .spawn(),
      );
    assert.deepEqual(await npx("--version"), { code: 0, stdout: `model-tracer ${manifest.version}\n`, stderr: "" });
    const { code, stdout, stderr } = await npx("attribute", "image.png", "--device", "cpu", "--json");
    assert.equal(code, 0, stderr);
    const { image, finding, label, ...line } = JSON.parse(stdout);
    assert.deepEqual({ image, finding, label }, viaApi, "API and command agree");
    assert.equal(line.version, manifest.version);
    assert.equal((await Deno.readTextFile(join(project, "submission.csv"))).split("\n")[1], `image.png,${label}`);
    const missing = await npx("attribute", "none.png");
    assert.deepEqual([missing.code, missing.stdout], [1, ""]);
    assert.match((await npx("completion", "bash")).stdout, /^complete -F _model_tracer model-tracer$/m);
  });
});
