/**
 * How products are cut into workgroups on cards: the choice, which is arithmetic on shapes, and that every cut gives
 * the product. The cuts run with tiles for hardware on whatever adapter there is.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { arithmeticOf } from "../../../core/wgsl/adapter.ts";
import { cardOf, knownCard } from "../../../core/wgsl/card.ts";
import type { WebGpuDevice } from "../../../core/wgsl/mod.ts";
import {
  fastestSchedule,
  type ProductSizes,
  type Schedule,
  Scheduler,
  schedulesOf,
} from "../../../core/wgsl/schedule.ts";
import { columnsOf, rowsOf, sharedBytes, threadsOf, type TileName, tiles } from "../../../core/wgsl/tiles.ts";
import { cpuOnly, openWebGpuForTests } from "../devices.ts";
import { agrees, Inputs, sumTolerance } from "../kernels/check.ts";

const h200 = cardOf("NVIDIA H200");

/** Operations of the blocks over those of the product. */
function tileOverReal({ m, n, k, batch }: ProductSizes, { tile, blocks }: Schedule): number {
  return blocks * rowsOf(tiles[tile]) * columnsOf(tiles[tile]) * Math.ceil(k / 8) * 8 / (m * n * k * batch);
}

Deno.test("tiles fit into what every adapter has", () => {
  for (const [name, tile] of Object.entries(tiles)) {
    assert.equal(name, `${rowsOf(tile)}x${columnsOf(tile)}${tile.slices > 1 ? `x${tile.slices}` : ""}`);
    assert.ok(tile.slices === 1 || tile.depth === 4 * tile.slices, name);
    assert.ok(threadsOf(tile) <= 256 && sharedBytes(tile) <= 16384, name);
  }
});

Deno.test("schedulesOf() covers k with parts that are not empty", () => {
  const size = fc.integer({ min: 1, max: 5000 });
  fc.assert(
    fc.property(size, size, fc.integer({ min: 1, max: 600000 }), fc.boolean(), (m, n, k, allInParts) => {
      for (const { tile, blocks, whole, parts, partK } of schedulesOf(h200, { m, n, k, batch: 1, allInParts })) {
        const { depth } = tiles[tile];
        assert.equal(blocks, Math.ceil(m / rowsOf(tiles[tile])) * Math.ceil(n / columnsOf(tiles[tile])));
        assert.ok(whole >= 0 && whole <= blocks && partK % depth === 0);
        assert.ok(parts * partK >= k && (parts - 1) * partK < k, `${parts} parts of ${partK} for ${k}`);
        if (allInParts) assert.equal(whole, 0);
      }
    }),
    { seed: 1, numRuns: 30 },
  );
});

Deno.test("fastestSchedule() computes little beside the product", () => {
  // Widths of VAR's tokenizer; its image of 3 channels in 16 columns; rows of RAR-B and VAR-d16; a step of generation.
  for (
    const [m, n, k, most] of [
      [524288, 160, 1440, 1.01],
      [131072, 320, 2880, 1.01],
      [160, 1440, 524288, 1.03],
      [524288, 3, 1152, 16 / 3 + 0.01],
      [2064, 3072, 768, 1.05],
      [2720, 1024, 1024, 1.06],
      [16, 2304, 768, 1.01],
    ]
  ) {
    const sizes = { m, n, k, batch: 1 };
    const schedule = fastestSchedule(h200, sizes);
    assert.ok(tileOverReal(sizes, schedule) <= most, JSON.stringify(schedule));
  }
});

Deno.test("fastestSchedule() gives every multiprocessor of a card 16 warps, or nearly", () => {
  // Blocks of 128 x 128 alone would be 9 (a gradient of weights), 102 (RAR-B) and 176 (VAR-d16) for 132 of them.
  for (const [m, n, k] of [[128, 1152, 524288], [2064, 768, 768], [2720, 1024, 1024]]) {
    const { tile, blocks, whole, parts } = fastestSchedule(h200, { m, n, k, batch: 1 });
    const warps = (whole + (blocks - whole) * parts) * threadsOf(tiles[tile]) / 32;
    assert.ok(warps >= 0.9 * 16 * h200.multiprocessors, `${m} x ${n} x ${k}: ${warps} warps`);
  }
});

Deno.test("cardOf() knows cards by name, and takes a middling one for others", () => {
  assert.equal(cardOf("NVIDIA H200").multiprocessors, 132);
  assert.equal(cardOf("NVIDIA L4").multiprocessors, 58);
  assert.equal(cardOf("NVIDIA L40S").multiprocessors, 142);
  assert.equal(cardOf("NVIDIA A100-SXM4-80GB").multiprocessors, 108);
  assert.deepEqual(cardOf("llvmpipe (LLVM 15.0.6, 256 bits)"), cardOf(""));
  assert.equal(knownCard("NVIDIA H200")?.flopsPerSecond, 67e12);
  assert.equal(knownCard("llvmpipe (LLVM 15.0.6, 256 bits)"), undefined);
});

if (!cpuOnly) {
  const device = await openWebGpuForTests({ tiles: "hardware" }) as WebGpuDevice;
  globalThis.addEventListener("unload", () => device.close());
  /** Makes the device take this tile, with all blocks whole, all in two or three parts, or the first one whole. */
  const force = (tile: TileName, ending: "whole" | "parts" | "either") => {
    device.scheduler = new Scheduler(h200, (card, sizes) => {
      const all = [...schedulesOf(card, sizes)].filter((schedule) => schedule.tile === tile);
      if (ending === "whole" && !sizes.allInParts) return all.find(({ whole, blocks }) => whole === blocks)!;
      const inParts = all.find(({ parts }) => parts === 2 || parts === 3)!;
      return ending === "either" && !sizes.allInParts ? { ...inParts, whole: 1 } : inParts;
    });
  };

  for (const tile of Object.values(tiles)) {
    // Whole numbers: sums below 2^24 are exact, so any lost or doubled term shows.
    const small = (values: Float32Array, inputs: Inputs) => values.forEach((_, i) => values[i] = inputs.int(-9, 9));
    const matmulArgs = (n: number, k: number, seed: number) => {
      const inputs = new Inputs(seed), m = 257;
      const args = {
        ...{ a: new Float32Array(m * k), b: new Float32Array(n * k), batch: 1, m, n, k },
        ...{ aBatchStride: 0, bBatchStride: 0, transA: false, transB: false, packed: false, bType: "f32" as const },
        epilogue: { activation: "relu" as const, bias: new Float32Array(n), residual: new Float32Array(m * n) },
      };
      for (const values of [args.a, args.b, args.epilogue.bias, args.epilogue.residual]) small(values, inputs);
      return args;
    };

    // Programs without an epilogue compile in half the time, so that only three tiles have all endings.
    const often = ["128x128", "80x160", "64x64x4"].includes(tile.name);

    Deno.test(`blocks of ${tile.name} give the product in parts`, async () => {
      force(tile.name, often ? "either" : "parts");
      await agrees(device, "matmul", { ...matmulArgs(161, 139, 1), transA: sharedBytes(tile, true) > 16384 });
    });

    if (!often) continue;

    Deno.test(`blocks of ${tile.name} give the product of packed and of turned matrices`, async () => {
      force(tile.name, "whole");
      await agrees(device, "matmul", { ...matmulArgs(164, 140, 2), packed: true });
      force(tile.name, "parts");
      const columnsFit = sharedBytes(tile, true) <= 16384;
      await agrees(device, "matmul", { ...matmulArgs(161, 139, 3), transA: true, transB: columnsFit });
    });

    Deno.test(`blocks of ${tile.name} give the convolution and the gradient of its weight`, async () => {
      const inputs = new Inputs(4), [batch, h, w, cIn, cOut] = [2, 13, 12, 16, 165];
      const sizes = {
        ...{ batch, h, w, cIn, cOut, kh: 3, kw: 3, stride: 1, upsample: 1 as const },
        ...{ padTop: 1, padLeft: 1, outH: h, outW: w },
      };
      const x = inputs.wholeF32(batch * h * w * cIn, -9, 9);
      const weight = inputs.wholeF32(cOut * cIn * 9, -9, 9);
      force(tile.name, "either");
      await agrees(device, "conv2d", { ...sizes, x, weight, wType: "f32", activation: "none" });
      const upstream = inputs.wholeF32(batch * h * w * cOut, -9, 9);
      await agrees(device, "conv2dWeightGradient", { ...sizes, x, upstream });
    });
  }

  Deno.test("products of odd sizes agree with the reference, cut as cards would cut them", async () => {
    device.scheduler = new Scheduler(h200);
    for (
      const [batch, m, n, k, transA, transB, gap] of [
        [1, 257, 160, 129, false, false, 0],
        [3, 129, 257, 160, true, false, 3],
        [2, 160, 129, 257, false, true, 4],
        [1, 1, 257, 8192, true, true, 0],
      ] as const
    ) {
      const inputs = new Inputs(n);
      const [aBatchStride, bBatchStride] = [m * k + gap, k * n + gap];
      const args = {
        ...{ a: inputs.f32(batch * aBatchStride), b: inputs.f32(batch * bBatchStride), batch, m, n, k },
        ...{ aBatchStride, bBatchStride, transA, transB, packed: false, bType: "f32" as const },
        epilogue: { activation: "silu" as const, bias: inputs.f32(n), residual: inputs.f32(batch * m * n) },
      };
      await agrees(device, "matmul", args, sumTolerance(device, k, Math.sqrt(k) / 3 + 1));
    }
  });

  Deno.test("a product in parts gives the same sums every time", async () => {
    force("64x64", "parts");
    const inputs = new Inputs(9), [m, n, k] = [65, 68, 200];
    const args = {
      ...{ a: inputs.f32(m * k), b: inputs.f32(n * k), batch: 1, m, n, k, aBatchStride: 0, bBatchStride: 0 },
      ...{ transA: true, transB: false, packed: false, bType: "f32" as const },
      epilogue: { activation: "none" as const },
    };
    const tolerance = sumTolerance(device, k, 5);
    const [first, second] = [
      await agrees(device, "matmul", args, tolerance),
      await agrees(device, "matmul", args, tolerance),
    ];
    assert.deepEqual(first, second);
  });

  Deno.test("products in f16 are off by roundings of float16, and only those of packed weights", async () => {
    const open = async () => await openWebGpuForTests({ tiles: "hardware", arithmetic: "f16" }) as WebGpuDevice;
    if (!device.adapter.gpu.features.has("shader-f16")) { // SwiftShader
      await assert.rejects(open(), /has no shader-f16/);
      return;
    }
    const half = await open();
    try {
      assert.match(half.info.name, /, products in f16$/);
      const inputs = new Inputs(6), [m, n, k] = [65, 68, 515];
      const args = {
        ...{ a: inputs.f32(m * k), b: inputs.f32(n * k), batch: 1, m, n, k, aBatchStride: 0, bBatchStride: 0 },
        ...{ transA: false, transB: false, bType: "f32" as const, epilogue: { activation: "none" as const } },
      };
      const scale = Math.sqrt(k) / 3;
      await agrees(half, "matmul", { ...args, packed: false }, sumTolerance(half, k, scale));
      // Two roundings of operands and up to eight of sums, of random signs, come to 7e-4 of a result's deviation, and
      // the worst of thousands to five times that. Bounds are relative to the largest result, about four deviations.
      const tolerance = { roundings: 1.25e-3 / 2 ** -24, floor: scale };
      await agrees(half, "matmul", { ...args, packed: true }, tolerance);
      await assert.rejects(agrees(half, "matmul", { ...args, packed: true }, sumTolerance(half, k, scale)), /off by/);
    } finally {
      half.close();
    }
    await assert.rejects(openWebGpuForTests({ tiles: "software", arithmetic: "f16" }), /tiles for hardware/);
    assert.throws(() => arithmeticOf("f64" as "f32"), /expected f32 or f16, got f64/);
  });
}
