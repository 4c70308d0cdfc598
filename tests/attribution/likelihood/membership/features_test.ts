/** Membership features against the reference (case 08), feature by feature, and at the edges of their definitions. */
import assert from "node:assert/strict";
import {
  type FeatureKind,
  icas,
  lossFeatureNames,
  lossFeatures,
  meanDifference,
  meanIcas,
  membershipFeatureNames,
  membershipFeatures,
  membershipRows,
  membershipTable,
  membershipTableNames,
  type TokenStatistics,
  tokenStatistics,
  unpackStatistics,
} from "../../../../attribution/likelihood/membership/mod.ts";
import { fromArray, randomNormal, scope, sub } from "../../../../core/tensor/mod.ts";
import { ParityCase } from "../../../../parity/case.ts";
import { withDevices } from "../../../core/devices.ts";

const golden = "tests/fixtures/golden";

/** Statistics of `logProbs`, with rows of entropy 3, variance 2 and a hinge of -1. */
function statisticsOf(logProbs: readonly number[], change: Partial<TokenStatistics> = {}): TokenStatistics {
  const all = (value: number) => new Float32Array(logProbs.length).fill(value);
  return { logProbs: Float32Array.from(logProbs), means: all(-3), variances: all(2), hinges: all(-1), ...change };
}

/** Features by name. */
function named(kind: FeatureKind, statistics: TokenStatistics, zlibLength = 1): Map<string, number> {
  const tokens = new Int32Array(statistics.logProbs.length);
  const values = membershipFeatures(kind, statistics, tokens, { zlibLength });
  return new Map(membershipFeatureNames(kind).map((name, i) => [name, values[i]]));
}

withDevices("every membership feature agrees with the reference by itself", async (device) => {
  const parityCase = (await ParityCase.open(`${golden}/case08_mia.json`))!;
  const names = parityCase.manifest.feature_names;
  let compared = 0;
  const compare = (name: string, got: number, expected: number) => {
    // min_k%++ divides by variances that the reference's float32 has from cancelling sums; the rest is plain rounding.
    const tolerance = (name.startsWith("min_k%++") ? 2e-5 : 2e-6) * Math.max(Math.abs(expected), 1e-2);
    assert.ok(Math.abs(got - expected) <= tolerance, `${name}: expected ${expected}, got ${got}`);
    compared++;
  };
  for (const size of [64, 680]) {
    const shape = parityCase.info(`logits_${size}`).shape;
    const tokens = await parityCase.ints(`tokens_${size}`);
    const logits = fromArray(device, await parityCase.floats(`logits_${size}`), shape);
    const unconditional = fromArray(device, await parityCase.floats(`logits_uncond_${size}`), shape);
    const index = fromArray(device, tokens, shape.slice(0, 2));
    for (const kind of ["plain", "cfg"] as const) {
      assert.deepEqual(membershipFeatureNames(kind), names[kind]);
      const result = scope(() => tokenStatistics(kind === "plain" ? logits : sub(logits, unconditional), index));
      const values = await result.data();
      result.dispose();
      const expected = await parityCase.floats(`features_${kind}_${size}`);
      const losses = await parityCase.floats(`features_loss_${size}`);
      for (let image = 0; image < shape[0]; image++) {
        const statistics = unpackStatistics(values, size, image);
        const own = tokens.subarray(image * size, (image + 1) * size);
        membershipFeatures(kind, statistics, own).forEach((value, i) => {
          compare(names[kind][i], value, expected[image * names[kind].length + i]);
        });
        if (kind === "cfg") continue;
        lossFeatures(statistics.logProbs.map((l) => -l), own).forEach((value, i) => {
          compare(names.loss[i], value, losses[image * names.loss.length + i]);
        });
      }
    }
    for (const tensor of [logits, unconditional, index]) tensor.dispose();
  }
  assert.deepEqual(lossFeatureNames(), names.loss);
  assert.equal(compared, 2 * 3 * (58 + 18 + 10));
  parityCase.close();
});

withDevices("membershipTable() has both kinds of features from the columns of a scorer", async (device) => {
  const [n, codes] = [20, 30];
  const before = device.memory().liveBytes;
  const tokens = Int32Array.from({ length: n }, (_, t) => (t * 11) % codes);
  const made = scope(() => {
    const conditional = randomNormal(device, [n, codes], 1), unconditional = randomNormal(device, [n, codes], 2);
    const index = fromArray(device, tokens, [n]);
    return {
      columns: membershipRows({ conditional, unconditional, tokens: index }),
      whole: tokenStatistics(conditional, index),
      difference: tokenStatistics(sub(conditional, unconditional), index),
    };
  });
  const columns: Record<string, Float32Array> = {};
  for (const [name, tensor] of Object.entries(made.columns)) columns[name] = await tensor.data();
  const [plain, cfg] = await Promise.all(
    [made.whole, made.difference].map(async (tensor) => unpackStatistics(await tensor.data(), n)),
  );
  for (const tensor of [...Object.values(made.columns), made.whole, made.difference]) tensor.dispose();
  assert.equal(device.memory().liveBytes, before);
  const table = membershipTable(columns, tokens);
  assert.deepEqual([...table], [
    ...membershipFeatures("plain", plain, tokens),
    ...membershipFeatures("cfg", cfg, tokens),
  ]);
  assert.equal(membershipTableNames().length, table.length);
  assert.equal(membershipTableNames()[58], "cfg.loss");
  assert.throws(() => membershipTable({ ...columns, "cfg.mean": undefined! }, tokens), /expected a column cfg.mean/);
});

Deno.test("membershipFeatures() counts, averages and draws the line as defined", () => {
  const features = named("plain", statisticsOf([-1, -2, -3, -4, -5, -6, -7, -8, -9, -10]), 11);
  assert.equal(features.get("loss"), 5.5);
  assert.equal(features.get("zlib_ratio"), 0.5);
  assert.equal(features.get("hinge"), 1);
  assert.equal(features.get("min_k%@0.1"), 10);
  assert.equal(features.get("min_k%@0.3"), 9);
  assert.ok(Math.abs(features.get("min_k%++@0.1")! - 7 / (2 + 1e-6)) < 1e-12);
  assert.equal(features.get("below_mean_logproba"), 0.5);
  assert.equal(features.get("below_prev_mean_logproba"), -0.9);
  assert.equal(features.get("slope"), -1);
});

Deno.test("membershipFeatures() has surp features over rows of low entropy, -0 where there are none", () => {
  const features = named("plain", statisticsOf([-1, -2, -3, -4, -5, -6, -7, -8, -9, -10]));
  assert.ok(Object.is(features.get("surp@0.1,2.0"), -0));
  assert.ok(Object.is(features.get("surp_counter@0.5,2.0"), -0));
  assert.equal(features.get("surp@0.3,4.0"), 5.5);
  assert.equal(features.get("surp_counter@0.1,16.0"), -1);
  const certain = named("plain", statisticsOf(new Array(10).fill(0)));
  assert.ok(Object.is(certain.get("surp_counter@0.1,16.0"), -0), "no log-probability lies below the bound of 0");
  assert.ok(!named("cfg", statisticsOf(new Array(10).fill(-1))).has("surp@0.1,2.0"));
});

Deno.test("membershipFeatures() refuses lengths that do not fit, NaN, and shares that take no token", () => {
  const ten = statisticsOf(new Array(10).fill(-1)), tokens = new Int32Array(10);
  assert.throws(() => membershipFeatures("plain", ten, new Int32Array(9)), /logProbs expects 9 values, got 10/);
  const broken = { ...ten, variances: ten.variances.with(4, NaN) };
  assert.throws(() => membershipFeatures("cfg", broken, tokens), /variances of token 4 is NaN/);
  const few = statisticsOf(new Array(9).fill(-1));
  assert.throws(() => membershipFeatures("cfg", few, new Int32Array(9)), /takes a token, got 0.1 of 9 tokens/);
  assert.throws(() => membershipFeatures("cfg", ten, tokens, { ks: [1.5] }), /at most 1 that takes a token, got 1.5/);
  assert.throws(() => lossFeatures([1, 2], [1]), /expected 1 losses, got 2/);
  assert.throws(() => lossFeatures([1, Infinity], [1, 2]), /loss of token 1 is Infinity/);
});

Deno.test("icas() agrees with the reference for every token and image, and has no overflow", async () => {
  const parityCase = (await ParityCase.open(`${golden}/case07_prada.json`))!;
  for (const name of Object.keys(parityCase.manifest.state_dicts)) {
    const [images, n] = parityCase.info(`${name}_llh`).shape;
    const pairs = await parityCase.floats(`${name}_llh`);
    const expected = await parityCase.floats(`${name}_icas`);
    const means = await parityCase.floats(`${name}_icas_mean`),
      differences = await parityCase.floats(`${name}_diff_mean`);
    for (let b = 0; b < images; b++) {
      const column = (c: number) => Float32Array.from({ length: n }, (_, t) => pairs[(b * n + t) * 2 + c]);
      const [conditional, unconditional] = [column(0), column(1)];
      icas(conditional, unconditional).forEach((value, t) => {
        assert.ok(Math.abs(value - expected[b * n + t]) <= 1e-6, `${name} ${b} ${t}`);
      });
      assert.ok(Math.abs(meanIcas(conditional, unconditional) - means[b]) <= 2e-7);
      assert.ok(Math.abs(meanDifference(conditional, unconditional) - differences[b]) <= 3e-7);
    }
  }
  parityCase.close();
  assert.deepEqual([...icas([0, -2000], [-2000, 0])], [0, -2000 / 1.75]);
  assert.equal(icas([-1], [-2], { a: 0, b: 0 })[0], 1);
  assert.throws(() => icas([1], [1, 2]), /got 1 and 2/);
  assert.throws(() => meanDifference([], []), /at least one, got 0 and 0/);
});
