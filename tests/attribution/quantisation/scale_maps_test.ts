import assert from "node:assert/strict";
import { interactionPeriod, positionClasses } from "../../../attribution/quantisation/classes.ts";
import { ScaleMaps } from "../../../attribution/quantisation/scale_maps.ts";
import { fromArray, mul, normals, resizeMatrix, scope, sub, sum } from "../../../core/tensor/mod.ts";
import { withDevices } from "../../core/devices.ts";
import { randomTokens, smallFamily } from "./family.ts";

const sizes = { zChannels: 6, codes: 10, patchNums: [1, 2, 3, 5, 8] };

withDevices("ScaleMaps: dequantize() agrees with the family's, and the maps with their adjoints", async (device) => {
  const before = device.memory().liveBytes;
  const family = await smallFamily(device, sizes);
  const maps = new ScaleMaps(family);
  const tokens = randomTokens(device, family, 3);
  const difference = scope(() => sub(maps.dequantize(tokens), family.dequantize(tokens)));
  // Values of fHat are of the order of 1.
  for (const value of await difference.data()) assert(Math.abs(value) < 1e-5, `${value}`);
  for (const [s, pn] of sizes.patchNums.entries()) {
    const [left, right, size] = scope(() => {
      const z = fromArray(device, normals(2, s, 2 * pn * pn * 6), [2, pn, pn, 6]);
      const r = fromArray(device, normals(3, s, 2 * 8 * 8 * 6), [2, 8, 8, 6]);
      const mapped = maps.forward(z, s);
      return [sum(mul(mapped, r)), sum(mul(z, maps.adjoint(r, s))), sum(mul(mapped, mapped))];
    });
    // <A z, r> = <z, A'r>, to float32 of a sum of 768 products.
    const scale = Math.sqrt(await size.item() * 2 * 8 * 8 * 6);
    assert(Math.abs(await left.item() - await right.item()) < 1e-5 * scale, `scale ${s}`);
    for (const tensor of [left, right, size]) tensor.dispose();
  }
  for (const item of [difference, tokens, maps, family]) item.dispose();
  assert.equal(device.memory().liveBytes, before);
});

withDevices("ScaleMaps: residual() is what scales leave over", async (device) => {
  const family = await smallFamily(device, sizes);
  const maps = new ScaleMaps(family);
  const tokens = randomTokens(device, family, 2);
  const rest = scope(() => maps.residual(family.dequantize(tokens), tokens));
  for (const value of await rest.data()) assert(Math.abs(value) < 1e-5, `${value}`);
  for (const item of [rest, tokens, maps, family]) item.dispose();
});

Deno.test("interactionPeriod() is 3 at the last scale, the whole grid at coarse ones, and never too small", () => {
  const identity = new Float32Array(256);
  for (let i = 0; i < 16; i++) identity[i * 17] = 1;
  assert.equal(interactionPeriod(identity, 16, 16), 3);
  assert.equal(interactionPeriod(resizeMatrix("bicubic", 1, 16), 16, 1), 1);
  assert.equal(interactionPeriod(resizeMatrix("bicubic", 3, 16), 16, 3), 3);
  for (const pn of [5, 6, 8, 10, 13]) {
    const matrix = resizeMatrix("bicubic", pn, 16);
    const period = interactionPeriod(matrix, 16, pn);
    assert(period < pn || pn === 5, `${pn}: ${period}`);
    // Pixels that two codes a period apart reach, spread by one to each side, must not meet.
    const reaches = (i: number, y: number) =>
      [y - 1, y, y + 1].some((at) => at >= 0 && at < 16 && matrix[at * pn + i] !== 0);
    for (let i = 0; i + period < pn; i++) {
      for (let j = i + period; j < pn; j++) {
        for (let y = 0; y < 16; y++) assert(!(reaches(i, y) && reaches(j, y)), `${pn}: ${i} and ${j} meet at ${y}`);
      }
    }
  }
});

Deno.test("positionClasses() hold every position once", () => {
  for (const [pn, period] of [[1, 1], [5, 3], [6, 6], [13, 6]]) {
    const all = positionClasses(pn, period).flatMap(({ positions }) => positions).sort((a, b) => a - b);
    assert.deepEqual(all, Array.from({ length: pn * pn }, (_, i) => i));
  }
});
