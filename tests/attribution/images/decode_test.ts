import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { decodeImage, encodePng, sniff } from "../../../attribution/images/decode.ts";
import { assertSamePixels, expected, fixture, goldenImage, goldenPixels, goldenTensor, manifest } from "./fixtures.ts";

for (const format of ["png", "jpg", "webp"]) {
  Deno.test(`decodeImage() gives Pillow's pixels for every ${format} file, bit for bit`, async () => {
    const names = Object.keys(manifest.files).filter((name) => name.endsWith(`.${format}`));
    assert.ok(names.length >= 6, `only ${names.length} fixtures`);
    for (const name of names) {
      assertSamePixels(await decodeImage(fixture(name)), expected(manifest.files[name]), name);
    }
  });
}

Deno.test("decodeImage() gives the golden images' pixels, which follow a formula", async () => {
  // Pixel formula of the golden data: two sine waves and a gradient per channel.
  const formula = (k: number, height: number, width: number) => {
    const data = new Uint8Array(height * width * 3);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < 3; c++, at++) {
          const [u, v] = [(x + 0.5) / width, (y + 0.5) / height];
          const [a, b] = [1 + (k + c) % 3, 1 + (2 * k + c) % 4];
          const [d, e] = [3 + (3 * k + 2 * c) % 5, 2 + (k + 2 * c) % 5];
          const phase = 0.7 * k + 2.1 * c;
          const sign = (c + k) % 2 === 1 ? 1 : -1;
          const value = 0.5 + 0.22 * Math.sin(2 * Math.PI * (a * u + b * v) + phase) +
            0.14 * Math.sin(2 * Math.PI * (d * u - e * v) + 1.3 * phase) + 0.1 * sign * (u + v - 1);
          data[at] = Math.floor(Math.min(1, Math.max(0, value)) * 255 + 0.5);
        }
      }
    }
    return { width, height, data };
  };
  for (const [k, width, height] of [[0, 64, 64], [1, 72, 48], [2, 300, 200], [3, 199, 301], [4, 30, 20]]) {
    const name = `img${k}_${width}x${height}.png`;
    assertSamePixels(await decodeImage(goldenImage(name)), formula(k, height, width), name);
  }
});

Deno.test("decodeImage() gives the golden pixels of the JPEG files that Pillow wrote", async () => {
  for (const quality of [10, 60, 90]) {
    const { data } = goldenTensor(`jpegbytes_${quality}`);
    assertSamePixels(await decodeImage(data), goldenPixels(`pil_jpeg_${quality}`), `quality ${quality}`);
  }
});

Deno.test("sniff() reads format and size of every fixture from the content", () => {
  for (const [name, { width, height }] of Object.entries(manifest.files)) {
    const format = name.endsWith("jpg") ? "jpeg" : name.split(".")[1];
    assert.deepEqual(sniff(fixture(name)), { format, width, height }, name);
  }
});

Deno.test("decodeImage() goes by the content: a JPEG called .png is decoded", async () => {
  const image = await decodeImage(fixture("q95_420.jpg"), { name: "photo.png" });
  assertSamePixels(image, expected(manifest.files["q95_420.jpg"]), "photo.png");
});

Deno.test("encodePng() is undone by decodeImage() for any image", async () => {
  const images = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.integer()).map(
    ([width, height, seed]) => {
      const data = new Uint8Array(width * height * 3);
      for (let i = 0, x = seed >>> 0; i < data.length; i++) {
        x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
        data[i] = i % 5 === 0 ? x >>> 24 : i >> 3; // noise on gradients, so that every row filter gets its turn
      }
      return { width, height, data };
    },
  );
  await fc.assert(
    fc.asyncProperty(images, async (image) => {
      assertSamePixels(await decodeImage(await encodePng(image)), image, `${image.width}x${image.height}`);
    }),
    { numRuns: 60 },
  );
});

Deno.test("encodePng() refuses data of the wrong length", async () => {
  await assert.rejects(
    encodePng({ width: 2, height: 2, data: new Uint8Array(16) }),
    new RangeError("encodePng: 2x2 RGB expects 12 bytes, got 16"),
  );
});
