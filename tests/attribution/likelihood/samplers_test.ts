/**
 * Likelihoods that are averaged over samplers: against one sampler at a time, and on tokens that were drawn with other
 * settings than the variant's own.
 */
import assert from "node:assert/strict";
import {
  logSumExp,
  mixedNames,
  mixSummaries,
  type Summaries,
  summarise,
  TokenScorer,
  type TokenScores,
  VariantScorer,
} from "../../../attribution/likelihood/mod.ts";
import type { Device } from "../../../core/tensor/mod.ts";
import { possibleSamplers, type Sampler } from "../../../models/draw_rule.ts";
import { openModelSet } from "../../../models/model_set.ts";
import { families } from "../../../models/registry.ts";
import { seriesSeed } from "../../../models/sampling.ts";
import { openCpuForTests, withDevices } from "../../core/devices.ts";
import { smallRar, smallVar } from "../../models/small_networks.ts";
import { tiny } from "../../sets.ts";
import { type Drawing, drawRar, drawVar, type RarSampler, type VarSampler } from "./drawing.ts";

const codes = 16;
const own = { rar: { guidance: 6, power: 1.4, temperature: 1.3 }, var: { guidance: 2.5, topK: 9, topP: 0.8 } };

/** Small networks of a family, whose images are drawn with `sampler`. */
async function small(name: "rar" | "var", device: Device, sampler: Sampler = own[name]): Promise<Drawing> {
  if (name === "rar") return drawRar(await smallRar(device, 9, codes), sampler as RarSampler, 5);
  const { family, variant } = await smallVar(device, [1, 2, 3], codes);
  return drawVar(family, variant, sampler as VarSampler, 5);
}

/** The variant's own sampler of the tests, then the family's other settings. */
function samplersOf(name: "rar" | "var"): readonly Sampler[] {
  return possibleSamplers(own[name], families.find((family) => family.name === name)!.otherSettings);
}

function near(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(got.length, expected.length, what);
  for (let i = 0; i < got.length; i++) {
    const bound = tolerance * Math.max(1, Math.abs(expected[i]));
    assert.ok(Math.abs(got[i] - expected[i]) <= bound, `${what} ${i}: ${got[i]}, expected ${expected[i]}`);
  }
}

Deno.test("possibleSamplers() has the variant's own first, and each once", () => {
  const sampler = { guidance: 3, topK: 9, topP: 0.8 };
  assert.deepEqual(possibleSamplers(sampler, [{ guidance: 0 }, { guidance: 3 }, { topP: 1, guidance: 6 }]), [
    sampler,
    { ...sampler, guidance: 0 },
    { guidance: 6, topK: 9, topP: 1 },
  ]);
  for (const { otherSettings, officialVariants } of families) {
    for (const { sampler } of officialVariants) {
      assert.equal(possibleSamplers(sampler, otherSettings).length, 1 + otherSettings.length);
    }
  }
});

for (const name of ["rar", "var"] as const) {
  withDevices(`TokenScorer gives the same for ${name}'s samplers together and one at a time`, async (device) => {
    const { family, variant, generate, dispose } = await small(name, device);
    const labels = [0, 2, 1];
    const tokens = await generate(labels);
    const score = async (samplers: readonly Sampler[]): Promise<TokenScores[][][]> => {
      const scorer = new TokenScorer(device, family, variant, samplers);
      const scores = await scorer.score(tokens, labels.map((label) => [label, null]));
      scorer.dispose();
      return scores;
    };
    const samplers = samplersOf(name), together = await score(samplers);
    for (const [s, sampler] of samplers.entries()) {
      (await score([sampler])).forEach((byClass, b) =>
        byClass.forEach(([alone], c) => {
          assert.equal(together[b][c].length, samplers.length);
          for (const key of ["conditional", "unconditional", "guided", "rank"] as const) {
            near(together[b][c][s][key], alone[key], 1e-6, `${key} of image ${b} under ${JSON.stringify(sampler)}`);
          }
          // The support is that of the variant's own sampler, whatever the others leave out.
          if (s === 0) near(together[b][c][s].supported, alone.supported, 0, `support of image ${b}`);
          else assert.deepEqual(together[b][c][s].supported, together[b][c][0].supported);
        })
      );
    }
    assert.throws(() => new TokenScorer(device, family, variant, []), /expected a sampler to score with, got none/);
    dispose();
  });

  withDevices(`the sampler that drew ${name}'s tokens has the largest mean likelihood`, async (device) => {
    const samplers = samplersOf(name), images = 96;
    const labels = Array.from({ length: images }, (_, b) => b % 3);
    for (const [drawn, sampler] of samplers.entries()) {
      // The likelihood is that before top-k and top-p, so all codes may be drawn.
      const whole = name === "var" ? { ...sampler, topK: 0, topP: 0 } : sampler;
      const { family, variant, generate, dispose } = await small(name, device, whole);
      const scorer = new TokenScorer(device, family, variant, samplers);
      const scores = await scorer.score(await generate(labels), labels.map((label) => [label]));
      const sums = samplers.map((_, s) => scores.reduce((sum, [of]) => sum + summarise(of[s])["guided.sum"], 0));
      assert.equal(sums.indexOf(Math.max(...sums)), drawn, `drawn with ${JSON.stringify(sampler)}: ${sums}`);
      scorer.dispose();
      dispose();
    }
  });

  withDevices(`VariantScorer averages ${name}'s likelihood over classes and samplers`, async (device) => {
    const { family, variant, generate, dispose } = await small(name, device);
    const tokens = await generate([0, 1]);
    const classes = [[{ class: 0, weight: 0.6 }, { class: 2, weight: 0.4 }], []];
    const condition = variant.condition([null]);
    const run = async (samplers: readonly Sampler[]): Promise<Summaries[]> => {
      const scorer = new VariantScorer(device, family, { variant, condition, samplers });
      const summaries = await scorer.summarise(tokens, classes);
      scorer.dispose();
      return summaries;
    };
    const samplers = samplersOf(name);
    const each = await Promise.all(samplers.map(async (sampler) => (await run([sampler]))[0]));
    const [mixed, plain] = await run(samplers);
    // Half of the prior is the own sampler's, the others share the rest.
    const prior = samplers.map((_, s) => s === 0 ? 0.5 : 0.5 / (samplers.length - 1));
    const expected = logSumExp(each.map((summaries, s) => Math.log(prior[s]) + summaries["guided.sum"]));
    near([mixed["guided.sum"]], [expected], 1e-6, "guided.sum");
    near([mixed["conditional.sum"]], [each[0]["conditional.sum"]], 1e-6, "conditional.sum");
    assert.deepEqual(Object.keys(mixed), mixedNames(name === "var" ? 3 : 0));
    for (const name of Object.keys(mixed).filter((name) => name.startsWith("own."))) {
      near([mixed[name]], [each[0][name.slice(4)]], 1e-6, `${name}: as if there were no other sampler`);
    }
    // One sampler: the scores of TokenScorer, mixed over classes alone. The same one twice is one.
    const scorer = new TokenScorer(device, family, variant, [own[name]]);
    const scores = await scorer.score(tokens, [[0, 2], [null]]);
    scorer.dispose();
    const starts = name === "var" ? [0, 1, 5, 14] : [];
    const alone = mixSummaries(scores[0].map(([of]) => summarise(of, starts)), [0.6, 0.4], variant.tokenCount);
    const shown = (summaries: Summaries) => Object.keys(alone).map((name) => summaries[name]);
    near(shown(each[0]), Object.values(alone), 1e-6, "one sampler");
    near(shown((await run([own[name], own[name]]))[0]), Object.values(alone), 1e-6, "one sampler twice");
    // Without a class there is no guidance, so all samplers give the same.
    near([plain["guided.sum"]], [summarise(scores[1][0][0])["guided.sum"]], 1e-6, "without a class");
    condition.dispose();
    dispose();
  });
}

Deno.test("images drawn with other guidance keep their variant", async () => {
  const set = await openModelSet(tiny);
  const device = await openCpuForTests({ threads: 1 });
  const family = await set.loadTokenizer(device, "rar");
  const names = set.variants("rar"), labels = Array.from({ length: 12 }, (_, i) => i % 10);
  const images = labels.map((_, i) => i);
  const draws: { variant: string; tokens: Int32Array }[] = [];
  for (const name of names) {
    const variant = await set.loadVariant(device, name);
    const sampler = { ...set.samplerOf(name), guidance: 4, power: 0 };
    const { tokens, fHat } = await variant.generate(family, sampler, { labels, images, seed: seriesSeed(77, name) });
    draws.push({ variant: name, tokens: await tokens.ints() });
    [tokens, fHat, variant].forEach((item) => item.dispose());
  }
  /** By scoring variant: the likelihood of every image under its own sampler, and the average over all. */
  const values = new Map<string, { own: number; average: number }[]>();
  for (const name of names) {
    const variant = await set.loadVariant(device, name);
    const scorer = new TokenScorer(device, family, variant, set.samplersOf(name), { batch: 12 });
    for (const { tokens } of draws) {
      const scores = await scorer.score(tokens, labels.map((label) => [label]));
      const sums = scores.map(([bySampler]) => bySampler.map((of) => summarise(of)["guided.sum"]));
      values.set(name, [...values.get(name) ?? [], ...sums.map((of) => ({ own: of[0], average: logSumExp(of) }))]);
    }
    scorer.dispose();
    variant.dispose();
  }
  const right = (key: "own" | "average") =>
    draws.flatMap(({ variant }) => labels.map(() => variant)).filter((truth, i) => {
      const all = names.map((name) => values.get(name)![i][key]);
      return names[all.indexOf(Math.max(...all))] === truth;
    }).length;
  assert.ok(right("average") >= 46, `only ${right("average")} of 48 by the average`);
  assert.ok(right("own") <= 40, `${right("own")} of 48 by the own sampler alone: the images show nothing`);
  family.dispose();
  device.close();
});
