import { deepStrictEqual as equal, strictEqual } from "node:assert";
import { importsOf, maskLiterals } from "../../structure/source.ts";

Deno.test("importsOf() tells values, types, lazy imports and workers apart, with their lines", () => {
  const text = [
    'import a, { b } from "./a.ts";',
    'import type { C } from "./c.ts";',
    'import { type D, type E } from "./d.ts";',
    'import { type F, g } from "./f.ts";',
    "import {",
    "  h,",
    '} from "./h.ts";',
    'import * as i from "./i.ts";',
    'import "./j.ts";',
    'export * from "./k.ts";',
    'export type { L } from "./l.ts";',
    'const m = await import("./m.ts");',
    'type N = import("./n.ts").N;',
    'new Worker(new URL("./o.ts", import.meta.url), { type: "module" });',
    'new URL("./p.json", import.meta.url);',
    'import type from "./q.ts";',
  ].join("\n");
  equal(importsOf(text).map(({ specifier, kind, line }) => `${line} ${kind} ${specifier}`), [
    "1 static ./a.ts",
    "2 type ./c.ts",
    "3 type ./d.ts",
    "4 static ./f.ts",
    "5 static ./h.ts",
    "8 static ./i.ts",
    "9 static ./j.ts",
    "10 static ./k.ts",
    "11 type ./l.ts",
    "12 lazy ./m.ts",
    "13 type ./n.ts",
    "14 worker ./o.ts",
    "16 static ./q.ts",
  ]);
});

Deno.test("importsOf() sees no import in comments, strings, templates and regular expressions", () => {
  const text = [
    '// import { a } from "./a.ts";',
    '/* import "./b.ts"; */',
    "const c = 'import \"./c.ts\"';",
    'const d = `import { d } from "./d.ts"; ${`import "./e.ts"`} import("./f.ts")`;',
    'const g = /import "x\\/.ts"[/"]/.test(c) ? 4 / 2 : 1 / 2;',
    "export class A {}",
    'export const from = "./h.ts";',
    'const i = object.import("./i.ts");',
    'import { last } from "./last.ts";',
  ].join("\n");
  equal(importsOf(text).map(({ specifier, line }) => `${line} ${specifier}`), ["9 ./last.ts"]);
});

Deno.test("maskLiterals() keeps positions and the code inside of templates", () => {
  const text = 'const a = `x ${f({ b: "s" })} y\n`; // end';
  const code = maskLiterals(text);
  strictEqual(code, 'const a = `__${f({ b: "_" })}__\n`;       ');
  strictEqual(code.length, text.length);
});
