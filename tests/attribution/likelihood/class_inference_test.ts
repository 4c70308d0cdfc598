/** Inference of classes: what it costs at full size, its schedule, its weights, and planted classes. */
import assert from "node:assert/strict";
import {
  coarseTokens,
  defaultInference,
  inferClasses,
  inferenceCost,
  type InferenceRound,
  inferenceRounds,
  passShare,
  weighClasses,
} from "../../../attribution/likelihood/mod.ts";
import { rarFlops, varFlops } from "../../../bench/flops.ts";
import type { Device } from "../../../core/tensor/mod.ts";
import { syntheticSource, type TensorSource } from "../../../models/checkpoint/mod.ts";
import type { FamilyName } from "../../../models/family.ts";
import { rarVariants } from "../../../models/rar/config.ts";
import { loadRarVariant } from "../../../models/rar/family.ts";
import { transformerSpecs as rarSpecs } from "../../../models/rar/transformer.ts";
import { scaleStarts } from "../../../models/family.ts";
import { varVariants } from "../../../models/var/config.ts";
import { loadVarVariant } from "../../../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../../../models/var/transformer.ts";
import type { WeightSpec } from "../../../models/weights.ts";
import { withDevices } from "../../core/devices.ts";
import { smallVar } from "../../models/small_networks.ts";
import { type Drawing, drawRar, drawVar, noGuidance } from "./drawing.ts";

const rarB = rarVariants[0].config, var16 = varVariants[0].config;
const fullSizes = {
  rar: {
    patchNums: [16],
    conditionCost: { perToken: true, work: 1, memory: 2 },
    classes: rarB.classes,
    tokenCount: rarB.tokenCount,
    prefixes: Array.from({ length: rarB.tokenCount }, (_, i) => i + 1),
  },
  var: {
    patchNums: [1, 2, 3, 4, 5, 6, 8, 10, 13, 16],
    conditionCost: { perToken: false, work: 0.5, memory: 8 },
    classes: var16.classes,
    tokenCount: 680,
    prefixes: scaleStarts(var16.patchNums).slice(1),
  },
} as const;

/** Operations of one image's pass over the first tokens under one class, its condition included, by the formulas of bench. */
const flops: Record<FamilyName, (tokens: number) => number> = {
  rar(tokens) {
    // A row more than tokens, where the formula for whole passes counts two.
    const { condition, image } = rarFlops({ ...rarB, tokenCount: tokens - 1 });
    return condition + image;
  },
  var(tokens) {
    const scales = scaleStarts(var16.patchNums).indexOf(tokens);
    const { condition, image } = varFlops({ ...var16, patchNums: var16.patchNums.slice(0, scales) });
    return condition + image;
  },
};

for (const family of ["rar", "var"] as const) {
  Deno.test(`inference of ${family}'s 1000 classes costs fewer than 45 passes at full size`, () => {
    const sizes = fullSizes[family];
    const rounds = inferenceRounds(sizes);
    assert.equal(rounds[0].classes, 1000);
    assert.equal(rounds.at(-1)!.tokens, family === "rar" ? 256 : 424, "everything but VAR's last scale");
    assert.ok(rounds.at(-1)!.classes >= defaultInference.top);
    const exact = rounds.reduce((sum, { tokens, classes }) => sum + classes * flops[family](tokens), 0) /
      flops[family](sizes.tokenCount);
    assert.ok(exact < 45, `costs ${exact} passes`);
    // What is reported is a bound from above, and no wild one.
    const reported = inferenceCost(sizes, rounds);
    assert.ok(reported < 45 && exact <= reported && reported < 1.1 * exact, `${exact}, reported as ${reported}`);
  });
}

Deno.test("inferenceRounds() compares on more tokens what is left, and few classes on all tokens at once", () => {
  const { rar, var: other } = fullSizes;
  const shape = (rounds: InferenceRound[]) => rounds.map(({ tokens, classes }) => [tokens, classes]);
  assert.deepEqual(shape(inferenceRounds(other)), [[5, 1000], [14, 374], [55, 97], [155, 34], [424, 12]]);
  assert.deepEqual(shape(inferenceRounds({ ...rar, classes: 10 })), [[256, 10]]);
  assert.deepEqual(shape(inferenceRounds({ ...rar, classes: 3 }, { budget: 1, top: 5 })), [[256, 3]]);
  for (const budget of [5, 20, 80, 3000]) {
    for (const sizes of [rar, other]) {
      const rounds = inferenceRounds(sizes, { budget, top: 2 });
      rounds.slice(1).forEach((round, r) => {
        assert.ok(round.tokens > rounds[r].tokens && round.classes < rounds[r].classes);
      });
      if (budget >= 20) assert.ok(inferenceCost(sizes, rounds) <= budget + 2);
    }
  }
});

Deno.test("passShare() is 1 for all tokens, and grows with them", () => {
  for (const sizes of [fullSizes.rar, fullSizes.var]) {
    assert.equal(passShare(sizes, sizes.tokenCount), 1);
    assert.ok(passShare(sizes, sizes.prefixes[0]) < passShare(sizes, sizes.prefixes[1]));
  }
});

Deno.test("weighClasses() tempers the posterior and leaves out what weighs nothing", () => {
  const candidates = [-200, -108, -100, -104, -1e4].map((logLikelihood, i) => ({ class: 10 + i, logLikelihood }));
  const weights = weighClasses(candidates, { top: 3, sharpness: 0.25, leastWeight: 1e-3 });
  assert.deepEqual(weights.map((each) => each.class), [12, 13, 11]);
  const total = 1 + Math.exp(-1) + Math.exp(-2);
  [1, Math.exp(-1), Math.exp(-2)].forEach((power, i) => assert.ok(Math.abs(weights[i].weight - power / total) < 1e-12));
  const few = weighClasses(candidates, { top: 5, sharpness: 1, leastWeight: 0.01 });
  assert.deepEqual(few.map((each) => each.class), [12, 13]);
  assert.ok(Math.abs(few[0].weight + few[1].weight - 1) < 1e-12);
  const tied = weighClasses([{ class: 4, logLikelihood: -1 }, { class: 2, logLikelihood: -1 }]);
  assert.deepEqual(tied, [{ class: 2, weight: 0.5 }, { class: 4, weight: 0.5 }]);
});

Deno.test("inference of rar's classes from VAR's coarse scales costs fewer than 45 passes in all at full size", () => {
  const { rar, var: other } = fullSizes;
  const coarse = coarseTokens(other);
  assert.equal(coarse, 14);
  const before = inferenceRounds(other).slice(0, 2);
  assert.equal(before[1].tokens, coarse);
  const cost = inferenceCost(other, before);
  const { budget, top } = defaultInference, candidates = 64;
  const rounds = inferenceRounds({ ...rar, classes: candidates }, { budget: budget - cost, top });
  assert.equal(rounds[0].classes, candidates);
  assert.ok(rounds[0].tokens >= 30, "there is room for a good part of the image");
  assert.ok(cost + inferenceCost(rar, rounds) < 45);
});

/** Synthetic weights whose class embeddings are so much larger that classes matter. */
function strong(salt: string, specs: readonly WeightSpec[], table: string, firstClass: number): TensorSource {
  const source = syntheticSource(salt, specs);
  const width = specs.find(({ name }) => name === table)!.shape[1];
  return new Proxy(source, {
    get(target, key) {
      if (key !== "readF32") {
        const value = Reflect.get(target, key);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (name: string) => {
        const values = await target.readF32(name);
        if (name === table) { for (let i = firstClass * width; i < values.length; i++) values[i] *= 2; }
        // The modulation is what a class works through.
        if (/ada/.test(name) && name.endsWith("weight")) values.forEach((value, i) => values[i] = 4 * value);
        if (/^(lm_)?head\.weight$/.test(name)) values.forEach((value, i) => values[i] = 2 * value);
        return values;
      };
    },
  });
}

const classes = 40, codes = 16;

async function planted(name: FamilyName, device: Device): Promise<Drawing> {
  if (name === "rar") {
    const config = {
      hiddenSize: 16,
      layers: 2,
      heads: 2,
      intermediateSize: 32,
      tokenCount: 25,
      classes,
      codes,
      spareRows: 2,
    };
    const source = strong("planted", rarSpecs(config), "embeddings.weight", codes + 1);
    return drawRar(await loadRarVariant(device, source, config, "planted"), noGuidance.rar, 1);
  }
  const { family, variant: unused } = await smallVar(device, [1, 2, 3, 4, 5], codes);
  unused.dispose();
  const config = { ...unused.transformer.config, classes };
  const source = strong("planted", varSpecs(config), "class_emb.weight", 0);
  return drawVar(family, await loadVarVariant(device, source, config, "planted"), noGuidance.var, 1);
}

for (const name of ["rar", "var"] as const) {
  withDevices(
    `inferClasses() finds planted classes of ${name} in several rounds, whatever the batches`,
    async (device) => {
      const { family, variant, generate, dispose } = await planted(name, device);
      const labels = Array.from({ length: 24 }, (_, i) => (i * 17 + 3) % classes);
      const tokens = await generate(labels);
      const before = device.memory().liveBytes;
      const settings = { ...defaultInference, budget: 14, sharpness: 1 };
      const rounds = inferenceRounds(variant, settings);
      assert.ok(rounds.length >= 2, `${rounds.length} rounds`);
      const inferred = await inferClasses(device, family, variant, tokens, { settings, batch: 4 });
      assert.equal(device.memory().liveBytes, before);
      const places = inferred.map(({ top }, i) => top.findIndex((each) => each.class === labels[i]));
      const first = places.filter((place) => place === 0).length;
      const found = places.filter((place) => place >= 0).length;
      assert.ok(first >= 22 && found >= 23, `${first} of ${labels.length} first, ${found} among the first five`);
      for (const { top, cost } of inferred) {
        assert.ok(cost <= 14 + 1 && top.length <= 5);
        assert.ok(Math.abs(top.reduce((sum, { weight }) => sum + weight, 0) - 1) < 1e-9);
      }
      const cut = await inferClasses(device, family, variant, tokens, { settings, batch: 1, blockBytes: 5000 });
      assert.deepEqual(cut.map(({ top }) => top[0].class), inferred.map(({ top }) => top[0].class));
      dispose();
    },
  );
}

withDevices("inferClasses() begins where another family has come", async (device) => {
  const { family, variant, generate, dispose } = await planted("var", device);
  const own = await planted("rar", device);
  const labels = [3, 30, 17];
  const tokens = await generate(labels);
  const settings = { ...defaultInference, sharpness: 1, candidates: 6, leastWeight: 0 };
  const whole = await inferClasses(device, family, variant, tokens, { settings });
  const coarse = await inferClasses(device, family, variant, tokens, { settings, coarseOnly: true });
  const cost = inferenceCost(variant, [{ tokens: coarseTokens(variant), classes }]);
  coarse.forEach((each, i) => {
    assert.equal(each.coarse!.candidates.length, 6);
    assert.equal(each.coarse!.cost, cost);
    assert.equal(whole[i].coarse!.cost, cost);
    each.coarse!.candidates.forEach((candidate, c) => {
      const same = whole[i].coarse!.candidates[c];
      assert.equal(candidate.class, same.class);
      assert.ok(Math.abs(candidate.logLikelihood - same.logLikelihood) < 1e-3);
    });
  });
  // RAR's likelihood of the same tokens, with and without what is known before.
  const rarTokens = await own.generate(labels);
  const known = new Map([[3, -2], [8, -1], [30, -3], [17, -50], [21, 1000]]);
  const candidates = [...known].map(([each, logLikelihood]) => ({ class: each, logLikelihood }));
  const start = labels.map(() => ({ candidates, cost: 2.5 }));
  const free = await inferClasses(device, own.family, own.variant, rarTokens, {
    settings,
    start: start.map(({ cost }) => ({ candidates: candidates.map((each) => ({ ...each, logLikelihood: 0 })), cost })),
  });
  const bound = await inferClasses(device, own.family, own.variant, rarTokens, { settings, start });
  free.forEach(({ top, cost }, i) => {
    assert.equal(top[0].class, labels[i]);
    assert.ok(cost >= 2.5 + 5 - 1e-9);
    assert.ok(top.every((each) => known.has(each.class)));
    // Class 21 is all but certain beforehand.
    assert.equal(bound[i].top[0].class, 21);
    assert.equal(bound[i].coarse, undefined);
    const [a, b] = [free[i], bound[i]].map(({ top }) => {
      const weight = (name: number) => Math.log(top.find((each) => each.class === name)!.weight);
      return weight(3) - weight(8);
    });
    if (Number.isFinite(b)) assert.ok(Math.abs(b - (a - 1)) < 1e-3, `${a}, ${b}`);
  });
  await assert.rejects(
    inferClasses(device, own.family, own.variant, rarTokens, { start: start.slice(1) }),
    /expected a start for each of 3 images, got 2/,
  );
  own.dispose();
  dispose();
});
