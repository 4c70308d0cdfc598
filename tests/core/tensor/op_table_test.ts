/**
 * The table of ops at the head of core/tensor/ops/mod.ts names every op, and files that exist.
 */
import assert from "node:assert/strict";
import * as ops from "../../../core/tensor/ops/mod.ts";

const core = new URL("../../../core/", import.meta.url);

function filesOf(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, core))].map(({ name }) => name);
}

/** Cells of the rows below the head. */
function tableRows(): string[][] {
  const text = Deno.readTextFileSync(new URL("tensor/ops/mod.ts", core));
  const lines = text.slice(0, text.indexOf("*/")).split("\n").filter((line) => line.startsWith(" * |"));
  return lines.slice(2).map((line) => line.slice(3).split("|").slice(1, -1).map((cell) => cell.trim()));
}

Deno.test("the table of ops names every op", () => {
  const named = tableRows().flatMap(([names]) => names.split(/[ ,]+/));
  const internal = /Gradient$|^(reduce|argReduce)$/;
  assert.deepEqual(Object.keys(ops.opTable).filter((name) => !internal.test(name) && !named.includes(name)), []);
});

Deno.test("the table of ops names files that exist", () => {
  const folders = [["tensor/ops/"], ["wgsl/kernels/"], ["cpu/kernels/", "cpu/assembly/"]];
  for (const [, ...cells] of tableRows()) {
    for (const [i, cell] of cells.entries()) {
      for (const name of cell.split(", ")) {
        const pattern = new RegExp(`^${RegExp.escape(name).replace("\\*", ".*")}$`);
        for (const folder of folders[i]) {
          assert.ok(filesOf(folder).some((file) => pattern.test(file)), `${folder}${name}`);
        }
      }
    }
  }
});
