/** Membership features and PRADA pairs out of a scorer, block by block, against the same from whole logits. */
import assert from "node:assert/strict";
import { TokenScorer } from "../../../../attribution/likelihood/mod.ts";
import {
  membershipFeatures,
  membershipRows,
  membershipTable,
  tokenStatistics,
  unpackStatistics,
} from "../../../../attribution/likelihood/membership/mod.ts";
import { initialScoreFunction, PradaScorer } from "../../../../attribution/likelihood/prada/mod.ts";
import { fromArray, scope, sub } from "../../../../core/tensor/mod.ts";
import { withDevices } from "../../../core/devices.ts";
import { smallVar } from "../../../models/small_networks.ts";

const codes = 32, patchNums = [1, 2, 3], label = 1;

withDevices("a scorer's columns give the membership features of whole logits", async (device) => {
  const { family, variant } = await smallVar(device, patchNums, codes);
  const n = variant.tokenCount, images = 2;
  const tokens = Int32Array.from({ length: images * n }, (_, t) => (t * 13 + 5) % codes);
  const scorer = new TokenScorer(device, family, variant, [{ guidance: 2.5, topK: 9, topP: 0.8 }], {
    rowStatistics: membershipRows,
    blockBytes: 5 * codes * 4 * 20, // a few rows
  });
  const scored = await scorer.score(tokens, [[label], [label]]);
  const whole = scope(() => {
    const ids = fromArray(device, tokens, [images, n]);
    const input = family.transformerInput(ids);
    const logitsOf = (own: number | null) => {
      const condition = variant.condition([own]);
      const logits = variant.logits(input, condition);
      condition.dispose();
      return logits;
    };
    const conditional = logitsOf(label);
    return [tokenStatistics(conditional, ids), tokenStatistics(sub(conditional, logitsOf(null)), ids)];
  });
  const [plain, cfg] = await Promise.all(whole.map((tensor) => tensor.data()));
  for (let image = 0; image < images; image++) {
    const own = tokens.subarray(image * n, (image + 1) * n);
    const expected = [
      ...membershipFeatures("plain", unpackStatistics(plain, n, image), own),
      ...membershipFeatures("cfg", unpackStatistics(cfg, n, image), own),
    ];
    membershipTable(scored[image][0][0].extra, own).forEach((value, i) => {
      assert.ok(Math.abs(value - expected[i]) <= 1e-4 * Math.max(1, Math.abs(expected[i])), `feature ${i} of ${image}`);
    });
  }
  // A scorer's scores are what PRADA takes.
  const prada = new PradaScorer(device, initialScoreFunction(patchNums.map((pn) => pn * pn)));
  assert.equal((await Array.fromAsync(prada.scores(scored.map(([[scores]]) => scores)))).length, images);
  for (const item of [...whole, prada, scorer, variant, family]) item.dispose();
  assert.equal(device.memory().liveBytes, 0);
});
