/** The tables of docs/matched.md, measured on a few images of the embedded set, and of untrained networks. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { measureMatched } from "../../bench/matched.ts";
import { type BudgetFigures, comparedBudgets } from "../../bench/matched/budgets.ts";
import type { LikelihoodFigures } from "../../bench/matched/likelihoods.ts";
import type { SignalFigures } from "../../bench/matched/signals.ts";
import { withFolder } from "../attribution/files.ts";
import { standIns, tiny } from "../sets.ts";
import { matchedOptions } from "./matched_data.ts";

Deno.test("measureMatched() finds the embedded set's tokens, and what knowing them changes", async () => {
  await withFolder(async (dir) => {
    const options = await matchedOptions(dir, tiny, 3), { document, out } = options;
    await measureMatched({ ...options, parts: [] });
    const text = await Deno.readTextFile(document);
    assert.ok(!/measured yet/.test(text), text);
    for (const row of ["`joint`", "`own-sample`", "JPEG 90", "5 pixels cropped off each side"]) {
      assert.ok(text.includes(`| ${row} |`), row);
    }
    const signals: SignalFigures[] = JSON.parse(await Deno.readTextFile(join(out, "signals.json"))).result;
    // The embedded set's inverse decoders find nearly all tokens, its own encoders fewer.
    for (const family of ["rar", "var"]) {
      const [own, inverse] = signals.filter((row) => row.family === family);
      assert.deepEqual([own.encoder, inverse.encoder], ["original", "inverse"]);
      assert.ok(inverse.recovered > 0.8 && inverse.recovered > own.recovered, `${inverse.recovered} ${own.recovered}`);
    }
    const read = async (family: string): Promise<LikelihoodFigures> =>
      JSON.parse(await Deno.readTextFile(join(out, `likelihoods-${family}.json`))).result;
    // Not all of RAR's tokens are found, so that true ones are likelier under the model that drew them.
    const { cases } = await read("rar");
    assert.ok(cases.both.nats.rarb.guided[0] < cases.nothing.nats.rarb.guided[0]);
    assert.ok(cases.both.margin > cases.class.margin);
    // All of VAR's are, so that only the class makes a difference.
    const { cases: ofVar } = await read("var");
    assert.deepEqual(ofVar.tokens.fitted, ofVar.nothing.fitted);
    assert.equal(ofVar.both.margin, ofVar.class.margin);
  });
});

Deno.test("measureMatched() measures every part once, and writes the tables of what there is into the document", async () => {
  await withFolder(async (dir) => {
    const budgets = [comparedBudgets[0], comparedBudgets[3]];
    const options = { ...await matchedOptions(dir, standIns, 2), budgets }, { document, out } = options;
    const lines: string[] = [];
    const run = (...parts: string[]) => measureMatched({ ...options, parts, log: (line) => lines.push(line) });
    await assert.rejects(run("nothing"), /expected parts \(signals, .*\), got nothing/);
    await run("tables");
    assert.match(await Deno.readTextFile(document), /Not measured yet/);
    await run("signals", "likelihoods", "budgets");
    const text = await Deno.readTextFile(document);
    assert.ok(text.startsWith("# A\n") && text.endsWith("\n\nB\n"));
    for (const part of ["Methods", "After processing"]) {
      assert.match(text, new RegExp(`### ${part}\\n\\nNot measured yet\\.`));
    }
    const signals: SignalFigures[] = JSON.parse(await Deno.readTextFile(join(out, "signals.json"))).result;
    // Two photographs and images of other generators are three outliers, of which one went through VAR's tokenizer.
    assert.deepEqual(signals.map(({ images }) => images), signals.map(() => ({ own: 4, photographs: 1, outliers: 2 })));
    const path = join(out, "likelihoods-var.json");
    const { result }: { result: LikelihoodFigures } = JSON.parse(await Deno.readTextFile(path));
    assert.deepEqual(result.images, { test: 4, fit: 8 });
    assert.deepEqual(Object.keys(result.cases), ["nothing", "class", "tokens", "both"]);
    // Untrained encoders find next to none of the tokens.
    assert.ok(result.cases.both.margin > 0 && result.cases.both.margin > result.cases.class.margin + 0.5);
    const cheap = join(out, "budgets-var.json");
    const { result: cheaper }: { result: BudgetFigures } = JSON.parse(await Deno.readTextFile(cheap));
    assert.deepEqual(cheaper.budgets.map(({ budget, top }) => ({ budget, top })), budgets);
    assert.ok(cheaper.budgets[0].flops > cheaper.budgets[1].flops);
    for (const { kept, first, fitted } of cheaper.budgets) {
      assert.ok(kept >= first && Object.keys(fitted).length === 4);
    }
    assert.match(text, /\| VAR, true tokens \| 10, 1 \|/);
    lines.length = 0;
    await run("signals", "likelihoods", "budgets");
    assert.equal(lines.filter((line) => line.endsWith(": is there")).length, 5);
    // Other numbers of images are measured anew.
    lines.length = 0;
    await measureMatched({ ...options, fit: 1, parts: ["signals"], log: (line) => lines.push(line) });
    assert.equal(lines.filter((line) => line.endsWith(": is there")).length, 1);
  });
});
