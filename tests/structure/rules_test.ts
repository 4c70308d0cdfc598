import { deepStrictEqual as equal, match } from "node:assert";
import { drawFolders, withDrawing } from "../../structure/drawing.ts";
import { findProblems, missingFiles } from "../../structure/check.ts";
import { againstOrder, cycles, knowsFamily, type Problem } from "../../structure/rules.ts";
import { parseSource } from "../../structure/source.ts";

const rows = [["low"], ["left", "right"], ["high/part"], ["high"]];
const tree = (files: Record<string, string>) => Object.entries(files).map(([path, text]) => parseSource(path, text));
const places = (problems: readonly Problem[]) => problems.map(({ path, line }) => `${path}:${line}`);

Deno.test("againstOrder() names the imports from an earlier folder into a later one, types included", () => {
  const problems = againstOrder(
    tree({
      "low/a.ts": 'import "./b.ts";\nimport type { High } from "../high/a.ts";',
      "left/a.ts": 'import "../low/a.ts";\nimport "../right/a.ts";',
      "high/a.ts": 'import "../left/a.ts"; import "./part/a.ts"; import "../low/a.ts";',
      "high/part/a.ts": '\n\nimport("../a.ts");\nnew URL("../b.ts", import.meta.url);',
      "right/a.ts": 'import "npm:x@1"; import "node:fs"; import data from "../high/data.json";',
    }),
    rows,
  );
  equal(places(problems), ["low/a.ts:2", "left/a.ts:2", "high/part/a.ts:3", "high/part/a.ts:4"]);
  match(problems[0].message, /imports high\/a\.ts, but high comes after low .*Move what is shared/);
  match(problems[1].message, /right is beside left/);
});

Deno.test("againstOrder() wants every file to be in a folder of the order", () => {
  equal(places(againstOrder(tree({ "new/a.ts": "" }), rows)), ["new/a.ts:1"]);
});

Deno.test("cycles() names the import that closes a cycle at run time, not one of types, not a worker", () => {
  const problems = cycles(tree({
    "a.ts": 'import "./b.ts";',
    "b.ts": '\nimport "./c.ts";',
    "c.ts": '\n\nimport { x } from "./a.ts";',
    "d.ts": 'import { type E } from "./e.ts";',
    "e.ts": 'import "./d.ts";\nnew Worker(new URL("./f.ts", import.meta.url));',
    "f.ts": 'import "./e.ts";',
    "g.ts": 'await import("./g.ts");',
  }));
  equal(places(problems), ["c.ts:3", "g.ts:1"]);
  match(problems[0].message, /a\.ts -> b\.ts -> c\.ts -> a\.ts/);
});

Deno.test("knowsFamily() finds imports, instanceof and comparisons outside of the family and the registry", () => {
  const problems = knowsFamily(
    tree({
      "models/fam/config.ts": "export class FamNet {}",
      "models/fam/net.ts": 'import "./config.ts"; if (x === "fam") x;',
      "models/registry.ts": 'import "./fam/config.ts";',
      "models/checkpoint/read.ts": "export class Reader {}",
      "models/generic.ts": 'import type { FamNet } from "./fam/config.ts";',
      "run/a.ts": "if (x instanceof FamNet) x;\nif (x instanceof models.FamNet) x;\nif (x instanceof Reader) x;",
      "run/b.ts":
        'x === "fam";\n"fam" != x;\nswitch (x) {\n  case "fam":\n}\n["fam", "other"].includes(x);\nx.startsWith("fam");',
      "run/c.ts": '// x === "fam"\nconst t = `x === "fam"`;\nx === "family"; f("fam"); const y = { a: "fam" };',
      "zoo/fam.ts": 'import "../models/fam/config.ts";',
      "parity/fam/a.ts": 'import "../../models/fam/config.ts";',
      "bench/a.ts": 'x === "fam";',
    }),
    ["bench"],
  );
  equal(places(problems), [
    "models/generic.ts:1",
    "run/a.ts:1",
    "run/a.ts:2",
    ...["1", "2", "4", "6", "7"].map((line) => `run/b.ts:${line}`),
  ]);
  match(problems[0].message, /imports models\/fam\/config\.ts: only .* may\. Ask the family/);
});

Deno.test("findProblems() lists what breaks any of the rules by path", () => {
  const sources = tree({ "util/b.ts": 'import "./b.ts";', "util/a.ts": 'import "../tasks/a.ts";', "tasks/a.ts": "" });
  equal(places(findProblems(sources)), ["util/a.ts:1", "util/b.ts:1"]);
});

Deno.test("missingFiles() follows links, and paths in backticks where asked to", async () => {
  const text = "[a](../here.ts) [b](gone.md#x) [c](https://x.y/z) [d](#d)\n`there/gone.ts` `models/<family>/`\n" +
    "```\n[e](gone.ts)\n```\n";
  const exists = (path: string) => Promise.resolve(path === "here.ts");
  equal(places(await missingFiles("docs/a.md", text, exists)), ["docs/a.md:1"]);
  equal(places(await missingFiles("docs/a.md", text, exists, true)), ["docs/a.md:1", "docs/a.md:2"]);
});

Deno.test("drawFolders() counts imports, the last folder first, and shows an arrow that points up", () => {
  const sources = tree({
    "low/a.ts": 'import "../high/a.ts";',
    "left/a.ts": 'import "../low/a.ts";\nimport type { B } from "../low/b.ts";',
    "high/a.ts": 'import "../left/a.ts"; import "./b.ts"; import "../low/a.ts";',
  });
  equal(drawFolders(sources, rows), "high  ↓ left 1  ↓ low 1\nleft  ↓ low 2\nlow   ↑ high 1");
});

Deno.test("withDrawing() replaces what is between the markers", () => {
  const [begin, end] = ["<!-- structure: begin, written by `deno task structure` -->", "<!-- structure: end -->"];
  equal(
    withDrawing(`a\n\n${begin}\nold\n${end}\n\nb\n`, "new"),
    `a\n\n${begin}\n\n\`\`\`text\nnew\n\`\`\`\n\n${end}\n\nb\n`,
  );
});
