/** `attribute --format`: the same verdicts as a table, CSV, one JSON document, and JSON Lines. */
import assert from "node:assert/strict";
import { parse } from "npm:csv-parse@6.1.0/sync";
import type { EvidenceLine } from "../../attribution/evidence/evidence.ts";
import { type Format, formatOf, openPrinter } from "../../tasks/cli/formats.ts";
import { verdictHead } from "../../tasks/cli/verdicts.ts";

const unreadable = (image: string): EvidenceLine => ({
  image,
  label: "unreadable",
  error: { reason: "empty", message: "0 bytes" },
});
const lines = [unreadable("a.png"), unreadable('=b, "c".png')];

/** What a printer writes to stdout. */
function printed(format: Format, results: readonly EvidenceLine[], columns?: readonly ["sha256"]): string {
  let text = "";
  const print = (more: string) => {
    text += more;
    return true;
  };
  const printer = openPrinter(format, { print, printStyled: print }, { images: [], columns });
  for (const line of results) printer.add(line);
  printer.end();
  return text;
}

Deno.test("json is one document, jsonl a line per result, and both have the whole evidence", () => {
  assert.deepEqual(JSON.parse(printed("json", lines)), lines);
  assert.deepEqual(JSON.parse(printed("json", [])), []);
  const rows = printed("jsonl", lines).trimEnd().split("\n");
  assert.deepEqual(rows.map((row) => JSON.parse(row)), lines);
  assert.equal(printed("jsonl", []), "");
});

Deno.test("csv has the columns that are named, else what decides, and a head without any row, too", () => {
  const read = (text: string) => parse(text, { columns: true }) as Record<string, string>[];
  const rows = read(printed("csv", lines));
  assert.deepEqual(rows[0], {
    ...{ image_name: "a.png", label: "unreadable", finding: "", confidence: "", log10lr: "" },
    reasons: "0 bytes",
  });
  assert.equal(rows[1].image_name, '\'=b, "c".png', "a spreadsheet does not run it");
  assert.deepEqual(Object.keys(read(printed("csv", lines, ["sha256"]))[0]), ["image_name", "label", "sha256"]);
  assert.equal(printed("csv", []), "image_name,label,finding,confidence,log10lr,reasons\n");
});

Deno.test("table has its head once, above the first row", () => {
  const [head, ...rows] = printed("table", lines).trimEnd().split("\n");
  assert.equal(`${head}\n`, verdictHead({ imageWidth: 12 }));
  assert.equal(rows.length, 2);
  assert.equal(printed("table", []), "");
});

Deno.test("formatOf() takes --json for --format jsonl, and refuses it beside another format", () => {
  assert.equal(formatOf({ json: false }), "table");
  assert.equal(formatOf({ json: true }), "jsonl");
  assert.equal(formatOf({ json: true, format: "jsonl" }), "jsonl");
  assert.equal(formatOf({ json: false, format: "csv" }), "csv");
  assert.throws(() => formatOf({ json: true, format: "csv" }), /--json: is --format jsonl, got --format csv too/);
});
