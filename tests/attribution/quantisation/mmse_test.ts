/** The parts of the estimate: small symmetric matrices, the covariance of f - fHat, its preconditioner and its solution. */
import assert from "node:assert/strict";
import { applyCovariance, type Covariance, solve } from "../../../attribution/quantisation/covariance.ts";
import { noisyLatents } from "../../../attribution/quantisation/mmse_model.ts";
import { defaultMmse, MmseTables } from "../../../attribution/quantisation/mmse.ts";
import { ScaleMaps } from "../../../attribution/quantisation/scale_maps.ts";
import { cosines, SpectralBlocks } from "../../../attribution/quantisation/spectral_blocks.ts";
import {
  applyTo,
  eigen,
  identity,
  type Matrix,
  multiply,
  symmetrised,
  trace,
} from "../../../attribution/quantisation/symmetric.ts";
import {
  add,
  type Device,
  fromArray,
  mul,
  normals,
  packWeight,
  scope,
  sub,
  type Tensor,
  uniforms,
} from "../../../core/tensor/mod.ts";
import { VarImageTokenizer } from "../../../models/var/family.ts";
import { bandCount, type LatentStatistics } from "../../../models/latent_statistics.ts";
import { withDevices } from "../../core/devices.ts";
import { randomTokens, smallFamily } from "./family.ts";

const sizes = { zChannels: 4, codes: 9, patchNums: [1, 2, 3, 5] };

/** A positive definite matrix. */
function positive(n: number, seed: number): Matrix {
  const root = Float64Array.from(normals(seed, 0, n * n));
  const turned = root.map((_, i) => root[(i % n) * n + Math.floor(i / n)]);
  return symmetrised(multiply(root, turned, n), n);
}

function near(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(got.length, expected.length);
  for (let i = 0; i < got.length; i++) {
    assert(Math.abs(got[i] - expected[i]) <= tolerance, `${i}: expected ${expected[i]}, got ${got[i]}`);
  }
}

Deno.test("eigen() and applyTo() give matrices back, their squares and their inverses", () => {
  for (const n of [1, 2, 7, 32]) {
    const matrix = positive(n, n);
    const spectrum = eigen(matrix, n);
    const size = Math.max(...spectrum.values);
    // Rounding of float64 through some rounds of rotations.
    near(applyTo(spectrum, (value) => value), matrix, 1e-12 * size);
    near(applyTo(spectrum, (value) => value * value), multiply(matrix, matrix, n), 1e-12 * size * size);
    const condition = size / Math.min(...spectrum.values);
    near(multiply(applyTo(spectrum, (value) => 1 / value), matrix, n), identity(n), 1e-12 * condition);
    assert(Math.abs(trace(matrix, n) - spectrum.values.reduce((a, b) => a + b, 0)) < 1e-12 * n * size);
  }
});

Deno.test("cosines() is orthonormal", () => {
  for (const side of [1, 5, 16]) {
    near(multiply(cosines(side), transposed(cosines(side), side), side), identity(side), 1e-6);
  }
});

function transposed(a: ArrayLike<number>, n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => a[(i % n) * n + Math.floor(i / n)]);
}

/** A covariance with given code covariances; one scale is left out. */
async function covarianceOf(device: Device, maps: ScaleMaps, noise: Float64Array<ArrayBuffer>) {
  const { channels: c, side } = maps;
  const kernels = await Promise.all(maps.kernels.map((kernel) => kernel.data()));
  const blocks = new SpectralBlocks(maps, kernels);
  const codes = maps.patchNums.map((_, s) => {
    if (s === 1) return null;
    const values = positive(c, 10 + s);
    blocks.set(s, values);
    return scope(() => packWeight(fromArray(device, Float32Array.from(values), [c, c]), "linear"));
  });
  const covariance: Covariance = {
    noise: scope(() => packWeight(fromArray(device, Float32Array.from(noise), [c, c]), "linear")),
    codes,
    cosines: fromArray(device, cosines(side), [side, side]),
    inverseBlocks: fromArray(device, blocks.inverse(() => noise), [side ** 2, c, c]),
  };
  const dispose = () => {
    for (const tensor of [...codes, covariance.noise, covariance.cosines, covariance.inverseBlocks]) tensor?.dispose();
  };
  return { covariance, dispose };
}

/** The whole of R on the host, [n, n], column by column. */
async function dense(device: Device, maps: ScaleMaps, covariance: Covariance): Promise<Float32Array> {
  const n = maps.size;
  const units = new Float32Array(n * n);
  for (let i = 0; i < n; i++) units[i * n + i] = 1;
  const columns = scope(() =>
    applyCovariance(maps, covariance, fromArray(device, units, [n, maps.side, maps.side, maps.channels]))
  );
  const values = await columns.data();
  columns.dispose();
  return values;
}

async function withMaps(
  device: Device,
  run: (maps: ScaleMaps, family: VarImageTokenizer) => Promise<void>,
): Promise<void> {
  const before = device.memory().liveBytes;
  const family = await smallFamily(device, sizes);
  const maps = new ScaleMaps(family);
  await run(maps, family);
  maps.dispose();
  family.dispose();
  assert.equal(device.memory().liveBytes, before);
}

async function read(tensor: Tensor): Promise<Float32Array> {
  const values = await tensor.data();
  tensor.dispose();
  return values;
}

withDevices("applyCovariance() is noise + sum of A U A', symmetric and as large as that at least", async (device) => {
  await withMaps(device, async (maps) => {
    const { channels: c } = maps, n = maps.size, noise = positive(c, 7);
    const { covariance, dispose } = await covarianceOf(device, maps, noise);
    const got = await dense(device, maps, covariance);
    const expected = new Float64Array(n * n);
    for (let p = 0; p < n; p += c) {
      for (let i = 0; i < c * c; i++) expected[(p + Math.floor(i / c)) * n + p + i % c] = noise[i];
    }
    for (const [s, pn] of maps.patchNums.entries()) {
      if (s === 1) continue;
      const u = positive(c, 10 + s), values = pn * pn * c;
      const units = new Float32Array(values * values);
      for (let i = 0; i < values; i++) units[i * values + i] = 1;
      const a = await read(scope(() => maps.forward(fromArray(device, units, [values, pn, pn, c]), s)));
      for (let p = 0; p < pn * pn; p++) {
        for (let i = 0; i < c; i++) {
          for (let j = 0; j < c; j++) {
            const factor = u[i * c + j];
            for (let y = 0; y < n; y++) {
              const left = factor * a[(p * c + i) * n + y];
              for (let x = 0; x < n; x++) expected[y * n + x] += left * a[(p * c + j) * n + x];
            }
          }
        }
      }
    }
    const size = Math.max(...expected);
    // float32 sums of some hundred products.
    near(got, expected, 1e-5 * size);
    // The same noise frequency by frequency.
    const blocks = Float32Array.from({ length: maps.side ** 2 * c * c }, (_, i) => noise[i % (c * c)]);
    const byFrequency = fromArray(device, blocks, [maps.side ** 2, c, c]);
    near(await dense(device, maps, { ...covariance, noise: byFrequency }), expected, 1e-5 * size);
    byFrequency.dispose();
    dispose();
  });
});

withDevices(
  "applyCovariance() and noisyLatents(): noise of the mean alone is the same in all pixels",
  async (device) => {
    await withMaps(device, async (maps, family) => {
      const { channels: c, side } = maps;
      const { covariance, dispose } = await covarianceOf(device, maps, positive(c, 7));
      const none = new Float64Array(c * c), mean = positive(c, 8);
      const byFrequency = Array.from({ length: side * side }, (_, w) => w === 0 ? mean : none);
      const noise = fromArray(device, Float32Array.from(byFrequency.flatMap((own) => [...own])), [side * side, c, c]);
      const onlyNoise = { ...covariance, noise, codes: covariance.codes.map(() => null) };
      const got = await dense(device, maps, onlyNoise);
      const n = maps.size;
      const expected = Float64Array.from({ length: n * n }, (_, i) => {
        return mean[(Math.floor(i / n) % c) * c + i % n % c] / (side * side);
      });
      near(got, expected, 1e-5 * Math.max(...expected));
      const tokens = randomTokens(device, family, 3);
      const fHat = family.dequantize(tokens);
      const noisy = noisyLatents(maps, tokens, byFrequency, covariance.cosines, 1);
      const added = await read(sub(noisy, fHat));
      const size = Math.max(...added.map(Math.abs));
      assert(size > 0.01);
      added.forEach((value, i) => {
        const first = Math.floor(i / n) * n + i % c;
        assert(Math.abs(value - added[first]) < 1e-4 * size, `${value} and ${added[first]}`);
      });
      for (const tensor of [noise, tokens, fHat, noisy]) tensor.dispose();
      dispose();
    });
  },
);

withDevices("SpectralBlocks hold the blocks of R between cosines of one frequency", async (device) => {
  await withMaps(device, async (maps) => {
    const { channels: c, side } = maps, n = maps.size;
    const { covariance, dispose } = await covarianceOf(device, maps, positive(c, 7));
    const r = await dense(device, maps, covariance);
    const inverse = await covariance.inverseBlocks.data();
    const basis = cosines(side);
    for (const [fy, fx] of [[0, 0], [1, 3], [side - 1, 2]]) {
      const wave = (p: number) => basis[fy * side + Math.floor(p / side)] * basis[fx * side + p % side];
      const block = new Float64Array(c * c);
      for (let p = 0; p < side * side; p++) {
        for (let q = 0; q < side * side; q++) {
          const weight = wave(p) * wave(q);
          for (let i = 0; i < c; i++) {
            for (let j = 0; j < c; j++) block[i * c + j] += weight * r[(p * c + i) * n + q * c + j];
          }
        }
      }
      const at = (fy * side + fx) * c * c;
      // float32 of R, times the condition of a block.
      near(multiply(block, inverse.subarray(at, at + c * c), c), identity(c), 1e-3);
    }
    dispose();
  });
});

withDevices("solve() meets R z = r, per image and from any start, and more steps come nearer", async (device) => {
  await withMaps(device, async (maps) => {
    const { side, channels: c } = maps;
    const { covariance, dispose } = await covarianceOf(device, maps, positive(c, 7));
    const r = fromArray(device, normals(1, 0, 2 * maps.size), [2, side, side, c]);
    const start = fromArray(device, normals(2, 0, 2 * maps.size), [2, side, side, c]);
    const wanted = await r.data();
    const miss = async (steps: number, from?: Tensor) => {
      const image = await read(scope(() => applyCovariance(maps, covariance, solve(maps, covariance, r, steps, from))));
      return [0, 1].map((b) => {
        let error = 0, size = 0;
        for (let i = b * maps.size; i < (b + 1) * maps.size; i++) {
          error += (image[i] - wanted[i]) ** 2;
          size += wanted[i] ** 2;
        }
        return Math.sqrt(error / size);
      });
    };
    const few = await miss(4), many = await miss(60), started = await miss(60, start);
    many.forEach((error, b) => assert(error < 1e-3 && error < 0.1 * few[b], `${few[b]} -> ${error}`));
    // The start is larger than the solution and leaves more to rounding.
    for (const error of started) assert(error < 1e-2, `${error}`);
    for (const tensor of [r, start]) tensor.dispose();
    dispose();
  });
});

withDevices("MmseTables: the same seed gives the same tokens, and the tables free what they made", async (device) => {
  await withMaps(device, async (maps, family) => {
    const before = device.memory().liveBytes;
    const tokens = randomTokens(device, family, 2);
    const f = family.dequantize(tokens);
    const run = async (seed: number) => {
      const tables = await MmseTables.build(maps, family, { ...defaultMmse, seed });
      assert(tables.bytes > 0 && tables.noise > 0);
      assert(tables.simulatedRecovery > 0 && tables.simulatedRecovery <= 1);
      const found = tables.quantize(f);
      const values = await found.ints();
      for (const item of [found, tables]) item.dispose();
      return { noise: tables.noise, values };
    };
    const first = await run(1), again = await run(1), other = await run(2);
    assert.deepEqual(again, first);
    assert.notEqual(other.noise, first.noise);
    for (const item of [tokens, f]) item.dispose();
    assert.equal(device.memory().liveBytes, before);
  });
});

withDevices("MmseTables: what is known of the noise and of the codes helps to find them", async (device) => {
  const family = await smallFamily(device, { zChannels: 8, codes: 32, patchNums: [1, 2, 3, 5, 8] });
  const maps = new ScaleMaps(family);
  const { channels: c, codes, tokenCount } = maps, batch = 6;
  // Half the channels are ten times as noisy as the others, and codes have the frequencies 1, 1/2, 1/3, ...
  const deviation = Float32Array.from({ length: c }, (_, i) => (i % 2 === 0 ? 0.15 : 1.5));
  const frequencies = Float32Array.from({ length: codes }, (_, v) => 1 / (1 + v));
  const total = frequencies.reduce((a, b) => a + b, 0);
  const truth = Int32Array.from(uniforms(5, 0, batch * tokenCount), (u) => {
    let v = 0;
    for (let left = u * total; left > frequencies[v] && v < codes - 1; v++) left -= frequencies[v];
    return v;
  });
  const tokens = fromArray(device, truth, [batch, tokenCount]);
  const f = scope(() => {
    const noise = mul(
      fromArray(device, normals(6, 0, batch * maps.size), [batch, maps.side, maps.side, c]),
      fromArray(device, deviation, [c]),
    );
    return add(maps.dequantize(tokens), noise);
  });
  const latents = {
    noise: Float32Array.from({ length: bandCount(maps.side) * c * c }, (_, i) => {
      const at = i % (c * c);
      return at % (c + 1) === 0 ? deviation[at % c] ** 2 : 0;
    }),
    prior: Float32Array.from({ length: maps.patchNums.length * codes }, (_, i) => frequencies[i % codes] / total),
  };
  const uniform = latents.prior.map(() => 1 / codes);
  const recovery = async (known: LatentStatistics | null) => {
    const knowing = new VarImageTokenizer(device, family.weights, family.config, known);
    const tables = await MmseTables.build(maps, knowing, { ...defaultMmse, noiseOfMeasured: 1 });
    const found = tables.quantize(f);
    const right = (await found.ints()).filter((token, i) => token === truth[i]).length / truth.length;
    for (const item of [found, tables, knowing.quantizer]) item.dispose();
    return right;
  };
  const [neither, noise, both] = [
    await recovery(null),
    await recovery({ ...latents, prior: uniform }),
    await recovery(latents),
  ];
  // Measured: 18 %, 42 % and 64 % of the tokens.
  const shown = JSON.stringify({ neither, noise, both });
  assert(noise > 1.5 * neither && both > 1.2 * noise, shown);
  for (const item of [tokens, f, maps, family]) item.dispose();
});
