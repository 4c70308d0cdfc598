import assert from "node:assert/strict";
import { interactionPeriod, positionClasses } from "../../../attribution/quantisation/classes.ts";
import { ScaleMaps } from "../../../attribution/quantisation/scale_maps.ts";
import { errorOf, sweep, SweepTables } from "../../../attribution/quantisation/sweeps.ts";
import { affine, type Device, fromArray, scope, slice, type Tensor } from "../../../core/tensor/mod.ts";
import type { VarImageTokenizer } from "../../../models/var/family.ts";
import { withDevices } from "../../core/devices.ts";
import { randomF, randomTokens, smallFamily } from "./family.ts";

const tiny = { zChannels: 4, codes: 7, patchNums: [1, 2, 3, 5] };
/** Scales of which one keeps no products between its tokens. */
const larger = { zChannels: 8, codes: 40, patchNums: [1, 2, 4, 8, 17] };

async function errors(f: Tensor, fHat: Tensor): Promise<number[]> {
  const error = errorOf(f, fHat);
  const values = [...await error.data()];
  error.dispose();
  return values;
}

/** What a sweep should do, by trying every code for every token in turn. One image. */
async function bruteForce(device: Device, family: VarImageTokenizer, maps: ScaleMaps, f: Tensor, from: Int32Array) {
  const tokens = from.slice();
  const { codes } = family;
  for (const [s, pn] of maps.patchNums.entries()) {
    const classes = positionClasses(pn, interactionPeriod(maps.enlargements[s], maps.side, pn));
    for (const position of classes.flatMap(({ positions }) => positions)) {
      const at = maps.starts[s] + position;
      const all = new Int32Array(codes * tokens.length);
      for (let v = 0; v < codes; v++) {
        all.set(tokens, v * tokens.length);
        all[v * tokens.length + at] = v;
      }
      const fHat = scope(() => family.dequantize(fromArray(device, all, [codes, tokens.length])));
      const wanted = await f.data(), got = await fHat.data();
      fHat.dispose();
      let best = 0, least = Infinity;
      for (let v = 0; v < codes; v++) {
        let error = 0;
        for (let i = 0; i < wanted.length; i++) error += (got[v * wanted.length + i] - wanted[i]) ** 2;
        if (error < least) [best, least] = [v, error];
      }
      tokens[at] = best;
    }
  }
  return tokens;
}

for (const productLimit of [2048, 0]) {
  const way = productLimit > 0 ? "with products between tokens" : "with maps only";
  withDevices(`sweep() chooses what trying every code finds, ${way}`, async (device) => {
    const before = device.memory().liveBytes;
    const family = await smallFamily(device, tiny);
    const maps = new ScaleMaps(family);
    const tables = new SweepTables(maps, productLimit);
    const f = randomF(device, family, 1);
    const { tokens: greedy, fHat } = family.quantize(f);
    const first = sweep(tables, f, greedy, [null]);
    const second = sweep(tables, f, greedy, [null, null]);
    const expected = await bruteForce(device, family, maps, f, await greedy.ints());
    assert.notDeepEqual(expected, await greedy.ints());
    assert.deepEqual(await first.tokens.ints(), expected);
    assert.deepEqual(await second.tokens.ints(), await bruteForce(device, family, maps, f, expected));
    const made = [first.tokens, first.fHat, second.tokens, second.fHat];
    for (const item of [f, greedy, fHat, ...made, tables, maps, family]) item.dispose();
    assert.equal(device.memory().liveBytes, before);
  });
}

withDevices("sweep() never makes an image's error larger, and fHat is that of the tokens", async (device) => {
  const family = await smallFamily(device, larger);
  const maps = new ScaleMaps(family);
  const tables = new SweepTables(maps);
  assert.deepEqual(tables.scales.map(({ classes }) => classes[0].products !== null), [true, true, true, true, false]);
  const f = randomF(device, family, 3);
  let tokens = randomTokens(device, family, 3);
  let last = await errors(f, maps.dequantize(tokens));
  for (let i = 0; i < 5; i++) {
    const next = sweep(tables, f, tokens, [null]);
    const now = await errors(f, next.fHat);
    // 1e-6: rounding of sums of 2312 squares.
    now.forEach((error, b) => assert(error <= last[b] * (1 + 1e-6), `sweep ${i}: ${last[b]} -> ${error}`));
    if (i === 0) now.forEach((error, b) => assert(error < 0.9 * last[b]));
    const again = await errors(f, family.dequantize(next.tokens));
    again.forEach((error, b) => assert(Math.abs(error - now[b]) <= 1e-6 * now[b]));
    tokens = next.tokens;
    last = now;
  }
  tables.dispose();
  maps.dispose();
  family.dispose();
});

withDevices("sweep() gives an image the same tokens alone and in a batch, exact and annealed", async (device) => {
  const family = await smallFamily(device, larger);
  const maps = new ScaleMaps(family);
  const tables = new SweepTables(maps);
  const f = randomF(device, family, 3);
  const run = (x: Tensor) =>
    scope(() => {
      const { tokens, fHat } = family.quantize(x);
      const error = errorOf(x, fHat);
      return sweep(tables, x, tokens, [affine(error, 2), affine(error, 0.5), null]).tokens;
    });
  const together = await run(f).ints();
  for (let b = 0; b < 3; b++) {
    const alone = await run(slice(f, 0, b, b + 1)).ints();
    assert.deepEqual(alone, together.slice(b * family.tokenCount, (b + 1) * family.tokenCount));
  }
  tables.dispose();
  maps.dispose();
  family.dispose();
});

withDevices("sweep() refuses to end with soft codes", async (device) => {
  const family = await smallFamily(device, tiny);
  const maps = new ScaleMaps(family);
  const tables = new SweepTables(maps);
  const f = randomF(device, family, 1), tokens = randomTokens(device, family, 1);
  assert.throws(() => sweep(tables, f, tokens, [fromArray(device, [1], [1, 1, 1])]), /last sweep must be exact/);
  for (const item of [f, tokens, tables, maps, family]) item.dispose();
});
