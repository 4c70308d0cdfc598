// Reads the reference data for the image tests: tests/fixtures/images (written by make.py there with Pillow) and the
// golden case10. No assertions but the comparison of pixels.

import assert from "node:assert/strict";
import type { RgbImage } from "../../../attribution/images/decode.ts";
import type { PilFilter } from "../../../attribution/images/pil_resize.ts";

const FIXTURES = new URL("../../fixtures/", import.meta.url);

export interface ExpectedPixels {
  readonly width: number;
  readonly height: number;
  readonly offset: number;
}

export const manifest: {
  readonly files: Record<string, ExpectedPixels>;
  readonly resizes: readonly (ExpectedPixels & { source: string; filter: PilFilter })[];
} = JSON.parse(Deno.readTextFileSync(new URL("images/manifest.json", FIXTURES)));

const expectedBytes = Deno.readFileSync(new URL("images/expected.bin", FIXTURES));

export function expected({ width, height, offset }: ExpectedPixels): RgbImage {
  return { width, height, data: expectedBytes.subarray(offset, offset + width * height * 3) };
}

export function fixture(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`images/${name}`, FIXTURES));
}

export function goldenImage(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`golden/images/${name}`, FIXTURES));
}

/** A uint8 tensor [height, width, 3] of the golden case10 as an image. */
export function goldenPixels(name: string): RgbImage {
  const { shape, data } = goldenTensor(name);
  const [height, width, channels] = shape;
  assert.equal(channels, 3);
  return { width, height, data };
}

/** A uint8 tensor of the golden case10. */
export function goldenTensor(name: string): { shape: number[]; data: Uint8Array } {
  const file = (golden ??= Deno.readFileSync(new URL("golden/case10_attacks.safetensors", FIXTURES)));
  const headerLength = Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerLength)));
  const { dtype, shape, data_offsets: [from, to] } = header[name];
  assert.equal(dtype, "U8");
  return { shape, data: file.subarray(8 + headerLength + from, 8 + headerLength + to) };
}

let golden: Uint8Array<ArrayBuffer> | undefined;

/** Every byte must be equal; the message says by how much they are not. */
export function assertSamePixels(actual: RgbImage, expected: RgbImage, name: string): void {
  assert.deepEqual([actual.width, actual.height], [expected.width, expected.height], `${name}: size`);
  assert.equal(actual.data.length, expected.data.length, `${name}: bytes`);
  let differing = 0;
  let largest = 0;
  for (let i = 0; i < actual.data.length; i++) {
    const difference = Math.abs(actual.data[i] - expected.data[i]);
    if (difference > 0) differing++;
    largest = Math.max(largest, difference);
  }
  assert.equal(differing, 0, `${name}: ${differing} of ${actual.data.length} values differ, by up to ${largest}`);
}
