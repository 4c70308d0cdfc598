/**
 * Sampling from whole networks: how often each sequence of tokens comes against what the rules of the official samplers say
 * of teacher-forced logits (which have no key/value cache), and what an image does and does not depend on. Both devices.
 */
import type { RarSampler } from "../../models/rar/config.ts";
import type { VarSampler } from "../../models/var/config.ts";
import assert from "node:assert/strict";
import { argmax, type Device, disposeAll, fromArray, scope } from "../../core/tensor/mod.ts";
import type { Condition } from "../../models/family.ts";
import { type ModelSet, openModelSet } from "../../models/model_set.ts";
import { generateRar } from "../../models/rar/generate.ts";
import { RarVariant } from "../../models/rar/family.ts";
import type { GenerateOptions } from "../../models/sampling.ts";
import { generateVar } from "../../models/var/generate.ts";
import { VarImageTokenizer, VarVariant } from "../../models/var/family.ts";
import { withDevices } from "../core/devices.ts";
import { chiSquare } from "./chi_square.ts";
import { smallRar, smallVar } from "./small_networks.ts";
import { standIns } from "../sets.ts";

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

/** All sequences of `n` tokens of `codes` codes; sequence s has the digits of s, the first the most significant. */
function allSequences(n: number, codes: number): Int32Array<ArrayBuffer> {
  const tokens = new Int32Array(codes ** n * n);
  for (let s = 0; s < codes ** n; s++) {
    for (let t = n - 1, rest = s; t >= 0; t--, rest = Math.floor(rest / codes)) tokens[s * n + t] = rest % codes;
  }
  return tokens;
}

/** softmax(logits) in float64, restricted as the reference's top-k and top-p do (no ties here); 0 turns either off. */
function distribution(logits: readonly number[], topK = 0, topP = 0): number[] {
  const softmax = (x: readonly number[]) => {
    const e = x.map((value) => Math.exp(value - Math.max(...x)));
    const total = e.reduce((a, b) => a + b);
    return e.map((value) => value / total);
  };
  const order = range(0, logits.length).sort((a, b) => logits[b] - logits[a]);
  const kept = topK > 0 ? order.slice(0, topK) : order;
  const among = softmax(kept.map((i) => logits[i]));
  const p = new Array<number>(logits.length).fill(0);
  let before = 0;
  kept.forEach((code, i) => {
    if (topP === 0 || before < topP) p[code] = among[i];
    before += among[i];
  });
  const total = p.reduce((a, b) => a + b);
  return p.map((value) => value / total);
}

/** Probability of every sequence: the product over tokens of `rule`(conditional, unconditional logits, token number). */
function sequenceProbabilities(
  conditional: Float32Array,
  unconditional: Float32Array,
  [n, codes]: readonly [number, number],
  rows: number,
  rule: (c: readonly number[], u: readonly number[], t: number) => number[],
): number[] {
  const sequences = allSequences(n, codes);
  return range(0, codes ** n).map((s) => {
    let p = 1;
    for (let t = 0; t < n; t++) {
      const at = (s * rows + t) * codes;
      const own = (logits: Float32Array) => Array.from(logits.subarray(at, at + codes));
      p *= rule(own(conditional), own(unconditional), t)[sequences[s * n + t]];
    }
    return p;
  });
}

/** Counts of sequences among tokens[images, n]. */
function countSequences(tokens: Int32Array, n: number, codes: number, counts: Float64Array): void {
  for (let b = 0; b < tokens.length / n; b++) {
    let s = 0;
    for (let t = 0; t < n; t++) s = s * codes + tokens[b * n + t];
    counts[s]++;
  }
}

async function teacherForced(
  logits: (condition: Condition) => Promise<Float32Array>,
  condition: (labels: readonly (number | null)[]) => Condition,
  label: number | null,
): Promise<[Float32Array, Float32Array]> {
  const read = async (each: number | null) => {
    const own = condition([each]);
    const values = await logits(own);
    own.dispose();
    return values;
  };
  return [await read(label), await read(null)];
}

/** Draws `images` images in batches of 4000 and counts their sequences. */
async function observe(
  n: number,
  codes: number,
  images: number,
  label: number | null,
  draw: (options: GenerateOptions) => Promise<Int32Array>,
): Promise<Float64Array> {
  const counts = new Float64Array(codes ** n);
  for (let start = 0; start < images; start += 4000) {
    const own = range(start, start + 4000);
    countSequences(await draw({ labels: own.map(() => label), images: own, seed: 21 }), n, codes, counts);
  }
  return counts;
}

withDevices("RAR draws sequences as often as guidance and temperature say", async (device) => {
  const n = 3, codes = 4, images = 8000;
  const variant = await smallRar(device, n, codes);
  const tokens = fromArray(device, allSequences(n, codes), [codes ** n, n]);
  for (
    const { label, guidance, power, temperature } of [
      { label: 1, guidance: 2.5, power: 1.5, temperature: 1.3 },
      { label: 2, guidance: 0, power: 1.5, temperature: 0.7 }, // 0 means no guidance
      { label: null, guidance: 4, power: 1, temperature: 1 },
    ]
  ) {
    const [conditional, unconditional] = await teacherForced(
      async (condition) => {
        const logits = scope(() => variant.transformer.logits(tokens, condition as never));
        const values = await logits.data();
        logits.dispose();
        return values;
      },
      (labels) => variant.condition(labels),
      label,
    );
    const expected = sequenceProbabilities(conditional, unconditional, [n, codes], n + 1, (c, u, t) => {
      const rise = (1 - Math.cos((t / n) ** power * Math.PI)) / 2;
      const factor = guidance === 0 ? 1 : (guidance - 1) * rise + 1;
      return distribution(c.map((x, i) => (u[i] + (x - u[i]) * factor) / temperature));
    });
    const observed = await observe(n, codes, images, label, async (options) => {
      const drawn = await generateRar(variant.transformer, { guidance, power, temperature }, options);
      const values = await drawn.ints();
      drawn.dispose();
      return values;
    });
    const { statistic, degrees, bound } = chiSquare(observed, expected.map((p) => p * images));
    assert.ok(degrees > 20 && statistic < bound, `class ${label}: ${statistic}, ${degrees} degrees, bound ${bound}`);
  }
  disposeAll(tokens);
  variant.dispose();
});

withDevices("VAR draws sequences as often as guidance, top-k and top-p say, and no others", async (device) => {
  const patchNums = [1, 2], n = 5, codes = 4, images = 8000;
  const { family, variant } = await smallVar(device, patchNums, codes);
  const tokens = fromArray(device, allSequences(n, codes), [codes ** n, n]);
  const input = family.transformerInput(tokens);
  for (
    const { label, guidance, topK, topP } of [
      { label: 1, guidance: 1.5, topK: 3, topP: 0.9 },
      { label: 0, guidance: 0, topK: 2, topP: 0 },
      { label: null, guidance: 3, topK: 0, topP: 0.8 },
    ]
  ) {
    const [conditional, unconditional] = await teacherForced(
      async (condition) => {
        const logits = scope(() => variant.transformer.logits(input, condition as never));
        const values = await logits.data();
        logits.dispose();
        return values;
      },
      (labels) => variant.condition(labels),
      label,
    );
    const expected = sequenceProbabilities(conditional, unconditional, [n, codes], n, (c, u, t) => {
      const strength = t === 0 ? 0 : guidance; // scale 0 has none, the last scale all of it
      return distribution(c.map((x, i) => (1 + strength) * x - strength * u[i]), topK, topP);
    });
    const observed = await observe(n, codes, images, label, async (options) => {
      const drawn = await generateVar(variant.transformer, family.quantizer, { guidance, topK, topP }, options);
      const values = await drawn.tokens.ints();
      disposeAll(drawn);
      return values;
    });
    assert.ok(expected.some((p) => p === 0), "the support leaves some out");
    const { statistic, degrees, bound } = chiSquare(observed, expected.map((p) => p * images));
    assert.ok(degrees >= 20 && statistic < bound, `class ${label}: ${statistic}, ${degrees} degrees, bound ${bound}`);
  }
  disposeAll([tokens, input]);
  family.dispose();
  variant.dispose();
});

/** Draws from a variant of a set with the manifest's sampler. */
async function drawFrom(
  set: ModelSet,
  device: Device,
  name: string,
  body: (
    draw: (options: Partial<GenerateOptions> & Pick<GenerateOptions, "images">) => Promise<Int32Array>,
  ) => Promise<void>,
): Promise<void> {
  const variant = await set.loadVariant(device, name);
  const family = await set.loadTokenizer(device, set.familyOf(name));
  const { rar, var: varFamily } = set.manifest.families;
  await body(async (given) => {
    const options = { labels: given.images.map((image) => image % variant.classes), seed: 5, ...given };
    if (variant instanceof RarVariant) {
      const tokens = await generateRar(variant.transformer, rar.variants[name].sampler as RarSampler, options);
      const values = await tokens.ints();
      tokens.dispose();
      return values;
    }
    assert.ok(variant instanceof VarVariant && family instanceof VarImageTokenizer);
    const drawn = await generateVar(
      variant.transformer,
      family.quantizer,
      varFamily.variants[name].sampler as VarSampler,
      options,
    );
    const values = await drawn.tokens.ints();
    const fHat = family.dequantize(drawn.tokens);
    assert.deepEqual(await drawn.fHat.data(), await fHat.data());
    disposeAll([drawn, fHat]);
    return values;
  });
  variant.dispose();
  family.dispose();
}

withDevices("an image depends on seed and number alone, not on its batch", async (device) => {
  const set = await openModelSet(standIns);
  await device.sync();
  const before = device.memory().liveBytes;
  for (const name of [set.variants("rar")[0], set.variants("var")[0]]) {
    await drawFrom(set, device, name, async (draw) => {
      const all = await draw({ images: range(0, 8) });
      const n = all.length / 8;
      const image = (b: number) => all.subarray(b * n, (b + 1) * n);
      assert.deepEqual(await draw({ images: range(0, 8) }), all, `${name}: the same again`);
      for (const images of [[3], [7, 2], [6, 5, 4, 3, 2]]) {
        const own = await draw({ images });
        images.forEach((b, i) => assert.deepEqual(own.subarray(i * n, (i + 1) * n), image(b), `${name}: image ${b}`));
      }
      const texts = range(0, 8).map((b) => image(b).join());
      assert.equal(new Set(texts).size, 8, `${name}: images differ`);
      assert.notDeepEqual(await draw({ images: range(0, 8), seed: 6 }), all, `${name}: another seed`);
      const sameClass = await draw({ images: [0, 1], labels: [4, 4] });
      assert.notDeepEqual(sameClass.subarray(0, n), sameClass.subarray(n), `${name}: images of a class differ`);
    });
  }
  await device.sync();
  assert.equal(device.memory().liveBytes, before);
});

Deno.test("both devices draw the same tokens", async () => {
  const { defaultTargets } = await import("../core/devices.ts");
  const set = await openModelSet(standIns);
  for (const name of [set.variants("rar")[1], set.variants("var")[1]]) {
    const results: Int32Array[] = [];
    for (const target of defaultTargets) {
      await drawFrom(set, target.device(), name, async (draw) => {
        results.push(await draw({ images: range(10, 18) }));
      });
    }
    for (const other of results.slice(1)) assert.deepEqual(other, results[0], name);
  }
});

withDevices("argmax with the key/value cache is argmax of teacher-forced logits", async (device) => {
  const rar = await smallRar(device, 16, 24);
  const labels = [0, 1, 2, 1];
  const options = { labels, images: range(0, 4), seed: 0, argmax: true };
  const guided = (conditional: Float32Array, unconditional: Float32Array, factor: (i: number) => number) =>
    conditional.map((c, i) => unconditional[i] + (c - unconditional[i]) * factor(i));
  const check = async (tokens: Int32Array, logits: Float32Array<ArrayBuffer>, codes: number, what: string) => {
    const best = scope(() => argmax(fromArray(device, logits, [logits.length / codes, codes])));
    assert.deepEqual(await best.ints(), tokens, what);
    best.dispose();
  };
  const read = async (logits: (condition: Condition) => ReturnType<RarVariant["logits"]>, condition: Condition) => {
    const tensor = scope(() => logits(condition));
    const values = await tensor.data();
    disposeAll(tensor);
    condition.dispose();
    return values;
  };

  const tokens = await generateRar(rar.transformer, { guidance: 4, power: 1.5, temperature: 2 }, options);
  const [c, u] = [
    await read((condition) => rar.logits(tokens, condition as never), rar.condition(labels)),
    await read((condition) => rar.logits(tokens, condition as never), rar.condition([null])),
  ];
  const step = (i: number) => Math.floor(i / 24) % 16;
  const factor = (i: number) => 3 * (1 - Math.cos(Math.PI * (step(i) / 16) ** 1.5)) / 2 + 1;
  await check(await tokens.ints(), guided(c, u, factor), 24, "rar");
  assert.ok(new Set(await tokens.ints()).size > 4);
  tokens.dispose();
  rar.dispose();

  const { family, variant } = await smallVar(device, [1, 2, 3, 4], 24);
  const drawn = await generateVar(variant.transformer, family.quantizer, { guidance: 2, topK: 9, topP: 0.5 }, options);
  const input = family.transformerInput(drawn.tokens);
  const [vc, vu] = [
    await read((condition) => variant.logits(input, condition as never), variant.condition(labels)),
    await read((condition) => variant.logits(input, condition as never), variant.condition([null])),
  ];
  const scale = (i: number) => [1, 5, 14, 30].findIndex((end) => Math.floor(i / 24) % 30 < end);
  await check(await drawn.tokens.ints(), guided(vc, vu, (i) => 1 + 2 * scale(i) / 3), 24, "var");
  disposeAll([drawn, input]);
  family.dispose();
  variant.dispose();
});

withDevices("generating stops between steps when asked to, and frees what it made", async (device) => {
  const rar = await smallRar(device, 16, 24);
  const { family, variant } = await smallVar(device, [1, 2, 3, 4], 24);
  await device.sync();
  const before = device.memory().liveBytes;
  for (const name of ["rar", "var"]) {
    const controller = new AbortController();
    let share = 0;
    const options = {
      labels: [0],
      images: [0],
      seed: 0,
      signal: controller.signal,
      onProgress: (done: number) => {
        share = done;
        if (done > 0.4) controller.abort(new Error("stop"));
      },
    };
    const run = name === "rar"
      ? generateRar(rar.transformer, { guidance: 2, power: 1, temperature: 1 }, options)
      : generateVar(variant.transformer, family.quantizer, { guidance: 2, topK: 5, topP: 0.9 }, options);
    await assert.rejects(run, /^Error: stop$/);
    assert.ok(share > 0.4 && share < 0.9, `${name}: stopped after ${share}`);
  }
  await device.sync();
  assert.equal(device.memory().liveBytes, before);
  for (const item of [rar, family, variant]) item.dispose();
});

withDevices("generating refuses labels and numbers that do not fit", async (device) => {
  const rar = await smallRar(device, 3, 4);
  const sampler = { guidance: 2, power: 1, temperature: 1 };
  const given = (labels: (number | null)[], images: number[]) =>
    generateRar(rar.transformer, sampler, { labels, images, seed: 0 });
  await assert.rejects(given([], []), /generateRar: expected at least one image, got none/);
  await assert.rejects(given([0, 1], [0]), /got 2 labels, 1 numbers/);
  await assert.rejects(given([0], [-1]), /images expects whole numbers from 0 to 2\^32 - 1, got -1/);
  await assert.rejects(given([3], [0]), /RAR: expected a class from 0 to 2, got 3/);
  rar.dispose();
});
