/** Files that somebody made to harm a decoder: damaged, lying about their size, or two things at once. No assertions. */
import { Buffer } from "node:buffer";
import { crc32, deflateSync } from "node:zlib";

/** A file, and what was done to it. */
export interface HostileFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Numbers from 0 to `below` - 1, the same for the same seed (Numerical Recipes' generator). */
export function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

type Damage = (bytes: Uint8Array<ArrayBuffer>, draw: (below: number) => number) => Uint8Array;

const text = (value: string) => new TextEncoder().encode(value);

/** A chunk of a PNG file. */
function chunk(type: string, content: Uint8Array): Uint8Array {
  const body = Buffer.concat([text(type), content]), frame = Buffer.alloc(8);
  frame.writeUInt32BE(content.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A PNG of RGB that says it has this size. */
function png(width: number, height: number, data: Uint8Array, ...more: Uint8Array[]): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  return Buffer.concat([
    ...[signature, chunk("IHDR", header), ...more, chunk("IDAT", deflateSync(data))],
    chunk("IEND", new Uint8Array()),
  ]);
}

/** An empty zip archive, a page and a script: what follows or precedes an image in files that are two things at once. */
const others = [
  new Uint8Array([0x50, 0x4b, 5, 6, ...new Array(18).fill(0)]),
  text("<html><script>alert(1)</script></html>"),
  text('#!/bin/sh\nrm -rf "$HOME"\n'),
  text("%PDF-1.7\n%%EOF\n"),
];

/** What is done to files that are images. */
const damages: Readonly<Record<string, Damage>> = {
  "cut off": (bytes, draw) => bytes.slice(0, draw(bytes.length)),
  "a flipped bit": (bytes, draw) => {
    bytes[draw(bytes.length)] ^= 1 << draw(8);
    return bytes;
  },
  "flipped bits": (bytes, draw) => {
    for (let i = 0; i < 40; i++) bytes[draw(bytes.length)] ^= 1 << draw(8);
    return bytes;
  },
  "noise in the header": (bytes, draw) => {
    for (let i = 0; i < 12; i++) bytes[8 + draw(Math.min(120, bytes.length - 8))] = draw(256);
    return bytes;
  },
  "a length of 0xffffffff": (bytes, draw) => {
    const at = 8 + draw(Math.max(1, bytes.length - 12));
    return bytes.fill(255, at, at + 4);
  },
  "zeros": (bytes, draw) => {
    const at = draw(bytes.length);
    return bytes.fill(0, at, at + 1 + draw(200));
  },
  "a part twice": (bytes, draw) => {
    const from = draw(bytes.length), to = from + draw(bytes.length - from);
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
  },
  "a part missing": (bytes, draw) => {
    const from = draw(bytes.length), to = Math.min(bytes.length, from + 1 + draw(300));
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  "something behind it": (bytes, draw) => Buffer.concat([bytes, others[draw(others.length)]]),
  "something before it": (bytes, draw) => Buffer.concat([others[draw(others.length)], bytes]),
};

/** Files that are made for harm. */
const made: readonly ((draw: (below: number) => number) => [string, Uint8Array])[] = [
  (draw) => ["a PNG of 4 Gi x 4 Gi pixels", png(2 ** 32 - 1 - draw(9), 2 ** 32 - 1, new Uint8Array(60))],
  (draw) => ["a PNG that says it is large", png(8000 + draw(190), 8000, new Uint8Array(60))],
  (draw) => ["a bomb in a PNG", png(4, 4, new Uint8Array(2 ** 24 + draw(2 ** 20)))],
  (draw) => [
    "a bomb in a profile",
    png(
      4,
      4,
      new Uint8Array(52),
      chunk("iCCP", Buffer.concat([text("x\0\0"), deflateSync(new Uint8Array(2 ** 24 + draw(99)))])),
    ),
  ],
  (draw) => [
    "a JPEG of 65535 x 65535 pixels",
    new Uint8Array([
      ...[0xff, 0xd8, 0xff, 0xc2, 0, 17, 8, 255, 255, 255, 255, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0],
      ...Array.from({ length: 50 }, () => draw(256)),
    ]),
  ],
  (draw) => [
    "a WebP of 16384 x 16384 pixels",
    Buffer.concat([
      text("RIFF"),
      new Uint8Array([100, 0, 0, 0]),
      text("WEBPVP8L"),
      new Uint8Array([80, 0, 0, 0, 0x2f, 255, 255, 255, 0x0f]),
      Uint8Array.from({ length: 80 }, () => draw(256)),
    ]),
  ],
  (draw) => ["bytes", Uint8Array.from({ length: draw(400) }, () => draw(256))],
];

/** `count` files: one of a kind after the other, made of `images`. The same for the same images and seed. */
export function hostileFiles(images: readonly Uint8Array<ArrayBuffer>[], count: number, seed = 1): HostileFile[] {
  const draw = numbers(seed), kinds = Object.entries(damages);
  return Array.from({ length: count }, (_, i) => {
    const kind = i % (kinds.length + 1);
    if (kind === kinds.length) {
      const [name, bytes] = made[Math.floor(i / (kinds.length + 1)) % made.length](draw);
      return { name: `${i}: ${name}`, bytes: new Uint8Array(bytes) };
    }
    const [name, damage] = kinds[kind];
    const image = draw(images.length);
    return { name: `${i}: image ${image}, ${name}`, bytes: new Uint8Array(damage(images[image].slice(), draw)) };
  });
}
