/**
 * Token scores against generation itself and against plain arithmetic over whole logits; streaming; prefixes. Both devices.
 */
import assert from "node:assert/strict";
import { tokenLogProbs, TokenScorer, type TokenScores } from "../../../attribution/likelihood/mod.ts";
import { add, type Device, fromArray, keep, mul, scope, slice, sub, uniforms } from "../../../core/tensor/mod.ts";
import { guidanceScales } from "../../../models/rar/sampler.ts";
import { TokenDraw } from "../../../models/sampling.ts";
import { guidanceStrengths } from "../../../models/var/sampler.ts";
import { withDevices } from "../../core/devices.ts";
import { smallRar, smallVar } from "../../models/small_networks.ts";
import { type Drawing, drawRar, drawVar } from "./drawing.ts";

const rarSampler = { guidance: 6, power: 1.4, temperature: 1.3 };
const varSampler = { guidance: 2.5, topK: 9, topP: 0.8 };
const patchNums = [1, 2, 3];
const codes = 16;

async function small(name: "rar" | "var", device: Device): Promise<Drawing> {
  if (name === "rar") return drawRar(await smallRar(device, 9, codes), rarSampler, 5);
  const { family, variant } = await smallVar(device, patchNums, codes);
  return drawVar(family, variant, varSampler, 5);
}

function logSoftmaxAt(row: ArrayLike<number>, at: number, temperature = 1): number {
  const x = Array.from(row, (value) => value / temperature);
  const most = Math.max(...x);
  return x[at] - most - Math.log(x.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

function randomTokens(seed: number, count: number): Int32Array {
  return Int32Array.from(uniforms(seed, 0, count), (u) => Math.floor(u * codes));
}

function near(a: ArrayLike<number>, b: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(a.length, b.length, what);
  for (let i = 0; i < a.length; i++) {
    assert.ok(Math.abs(a[i] - b[i]) <= tolerance * Math.max(1, Math.abs(b[i])), `${what} ${i}: ${a[i]}, ${b[i]}`);
  }
}

/** Rounding of float32 sums in another order, relative to log-probabilities of up to a hundred nats. */
const tolerance = 2e-5;

for (const name of ["rar", "var"] as const) {
  withDevices(`TokenScorer gives ${name}'s guided log-probabilities as generation draws by them`, async (device) => {
    const { family, variant, sampler, generate, dispose } = await small(name, device);
    const labels = [0, 2, 1, 1, 0];
    const steps: Promise<Float32Array>[] = [];
    const tokens = await generate(labels, (values) => steps.push(values));
    const n = variant.tokenCount;
    const scorer = new TokenScorer(device, family, variant, [sampler], { batch: 4, blockBytes: 1 });
    const scores = await scorer.score(tokens, labels.map((label) => [label]));
    const temperature = name === "rar" ? rarSampler.temperature : 1;
    let start = 0;
    for (const values of await Promise.all(steps)) {
      const size = values.length / labels.length / codes;
      labels.forEach((_, b) => {
        for (let t = start; t < start + size; t++) {
          const row = values.subarray((b * size + t - start) * codes, (b * size + t - start + 1) * codes);
          const token = tokens[b * n + t];
          near([scores[b][0][0].guided[t]], [logSoftmaxAt(row, token, temperature)], tolerance, `guided ${b} ${t}`);
          const rank = 1 + row.filter((value) => value > row[token]).length;
          assert.equal(scores[b][0][0].rank[t], rank);
          assert.equal(scores[b][0][0].supported[t], 1, "what was drawn can be drawn");
        }
      });
      start += size;
    }
    assert.equal(start, n);
    scorer.dispose();
    dispose();
  });

  withDevices(`TokenScorer agrees with whole logits for ${name}, the support exactly`, async (device) => {
    const { family, variant, sampler, dispose } = await small(name, device);
    const n = variant.tokenCount, images = 12;
    const ids = randomTokens(3, images * n);
    const labels = Array.from({ length: images }, (_, b) => b % 3);
    const scorer = new TokenScorer(device, family, variant, [sampler]);
    const scores = await scorer.score(ids, labels.map((label) => [label]));
    // Everything again from whole logits; the support by the code that draws.
    const { conditional, unconditional, supported, logProbs } = scope(() => {
      const tokens = fromArray(device, ids, [images, n]);
      const input = family.transformerInput(tokens);
      const own = variant.condition(labels), none = variant.condition([null]);
      const conditional = variant.logits(input, own), unconditional = variant.logits(input, none);
      const logProbs = tokenLogProbs(variant, input, tokens, none);
      const [rule] = scorer.rules;
      const [factor, share, base] = (["factor", "share", "base"] as const).map((key) =>
        fromArray(device, Float32Array.from({ length: images * n }, (_, r) => rule.mixing[r % n][key]), [images * n, 1])
      );
      const [given, plain] = [conditional, unconditional].map((x) => x.reshape(-1, codes));
      const guided = add(mul(sub(given, mul(plain, share)), factor), mul(plain, base));
      const draw = new TokenDraw(device, codes, rule.support);
      const supported = draw.weights(guided);
      draw.dispose();
      own.dispose();
      none.dispose();
      return keep({ conditional, unconditional, supported, logProbs });
    });
    const [c, u, w, p] = await Promise.all([conditional, unconditional, supported, logProbs].map((x) => x.data()));
    [conditional, unconditional, supported, logProbs].forEach((x) => x.dispose());
    const factors = name === "rar"
      ? guidanceScales(rarSampler, n)
      : guidanceStrengths(varSampler.guidance, 3).flatMap((t, k) => new Array<number>(patchNums[k] ** 2).fill(1 + t));
    let outside = 0;
    for (let r = 0; r < images * n; r++) {
      const [b, t] = [Math.floor(r / n), r % n];
      const { conditional, unconditional, guided, rank, supported } = scores[b][0][0];
      const [cRow, uRow] = [c, u].map((x) => x.subarray(r * codes, (r + 1) * codes));
      const gRow = cRow.map((x, i) => uRow[i] + (x - uRow[i]) * factors[t]);
      near([conditional[t], unconditional[t]], [cRow, uRow].map((row) => logSoftmaxAt(row, ids[r])), tolerance, `${r}`);
      near([unconditional[t]], [p[r]], tolerance, "unconditional");
      const temperature = name === "rar" ? rarSampler.temperature : 1;
      near([guided[t]], [logSoftmaxAt(gRow, ids[r], temperature)], tolerance, `guided ${r}`);
      assert.equal(rank[t], 1 + gRow.filter((value) => value > gRow[ids[r]]).length);
      assert.equal(supported[t], name === "rar" || w[r * codes + ids[r]] > 0 ? 1 : 0);
      outside += 1 - supported[t];
    }
    if (name === "var") assert.ok(outside > 20, `only ${outside} tokens lie outside of the support`);
    scorer.dispose();
    dispose();
  });

  withDevices(
    `TokenScorer gives the same for ${name} however rows and images are cut, and frees everything`,
    async (device) => {
      const { family, variant, sampler, dispose } = await small(name, device);
      const n = variant.tokenCount;
      const ids = randomTokens(8, 5 * n);
      const classes = [[0, 2], [null], [1], [], [2, 1, 0, null]];
      const run = async (options: { batch: number; blockBytes: number }) => {
        const before = device.memory().liveBytes;
        const scorer = new TokenScorer(device, family, variant, [sampler], options);
        const scores = await scorer.score(ids, classes);
        scorer.dispose();
        assert.equal(device.memory().liveBytes, before);
        return scores;
      };
      const whole = await run({ batch: 64, blockBytes: 2 ** 24 });
      assert.deepEqual(whole.map((own) => own.length), classes.map((own) => own.length));
      for (const options of [{ batch: 1, blockBytes: 1 }, { batch: 3, blockBytes: 40000 }]) {
        const cut = await run(options);
        whole.forEach((own, b) =>
          own.forEach(([scores], c) => {
            for (const key of ["conditional", "unconditional", "guided", "rank", "supported"] as const) {
              near(cut[b][c][0][key], scores[key], tolerance, `${key} of image ${b}, class ${classes[b][c]}`);
            }
          })
        );
      }
      // Without a class there is nothing to be guided by.
      const [[plain]] = whole[1];
      assert.deepEqual(plain.conditional, plain.unconditional);
      if (name === "var") assert.deepEqual(plain.guided, plain.conditional);
      const values = (scores: TokenScores) => [...scores.conditional];
      assert.notDeepEqual(values(whole[0][0][0]), values(whole[0][1][0]));
      dispose();
    },
  );

  withDevices(`features() of the first tokens of ${name} are those of all tokens`, async (device) => {
    const { family, variant, dispose } = await small(name, device);
    const n = variant.tokenCount;
    assert.equal(variant.prefixes.at(-1), n);
    assert.deepEqual(variant.prefixes, name === "rar" ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : [1, 5, 14]);
    const ids = randomTokens(4, 2 * n);
    const at = (tokens: number) => {
      const own = scope(() => {
        const input = family.transformerInput(fromArray(device, ids, [2, n]));
        const condition = variant.condition([0, 2], tokens);
        const features = variant.hiddenStates(input, condition, tokens);
        condition.dispose();
        return { features, logits: variant.codeLogits(features) };
      });
      own.features.dispose();
      return own.logits;
    };
    const whole = at(n);
    const reference = scope(() => {
      const condition = variant.condition([0, 2]);
      const logits = variant.logits(family.transformerInput(fromArray(device, ids, [2, n])), condition);
      condition.dispose();
      return logits;
    });
    near(await whole.data(), await reference.data(), tolerance, "logits");
    for (const tokens of variant.prefixes) {
      const part = at(tokens), same = scope(() => slice(whole, 1, 0, tokens));
      near(await part.data(), await same.data(), tolerance, `${tokens} tokens`);
      part.dispose();
      same.dispose();
    }
    whole.dispose();
    reference.dispose();
    dispose();
  });
}
