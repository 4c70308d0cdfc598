/**
 * Products in float16 on WebGPU: by how much log-likelihoods move, and whether the variant with the highest one stays
 * the same. The images are drawn from the variants of the embedded set; the CPU device in float32 is the reference.
 */
import assert from "node:assert/strict";
import { TokenScorer } from "../../../attribution/likelihood/mod.ts";
import type { Device } from "../../../core/tensor/mod.ts";
import { disposeAll } from "../../../core/tensor/mod.ts";
import type { FamilyName } from "../../../models/family.ts";
import { type ModelSet, openModelSet } from "../../../models/model_set.ts";
import { cpuOnly, openCpuForTests } from "../../core/devices.ts";
import { tiny } from "../../sets.ts";

const perVariant = 6;

interface Drawn {
  readonly tokens: Int32Array;
  readonly labels: readonly number[];
}

/** Images of every variant, in the order of variants. */
async function draw(device: Device, set: ModelSet, family: FamilyName): Promise<Drawn> {
  const tokenizer = await set.loadTokenizer(device, family);
  const images = Array.from({ length: perVariant }, (_, i) => i);
  const tokens: number[] = [], labels: number[] = [];
  for (const name of set.variants(family)) {
    const variant = await set.loadVariant(device, name);
    const own = images.map((i) => (37 * i + 5) % variant.classes);
    const drawn = await variant.generate(tokenizer, set.samplerOf(name), { images, labels: own, seed: 11 });
    tokens.push(...await drawn.tokens.ints());
    labels.push(...own);
    disposeAll(Object.values(drawn));
    variant.dispose();
  }
  tokenizer.dispose();
  return { tokens: Int32Array.from(tokens), labels };
}

/** Log-likelihood of every image under its class, by variant. */
async function score(device: Device, set: ModelSet, family: FamilyName, drawn: Drawn): Promise<number[][]> {
  const tokenizer = await set.loadTokenizer(device, family);
  const all: number[][] = drawn.labels.map(() => []);
  for (const name of set.variants(family)) {
    const variant = await set.loadVariant(device, name);
    const scorer = new TokenScorer(device, tokenizer, variant, [set.samplerOf(name)]);
    const scores = await scorer.score(drawn.tokens, drawn.labels.map((label) => [label]));
    scores.forEach(([[{ conditional }]], i) => all[i].push(conditional.reduce((a, b) => a + b, 0)));
    scorer.dispose();
    variant.dispose();
  }
  tokenizer.dispose();
  return all;
}

const best = (values: readonly number[]) => values.indexOf(Math.max(...values));
/** By how much the best variant leads. */
const margin = (values: readonly number[]) => {
  const [first, second] = values.toSorted((a, b) => b - a);
  return first - second;
};
/** Log-likelihoods less that of the first variant: what decisions look at. */
const ratios = (values: readonly number[]) => values.map((value) => value - values[0]);

if (!cpuOnly) {
  for (const family of ["rar", "var"] as const) {
    Deno.test(`float16 products move ${family}'s log-likelihood ratios far less than variants differ`, async () => {
      const { openWebGpuDevice } = await import("../../../core/wgsl/mod.ts");
      const set = await openModelSet(tiny);
      const cpu = await openCpuForTests();
      const half = await openWebGpuDevice({ allowSoftware: true, tiles: "hardware", arithmetic: "f16" });
      try {
        const drawn = await draw(cpu, set, family);
        const wanted = await score(cpu, set, family, drawn), got = await score(half, set, family, drawn);
        const errors = wanted.flatMap((values, i) => {
          const exact = ratios(values);
          return ratios(got[i]).map((value, v) => Math.abs(value - exact[v]));
        });
        const margins = wanted.map(margin).sort((a, b) => a - b);
        const worst = Math.max(...errors), median = margins[margins.length >> 1];
        const changed = wanted.filter((values, i) => best(values) !== best(got[i])).length;
        console.log(
          `${family}: ${margins.length} images, ratios off by at most ${
            worst.toFixed(3)
          } nats; the best variant leads by ` +
            `${median.toFixed(1)} (median), ${margins[0].toFixed(2)} (least); ${changed} decisions changed`,
        );
        assert.ok(worst > 1e-4, "float16 was not used");
        assert.ok(worst < 0.15 && worst < median / 20, `${worst} of ${median}`);
        wanted.forEach((values, i) => {
          if (margin(values) > 2 * worst) assert.equal(best(got[i]), best(values), `image ${i}`);
        });
      } finally {
        cpu.close();
        half.close();
      }
    });
  }
}
