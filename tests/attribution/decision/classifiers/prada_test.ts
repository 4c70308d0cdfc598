/** PRADA's score functions on the host against those on a device. */
import assert from "node:assert/strict";
import { pradaExtras, pradaScore, readPrada, storePrada } from "../../../../attribution/decision/classifiers/prada.ts";
import { initialScoreFunction, PradaScorer } from "../../../../attribution/likelihood/prada/mod.ts";
import { openDevice } from "../../../../core/open_device.ts";
import { normals } from "../../../../core/tensor/mod.ts";

const device = await openDevice("cpu", { threads: 1 });

Deno.test("pradaScore() is what the scorer on a device gives, with scales and without", async () => {
  for (const scaleLengths of [null, [1, 4, 9]]) {
    const own = initialScoreFunction(scaleLengths, { hidden: 16, seed: 3 });
    const pairs = [0, 1, 2].map((i) => ({
      conditional: Float32Array.from(normals(5, i, 14), (x) => -4 - x),
      unconditional: Float32Array.from(normals(6, i, 14), (x) => -5 - x),
    }));
    const scorer = new PradaScorer(device, own);
    try {
      let i = 0;
      for await (const { score } of scorer.scores(pairs)) {
        const found = pradaScore(own, pairs[i++]);
        assert.ok(Math.abs(found - score) < 1e-5 * Math.max(1, Math.abs(score)), `${found} and ${score}`);
      }
      assert.equal(i, 3);
    } finally {
      scorer.dispose();
    }
    // What is stored is read back, and gives the same scores.
    const back = readPrada(JSON.parse(JSON.stringify(storePrada(new Map([["rarb", own]]))))).get("rarb")!;
    assert.equal(pradaScore(back, pairs[0]), pradaScore(own, pairs[0]));
    const extras = pradaExtras(new Map([["rarb", own]]), "c".repeat(64));
    const scores = {
      ...pairs[0],
      guided: pairs[0].conditional,
      rank: pairs[0].conditional,
      supported: pairs[0].conditional,
      extra: {},
    };
    assert.deepEqual(extras.summarise(scores, new Int32Array(14), "rarb"), {
      "prada.score": pradaScore(own, pairs[0]),
    });
    assert.deepEqual(extras.summarise(scores, new Int32Array(14), "rarl"), {});
  }
});
