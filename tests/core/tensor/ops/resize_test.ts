/**
 * Resizing and pooling against tensors that PyTorch computed (tests/fixtures/golden/case03b_interpolation), on every
 * device, and the matrices behind them against torch.nn.functional.interpolate's definitions.
 */
import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  avgPool2d,
  fromArray,
  resize,
  resizeMatrix,
  type ResizeMode,
  scope,
  type Tensor,
} from "../../../../core/tensor/mod.ts";
import { Resizer } from "../../../../core/tensor/mod.ts";
import { compare } from "../../kernels/check.ts";
import { withDevices } from "../../devices.ts";

const folder = new URL("../../../fixtures/golden/", import.meta.url);

interface Golden {
  readonly shape: number[];
  readonly data: Float32Array;
}

/** Reads the f32 tensors of a safetensors file. */
function readGolden(name: string): Record<string, Golden> {
  const bytes = Deno.readFileSync(new URL(`${name}.safetensors`, folder));
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: Record<string, { shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, 8 + length)),
  );
  return Object.fromEntries(
    Object.entries(header).filter(([key]) => key !== "__metadata__").map(
      ([key, { shape, data_offsets: [from, to] }]) => {
        return [key, { shape, data: new Float32Array(bytes.slice(8 + length + from, 8 + length + to).buffer) }];
      },
    ),
  );
}

/** NCHW to NHWC. */
function channelsLast({ shape: [n, c, h, w], data }: Golden): { shape: number[]; data: Float32Array<ArrayBuffer> } {
  const out = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const [x, y, channel, image] = [
      i % w,
      Math.floor(i / w) % h,
      Math.floor(i / (w * h)) % c,
      Math.floor(i / (w * h * c)),
    ];
    out[((image * h + y) * w + x) * c + channel] = data[i];
  }
  return { shape: [n, h, w, c], data: out };
}

const golden = readGolden("case03b_interpolation");

interface Case {
  readonly source: string;
  readonly apply: (x: Tensor, outH: number, outW: number) => Tensor;
}

/** What made the golden tensor `name`, by its name. */
function caseOf(name: string): Case | undefined {
  const to = (mode: ResizeMode) => (x: Tensor, outH: number, outW: number) => resize(x, mode, outH, outW);
  if (name === "nearest_x2") return { source: "src_nn", apply: to("nearest") };
  if (name === "avgpool2") return { source: "src_nn", apply: (x) => avgPool2d(x, 2) };
  const [mode, from, , target] = name.split("_");
  if (mode !== "area" && mode !== "bicubic") return undefined;
  if (from.includes("x")) return { source: "src_nn", apply: to(mode) };
  return { source: mode === "area" ? `src_${from}` : `src_${from}_for_${target}`, apply: to(mode) };
}

withDevices("resize() and avgPool2d() agree with PyTorch", async (device) => {
  let compared = 0;
  for (const [name, tensor] of Object.entries(golden)) {
    const made = caseOf(name);
    if (!made) continue;
    const source = channelsLast(golden[made.source]);
    const expected = channelsLast(tensor);
    using got = scope(() =>
      made.apply(fromArray(device, source.data, source.shape), expected.shape[1], expected.shape[2])
    );
    assert.deepEqual(got.shape, expected.shape, name);
    // Two float32 sums of at most 16 terms each here, as many in PyTorch.
    compare(name, await got.data(), Float64Array.from(expected.data), { roundings: 32, floor: 0.5 });
    compared++;
  }
  assert.equal(compared, 38, "golden tensors compared");
});

withDevices("a Resizer takes any batch and channels, frees its matrices, and refuses other sizes", async (device) => {
  const before = device.memory().liveCount;
  const resizer = new Resizer(device, "area", [4, 2], [2, 2]);
  const data = Float32Array.from({ length: 2 * 4 * 2 * 3 }, (_, i) => i);
  const got = scope(() => resizer.apply(fromArray(device, data, [2, 4, 2, 3])));
  // Rows y and y + 1 are averaged; they are 6 elements apart.
  const expected = Float64Array.from({ length: 24 }, (_, i) => Math.floor(i / 6) * 12 + (i % 6) + 3);
  compare("area", await got.data(), expected, { roundings: 4 });
  assert.throws(
    () => scope(() => void resizer.apply(fromArray(device, data, [2, 2, 4, 3]))),
    /^TypeError: resize: x expects \[batch, 4, 2, c\], got \[2, 2, 4, 3\]$/,
  );
  got.dispose();
  resizer.dispose();
  assert.equal(device.memory().liveCount, before);
});

withDevices("resize() to the same size is a new tensor with the same values", async (device) => {
  const x = fromArray(device, [1, 2, 3, 4], [1, 2, 2, 1]);
  const y = resize(x, "bicubic", 2, 2);
  assert.notEqual(y, x);
  x.dispose();
  assert.deepEqual(await y.data(), Float32Array.of(1, 2, 3, 4));
  y.dispose();
});

const modes: readonly ResizeMode[] = ["nearest", "area", "bilinear", "bicubic"];
const size = fc.integer({ min: 1, max: 40 });

Deno.test("resizeMatrix() keeps constants: every row sums to one", () => {
  fc.assert(
    fc.property(fc.constantFrom(...modes), size, size, (mode, from, to) => {
      const matrix = resizeMatrix(mode, from, to);
      assert.equal(matrix.length, from * to);
      for (let i = 0; i < to; i++) {
        const sum = matrix.subarray(i * from, (i + 1) * from).reduce((s, v) => s + v, 0);
        assert.ok(Math.abs(sum - 1) < 1e-6, `row ${i} sums to ${sum}`);
      }
      if (from === to) assert.deepEqual([...matrix], Array.from(matrix, (_, i) => i % (from + 1) === 0 ? 1 : 0));
    }),
    { seed: 3, numRuns: 400 },
  );
});

Deno.test("resizeMatrix() of bilinear reproduces a line inside the borders", () => {
  for (const [from, to] of [[8, 16], [8, 13], [16, 8], [16, 5]]) {
    const matrix = resizeMatrix("bilinear", from, to);
    for (let i = 0; i < to; i++) {
      const centre = (i + 0.5) * from / to - 0.5;
      if (centre < 0 || centre > from - 1) continue;
      const value = matrix.subarray(i * from, (i + 1) * from).reduce((s, v, j) => s + v * j, 0);
      assert.ok(Math.abs(value - centre) < 1e-5, `${from} -> ${to}, row ${i}: ${value}, expected ${centre}`);
    }
  }
});

Deno.test("resizeMatrix() of bilinear clamps at the borders", () => {
  assert.deepEqual([...resizeMatrix("bilinear", 2, 4)], [1, 0, 0.75, 0.25, 0.25, 0.75, 0, 1]);
});

Deno.test("resizeMatrix() of nearest takes PyTorch's source index, computed in float32", () => {
  // aten/src/ATen/native/UpSample.h: nearest_neighbor_compute_source_index is floorf(index * scale), scale = in / out, both
  // float32. For 14 -> 46 the exact product is 7 at index 23 and the float32 one is below.
  for (const [from, to] of [[5, 10], [8, 3], [7, 20], [14, 46], [6, 74], [3, 123]]) {
    const matrix = resizeMatrix("nearest", from, to);
    for (let i = 0; i < to; i++) {
      const expected = Math.min(Math.floor(Math.fround(i * Math.fround(from / to))), from - 1);
      const row = matrix.subarray(i * from, (i + 1) * from);
      assert.equal(row.indexOf(1), expected, `${from} -> ${to}, index ${i}`);
    }
  }
});
