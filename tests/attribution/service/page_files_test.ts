/** The files of the page: all are served, the library in it is the published one, and all of it stays small. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import "npm:fflate@0.8.3";
import { loadPage, pageFiles } from "../../../attribution/service/page.ts";
import { root } from "./server.ts";

const folder = join(root, "attribution", "service", "page");

async function filesBelow(path: string, prefix = ""): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(path)) {
    if (isDirectory) names.push(...await filesBelow(join(path, name), `${prefix}${name}/`));
    else names.push(prefix + name);
  }
  return names;
}

Deno.test("every file of the page is served, and what pages and scripts name is there", async () => {
  assert.deepEqual([...pageFiles].sort(), (await filesBelow(folder)).sort());
  const page = await loadPage();
  const text = new TextDecoder();
  for (const [path, { body, type }] of page) {
    if (path.includes("vendor") || !/html|javascript/.test(type)) continue;
    const named = text.decode(body).matchAll(/(?:from "\.\/|(?:src|href)="\/page\/|\("\/page\/)([\w./]+)"/g);
    for (const [, name] of named) assert.ok(page.has(`/page/${name}`), `${path} wants ${name}`);
  }
});

Deno.test("the page has less than 150 kB", async () => {
  const sizes = [...await loadPage()].map(([, { body }]) => body.length);
  const total = sizes.reduce((a, b) => a + b);
  assert.ok(total < 150_000, `${total} bytes`);
});

Deno.test("fflate is that of its package, but for a line that says so", async () => {
  const require = createRequire(import.meta.url);
  const path = join(dirname(require.resolve("fflate")), "..", "umd", "index.js");
  const [own, published] = await Promise.all([
    Deno.readTextFile(join(folder, "vendor", "fflate.js")),
    Deno.readTextFile(path),
  ]);
  const [first, ...rest] = own.split("\n");
  assert.match(first, /^\/\* fflate 0\.8\.3, .*MIT License.*\*\/$/);
  assert.equal(rest.join("\n"), published);
});
