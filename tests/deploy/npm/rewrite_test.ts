/** How modules change on their way into the package for npm, and what its package.json says. */
import assert from "node:assert/strict";
import manifest from "../../../deno.json" with { type: "json" };
import { packagedDenoJson, packagedTasks, packageJson } from "../../../deploy/npm/package_json.ts";
import { entryOf, noteTaken, rewritten, type Taken, vendored } from "../../../deploy/npm/rewrite.ts";
import { readCommandLine, taskList } from "../../../tasks/cli/launch.ts";

const text = `// What an import of "npm:comment@1.0.0" would do, and import it from "./comment.ts".
import * as v from "npm:valibot@1.5.0";
import decode, { init as start, other } from "npm:@jsquash/webp@1.5.0/decode.js";
import source module from "npm:@imagemagick/magick-wasm@0.0.43/magick.wasm";
import { a } from "./a.ts";
import "../b.ts";
export { c } from "../c/d.ts";
const zip = await import("npm:@zip.js/zip.js@2.24.0");
const lazy = await import("./lazy.ts");
new Worker(new URL("./worker.ts", import.meta.url));
const words = "import { x } from \\"npm:text@1.0.0\\"", file = "./data.ts";
`;

Deno.test("rewritten() names files of the package, and packages where they lie in it", () => {
  const lines = rewritten(text, "attribution/images/x.js").split("\n");
  assert.deepEqual(lines.slice(1, 10), [
    'import * as v from "../../npm/valibot.js";',
    'import decode, { init as start, other } from "../../npm/jsquash_webp_decode.js";',
    'import source module from "../../npm/magick.wasm";',
    'import { a } from "./a.js";',
    'import "../b.js";',
    'export { c } from "../c/d.js";',
    'const zip = await import("../../npm/zip.js_zip.js");',
    'const lazy = await import("./lazy.js");',
    'new Worker(new URL("./worker.js", import.meta.url));',
  ]);
  assert.match(lines[10], /file = "\.\/data\.ts";$/, "a string that is no import stays");
  assert.equal(rewritten('import "npm:pako@2.1.0";', "mod.js"), 'import "./npm/pako.js";');
});

Deno.test("noteTaken() notes names, namespaces and lazy imports, and nothing of comments, strings and WebAssembly", () => {
  const taken = new Map<string, Taken>();
  noteTaken(text, taken);
  noteTaken('import { more } from "npm:valibot@1.5.0";', taken);
  assert.deepEqual([...taken.keys()].sort(), [
    ...["@jsquash/webp@1.5.0/decode.js", "@zip.js/zip.js@2.24.0", "valibot@1.5.0"],
  ]);
  assert.equal(
    entryOf("@jsquash/webp@1.5.0/decode.js", taken.get("@jsquash/webp@1.5.0/decode.js")!),
    'export { default, init, other } from "npm:@jsquash/webp@1.5.0/decode.js";\n',
  );
  assert.equal(entryOf("valibot@1.5.0", taken.get("valibot@1.5.0")!), 'export * from "npm:valibot@1.5.0";\n');
});

Deno.test("vendored() gives every module a file of its own", () => {
  const all = ["hono@4.13.19", "hono@4.13.19/cors", "@hono/node-server@2.1.8", "csv-parse@6.1.0/sync"];
  assert.deepEqual(all.map(vendored), ["hono.js", "hono_cors.js", "hono_node-server.js", "csv-parse_sync.js"]);
  assert.equal(vendored("canvaskit-wasm@0.42.0/bin/canvaskit.wasm"), "canvaskit.wasm");
});

Deno.test("the package has the version, the modules and the tasks of the repository, and their rights", () => {
  const { name, version, exports, bin } = packageJson(manifest) as Record<string, Record<string, unknown>>;
  assert.deepEqual([name, version], ["model-tracer", manifest.version]);
  assert.deepEqual(Object.keys(exports), Object.keys(manifest.exports));
  assert.deepEqual(exports["./service"], {
    types: "./attribution/service/mod.d.ts",
    default: "./attribution/service/mod.js",
  });
  assert.deepEqual(bin, { "model-tracer": "tasks/npm.js" });
  const packaged = packagedDenoJson(manifest) as { version: string; tasks: Record<string, string> };
  assert.deepEqual(Object.keys(packaged.tasks), packagedTasks);
  for (const task of packagedTasks) {
    const line = manifest.tasks[task as keyof typeof manifest.tasks];
    assert.equal(packaged.tasks[task].replaceAll(".js", ".ts"), line);
    assert.doesNotMatch(packaged.tasks[task], /\.ts\b/);
    assert.match(taskList(packaged), new RegExp(`^  ${task} `, "m"));
  }
  assert.throws(() => readCommandLine(["bench"], packaged), /expected a task, got bench/);
});
