import assert from "node:assert/strict";
import { fittingBatch, generationMemory, leastGenerationMemory, requireMemory } from "../../generation/memory.ts";
import { withSampleMemory } from "../../training/sampled.ts";
import { withOfficial } from "../official_sizes.ts";

const GiB = 2 ** 30;

Deno.test("all official variants are drawn from one at a time: in half precision within 5 GiB, else in what the largest needs", async () => {
  await withOfficial(async (set, device) => {
    const all = [...set.variants("rar"), ...set.variants("var")];
    requireMemory(set, device, all, { bytes: 5 * GiB, isUsual: false }, "f16");
    const least = leastGenerationMemory(set, device, all);
    assert.ok(least > 8 * GiB && least < 9 * GiB, String(least));
    for (const variant of all) {
      assert.ok(fittingBatch(set, device, variant, least)!.generate >= 1, variant);
      // Kernels work in one block of 4 GiB, however large the limit is.
      const { generate, decode } = fittingBatch(set, device, variant, 64 * GiB)!;
      assert.ok(generate >= 1 && generate < 40 && decode >= 1 && decode < 20, `${variant}: ${generate}, ${decode}`);
    }
    assert.deepEqual(await generationMemory(set, device, all, 3 * GiB), { bytes: 3 * GiB, isUsual: false });
  });
});

Deno.test("a refusal to draw names every variant that is too large by itself, and only options that help", async () => {
  await withOfficial((set, device) => {
    const all = [...set.variants("rar"), ...set.variants("var")];
    const message = (bytes: number, type?: "f32" | "f16") => {
      try {
        requireMemory(set, device, all, { bytes, isUsual: false }, type);
      } catch (error) {
        return (error as Error).message;
      }
      throw new Error("expected a refusal");
    };
    assert.match(
      message(5 * GiB),
      /^memory: the limit of 5\.00 GiB is not enough for one image; needed are:\n {2}rarxxl: .*\n {2}var24: .*\n {2}var30: 8\.\d+ GiB \(weights .*, tokenizer .*\)\nwhat would help: --weight-type f16; or --memory 9GiB; or --model rarb --model rarl --model rarxl --model var16 --model var20, which fit$/,
    );
    assert.match(
      message(3 * GiB, "f16"),
      /what would help: --memory 5GiB; or --model rarb --model rarl --model rarxl /,
    );
    assert.doesNotMatch(message(3 * GiB, "f16"), /--weight-type/);
  });
});

Deno.test("train --sample asks for what it draws from: its own variants one at a time, and the smallest of another family", async () => {
  await withOfficial(async (set, device) => {
    const settings = { count: 10, variants: null, weightType: "f16", memoryBytes: null } as const;
    // rarxl and rarxxl are the other family's, and are not opened.
    const tight = { ...settings, variants: ["var16"], memoryBytes: 2.5 * GiB };
    assert.equal((await withSampleMemory(set, device, "var", tight)).memoryBytes, 2.5 * GiB);
    await assert.rejects(
      withSampleMemory(set, device, "var", { ...tight, variants: null }),
      /^MemoryLimitError: (?!.*rarx).*\n {2}var24: .*\n {2}var30: .*\nwhat would help: --memory 5GiB; or --variants var16,var20, which fit$/s,
    );
    await assert.rejects(
      withSampleMemory(set, device, "var", { ...settings, variants: ["rarb"] }),
      /--variants: expected variants of the family var, got rarb/,
    );
  });
});
