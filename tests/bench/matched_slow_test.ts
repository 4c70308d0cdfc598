/** The tables of docs/matched.md, measured on a few images of the embedded set. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { measureMatched } from "../../bench/matched.ts";
import type { LikelihoodFigures } from "../../bench/matched/likelihoods.ts";
import type { SignalFigures } from "../../bench/matched/signals.ts";
import { withFolder } from "../attribution/files.ts";
import { tiny } from "../sets.ts";
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
