import assert from "node:assert/strict";
import { join } from "node:path";
import { openCpuDevice } from "../../core/cpu/mod.ts";
import { fromArray, scope } from "../../core/tensor/mod.ts";
import { convertCheckpoint, halfWhereLoaded } from "../../models/checkpoint/convert.ts";
import {
  f16ToF32,
  openCheckpoint,
  syntheticInput,
  syntheticSource,
  type TensorSource,
} from "../../models/checkpoint/mod.ts";
import { rarVariants } from "../../models/rar/config.ts";
import { loadRarVariant } from "../../models/rar/family.ts";
import { transformerSpecs as rarSpecs } from "../../models/rar/transformer.ts";
import { tokenCount, varVariants } from "../../models/var/config.ts";
import { loadVarVariant } from "../../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../../models/var/transformer.ts";
import type { WeightSpec } from "../../models/weights.ts";

const sizes = { classes: 10, codes: 64 };
const rar = {
  ...rarVariants[0].config,
  ...sizes,
  hiddenSize: 128,
  layers: 3,
  heads: 4,
  intermediateSize: 256,
  tokenCount: 9,
  spareRows: 2,
};
const patchNums = [1, 2, 3];
const varConfig = {
  ...varVariants[0].config,
  ...sizes,
  depth: 3,
  embedDim: 128,
  heads: 4,
  patchNums,
  codeChannels: 16,
};

/** Float32 values that are those which half precision holds, where loading stores halves. */
function rounded(source: TensorSource, specs: readonly WeightSpec[]): TensorSource {
  const halves = new Set(specs.filter((spec) => halfWhereLoaded(spec) === "f16").map(({ name }) => name));
  return {
    ...source,
    readF32: async (name) => halves.has(name) ? f16ToF32(await source.readF16(name)) : await source.readF32(name),
  };
}

function distance(a: Float32Array, b: Float32Array): { largest: number; relative: number } {
  let largest = 0, error = 0, magnitude = 0;
  a.forEach((value, i) => {
    largest = Math.max(largest, Math.abs(value - b[i]));
    error += (value - b[i]) ** 2;
    magnitude += b[i] ** 2;
  });
  return { largest, relative: Math.sqrt(error / magnitude) };
}

Deno.test("transformers from files in half precision compute in float32 what their rounded weights say", async () => {
  const dir = await Deno.makeTempDir();
  const device = openCpuDevice({ threads: 1 });
  const networks = {
    rar: {
      specs: rarSpecs(rar),
      logits: async (source: TensorSource, weightType: "f32" | "f16") => {
        const variant = await loadRarVariant(device, source, rar, "rarb", { weightType });
        const condition = variant.condition([3, null]);
        const tokens = fromArray(device, Int32Array.from({ length: 18 }, (_, i) => i * 7 % 64), [2, 9]);
        return { variant, condition, input: tokens, logits: scope(() => variant.logits(tokens, condition)) };
      },
    },
    var: {
      specs: varSpecs(varConfig),
      logits: async (source: TensorSource, weightType: "f32" | "f16") => {
        const variant = await loadVarVariant(device, source, varConfig, "var16", { weightType });
        const condition = variant.condition([3, null]);
        const shape = [2, tokenCount(patchNums) - 1, 16];
        const rows = fromArray(device, syntheticInput("half", "rows", shape), shape);
        return { variant, condition, input: rows, logits: scope(() => variant.logits(rows, condition)) };
      },
    },
  };
  for (const [name, { specs, logits }] of Object.entries(networks)) {
    const original = syntheticSource("half", specs);
    const path = join(dir, `${name}.safetensors`);
    await convertCheckpoint(original, specs, path, { what: name });
    const run = async (source: TensorSource, weightType: "f32" | "f16") => {
      const found = await logits(source, weightType);
      const values = await found.logits.data();
      const bytes = found.variant.weightBytes;
      for (const item of [found.logits, found.input, found.condition, found.variant]) item.dispose();
      return { values, bytes };
    };
    const file = await openCheckpoint(path);
    const halves = await run(file, "f16");
    file.close();
    const same = await run(rounded(original, specs), "f32");
    const exact = await run(original, "f32");
    assert.ok(halves.bytes < 0.6 * exact.bytes, `${name}: weights stay in half precision on the device`);
    // Both multiply the same float32 numbers; sums are in the same order up to what the tiles expand at a time.
    const own = distance(halves.values, same.values);
    assert.ok(own.relative < 1e-5, `${name}: expected equal logits, got a relative distance of ${own.relative}`);
    // 11 bits per weight: 2^-12 each on average, growing with the root of what they pass through.
    const storage = distance(halves.values, exact.values);
    assert.ok(storage.relative > 1e-5 && storage.relative < 2e-3, `${name}: got ${storage.relative} from storage`);
  }
  assert.equal(device.memory().liveBytes, 0);
  device.close();
  await Deno.remove(dir, { recursive: true });
});
