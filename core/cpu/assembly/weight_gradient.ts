// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * The gradient of a convolution's weight: products of the upstream's channels with the input's, summed over pixels.
 * Partial sums over parts of the pixels are kept apart and added in a fixed order.
 *
 * 3x3 kernels with stride 1 use Winograd's F(2x2, 3x3) backwards: with y = A^T [(G w G^T) . (B^T d B)] A, the
 * gradient of w is G^T [sum over tiles of (A dy A^T) . (B^T d B)] G: 16 products per tile and pair of channels, not 36.
 */
import { int, ptr } from "./args.ts";
import { block, flushStrip } from "./block.ts";
import { transposeBlock, transposeTo } from "./pack.ts";
import { GAP, inputRow } from "./winograd.ts";

/**
 * Addresses of the pixels of tile `t`: 16 pixels of the padded, up-sampled input and the 4 of the upstream (from byte
 * `column` of each pixel on), `zeros` where there is none. ints as in winogradWeight.
 */
function tileAddresses(args: usize, t: i32, column: usize, zeros: usize, pixels: usize, upstream: usize): void {
  const h = int(args, 3), w = int(args, 4), c = int(args, 5), cOut = int(args, 6), shift = int(args, 7) - 1;
  const outH = int(args, 10), outW = int(args, 11);
  const tilesX = outW + 1 >> 1, tilesY = outH + 1 >> 1;
  const y0 = t / tilesX % tilesY << 1, x0 = t % tilesX << 1;
  const z = t / (tilesX * tilesY);
  for (let r = 0; r < 4; r++) {
    const y = y0 + r - int(args, 8) >> shift;
    const row = ptr(args, 0) + (<usize> ((z * h + y) * w * c) << 2);
    for (let s = 0; s < 4; s++) {
      const x = x0 + s - int(args, 9) >> shift;
      const inside = y >= 0 && y < h && x >= 0 && x < w;
      store<u32>(pixels, <u32> (inside ? row + (<usize> (x * c) << 2) : zeros));
      pixels += 4;
    }
  }
  for (let r = 0; r < 2; r++) {
    for (let s = 0; s < 2; s++) {
      const at = ((z * outH + y0 + r) * outW + x0 + s) * cOut;
      const inside = y0 + r < outH && x0 + s < outW;
      store<u32>(upstream, <u32> (inside ? ptr(args, 1) + (<usize> at << 2) + column : zeros));
      upstream += 4;
    }
  }
}

/** One row of A dy A^T, given the two values of A dy, to positions 64 bytes apart. */
@inline
function upstreamRow(a: v128, b: v128, to: usize): void {
  v128.store(to, a);
  v128.store(to, f32x4.add(a, b), 64);
  v128.store(to, f32x4.sub(a, b), 128);
  v128.store(to, f32x4.neg(b), 192);
}

/**
 * Y[16][channels][tiles] of `count` tiles: A dy A^T with tiles innermost, rows `rowBytes` and positions `apart` bytes
 * apart. `table` holds four addresses per tile, `four` is 1024 bytes of private memory.
 */
function transformUpstream(
  table: usize, count: i32, channels: i32, four: usize, to: usize, rowBytes: usize, apart: usize,
): void {
  for (let t = 0; t < count; t += 4) {
    const tiles = min(4, count - t);
    for (let c = 0; c < channels; c += 4) {
      const at = <usize> c << 2;
      for (let i = 0; i < tiles; i++) {
        const p = table + (<usize> (t + i) << 4);
        const a = v128.load(<usize> load<u32>(p) + at), b = v128.load(<usize> load<u32>(p, 4) + at);
        const c = v128.load(<usize> load<u32>(p, 8) + at), d = v128.load(<usize> load<u32>(p, 12) + at);
        const f = four + (<usize> i << 4);
        upstreamRow(a, b, f);
        upstreamRow(f32x4.add(a, c), f32x4.add(b, d), f + 256);
        upstreamRow(f32x4.sub(a, c), f32x4.sub(b, d), f + 512);
        upstreamRow(f32x4.neg(c), f32x4.neg(d), f + 768);
      }
      // Rows have room for whole groups of four tiles; what is behind the last one is not read.
      let y = to + <usize> c * rowBytes + (<usize> t << 2);
      for (let position: usize = 0; position < 1024; position += 64) {
        transposeTo(four + position, 16, y, rowBytes);
        y += apart;
      }
    }
  }
}

/**
 * Sums over parts of the tiles: M[part][16][cOut][cIn]. One unit is one part times one block of rows of M.
 * ints: 0 x, 1 upstream, 2 M, 3 h, 4 w, 5 cIn, 6 cOut (both multiples of 4), 7 upsample, 8 padTop, 9 padLeft, 10 outH,
 * 11 outW, 12 tiles of all images, 13 tiles per part, 14 rows per block, 15 blocks, 16 tiles at a time (multiple of 4).
 * scratch: addresses of pixels, of upstreams, of rows of Y, a pixel of zeros, four tiles of Y, V, Y, strips.
 */
export function winogradWeight(args: usize, begin: i32, end: i32, scratch: usize): void {
  const cIn = int(args, 5), cOut = int(args, 6), tiles = int(args, 12), partTiles = int(args, 13);
  const blockRows = int(args, 14), blocks = int(args, 15), most = int(args, 16);
  const panels = cIn + 7 >> 3;
  const upstreams = scratch + (<usize> most << 6);
  const rowTable = upstreams + (<usize> most << 4);
  const zeros = rowTable + (<usize> blockRows << 2) + 63 & ~63;
  const zeroBytes = <usize> max(cIn, cOut) << 2;
  const four = zeros + zeroBytes + 63 & ~63;
  const v = four + 1024;
  const vPanel = <usize> most << 5;
  const vApart = <usize> panels * vPanel + GAP;
  const y = v + 16 * vApart;
  const yRow = <usize> most << 2;
  const yApart = <usize> blockRows * yRow + GAP;
  const strips = y + 16 * yApart;
  const stripBytes = <usize> blockRows << 5;
  const mStride = <usize> cIn << 2;
  const mApart = <usize> cOut * mStride;
  memory.fill(zeros, 0, zeroBytes);
  for (let i = 0; i < blockRows; i++) store<u32>(rowTable + (<usize> i << 2), <u32> (y + <usize> i * yRow));
  for (let unit = begin; unit < end; unit++) {
    const part = unit / blocks;
    const first = unit % blocks * blockRows;
    const rows = min(blockRows, cOut - first);
    const last = min(part * partTiles + partTiles, tiles);
    const m = ptr(args, 2) + <usize> (16 * part) * mApart + <usize> first * mStride;
    for (let t0 = part * partTiles; t0 < last; t0 += most) {
      const count = min(most, last - t0);
      for (let t = 0; t < count; t++) {
        const pixels = scratch + (<usize> t << 6);
        tileAddresses(args, t0 + t, <usize> first << 2, zeros, pixels, upstreams + (<usize> t << 4));
        const to = v + (<usize> t << 5);
        inputRow(0, pixels, 16, mStride, to, vApart, <usize> most);
        inputRow(1, pixels, 16, mStride, to + 4 * vApart, vApart, <usize> most);
        inputRow(2, pixels, 16, mStride, to + 8 * vApart, vApart, <usize> most);
        inputRow(3, pixels, 16, mStride, to + 12 * vApart, vApart, <usize> most);
      }
      transformUpstream(upstreams, count, rows, four, y, yRow, yApart);
      for (let position: usize = 0; position < 16; position++) {
        block(
          rowTable,
          rows,
          position * yApart,
          1,
          <usize> count << 2,
          0,
          v + position * vApart,
          vPanel,
          false,
          0,
          cIn,
          m + position * mApart,
          mStride,
          strips + position * stripBytes,
          t0 > part * partTiles,
        );
      }
    }
    for (let position: usize = 0; position < 16; position++) {
      flushStrip(rows, cIn, m + position * mApart, mStride, strips + position * stripBytes);
    }
  }
}

@inline
function total(from: usize, parts: i32, apart: usize): v128 {
  let sum = v128.load(from);
  for (let i = 1; i < parts; i++) {
    from += apart;
    sum = f32x4.add(sum, v128.load(from));
  }
  return sum;
}

/**
 * out[cOut, cIn, 9] = G^T (sum of the parts of M) G, G^T = [1 1/2 1/2 0; 0 1/2 -1/2 0; 0 1/2 1/2 1]. One unit is one
 * row. ints: 0 M[parts][16][cOut][cIn], 1 out, 2 cOut, 3 cIn (a multiple of 4), 4 parts. scratch: 12 vectors.
 */
export function winogradWeightOut(args: usize, begin: i32, end: i32, scratch: usize): void {
  const cOut = int(args, 2), cIn = int(args, 3), parts = int(args, 4);
  const apart = <usize> (cOut * cIn) << 2;
  const partBytes = apart << 4;
  const half = f32x4.splat(0.5);
  for (let unit = begin; unit < end; unit++) {
    let to = ptr(args, 1) + <usize> (unit * cIn * 36);
    for (let c = 0; c < cIn; c += 4) {
      let m = ptr(args, 0) + (<usize> (unit * cIn + c) << 2);
      for (let j: usize = 0; j < 4; j++) {
        const a = total(m, parts, partBytes), b = total(m + 4 * apart, parts, partBytes);
        const d = total(m + 8 * apart, parts, partBytes), e = total(m + 12 * apart, parts, partBytes);
        const s = f32x4.mul(f32x4.add(b, d), half);
        const t = scratch + (j << 4);
        v128.store(t, f32x4.add(a, s));
        v128.store(t, f32x4.mul(f32x4.sub(b, d), half), 64);
        v128.store(t, f32x4.add(s, e), 128);
        m += apart;
      }
      for (let i: usize = 0; i < 3; i++) {
        const t = scratch + (i << 6);
        const b = v128.load(t, 16), d = v128.load(t, 32);
        const s = f32x4.mul(f32x4.add(b, d), half);
        put(to + i * 12, f32x4.add(v128.load(t), s));
        put(to + i * 12 + 4, f32x4.mul(f32x4.sub(b, d), half));
        put(to + i * 12 + 8, f32x4.add(s, v128.load(t, 48)));
      }
      to += 144;
    }
  }
}

/** One tap of four channels, 9 taps apart. */
@inline
function put(to: usize, v: v128): void {
  v128.store32_lane(to, v, 0);
  v128.store32_lane(to, v, 1, 36);
  v128.store32_lane(to, v, 2, 72);
  v128.store32_lane(to, v, 3, 108);
}

/** Pixels that are re-laid at a time. */
const OUTER_BLOCK: i32 = 512;
/**
 * Bytes between rows of the re-laid upstream: beyond a power of two, so that the rows of a tile do not share cache
 * sets.
 */
const OUTER_STRIDE: usize = OUTER_BLOCK * 4 + 64;

/**
 * One panel [count, 8] of the padded, up-sampled input under output pixels l0..: columns j0.. (`columns` of them) of
 * (tap, channel). ints as in convWeight.
 */
function packInput(args: usize, l0: i32, count: i32, j0: i32, columns: i32, to: usize): void {
  const h = int(args, 3), w = int(args, 4), c = int(args, 5), kw = int(args, 8), stride = int(args, 9);
  const shift = int(args, 10) - 1, outH = int(args, 13), outW = int(args, 14);
  const width = (c & 3) == 0 ? 4 : 1;
  for (let j = 0; j < columns; j += width) {
    const tap = (j0 + j) / c;
    const channel = <usize> ((j0 + j) % c) << 2;
    const dy = tap / kw - int(args, 11), dx = tap % kw - int(args, 12);
    let p = to + (<usize> j << 2);
    let row = l0 / outW;
    let x = l0 % outW;
    let left = count;
    while (left > 0) {
      const run = min(outW - x, left);
      const y = row % outH * stride + dy >> shift;
      const from = ptr(args, 0) + (<usize> ((row / outH * h + y) * w * c) << 2) + channel;
      const inside = y >= 0 && y < h;
      let column = x * stride + dx;
      for (let i = 0; i < run; i++) {
        const s = column >> shift;
        const at = from + (<usize> (s * c) << 2);
        const there = inside && s >= 0 && s < w;
        if (width == 4) v128.store(p, there ? v128.load(at) : f32x4.splat(0));
        else store<f32>(p, there ? load<f32>(at) : 0);
        p += 32;
        column += stride;
      }
      left -= run;
      row++;
      x = 0;
    }
  }
}

/**
 * Sums over parts of the pixels for any kernel: [part][cOut][taps * cIn]. One unit is one part times one block of rows.
 * ints: 0 x, 1 upstream, 2 out, 3 h, 4 w, 5 cIn, 6 cOut, 7 kh, 8 kw, 9 stride, 10 upsample, 11 padTop, 12 padLeft, 13
 * outH, 14 outW, 15 output pixels of all images, 16 pixels per part, 17 rows per block, 18 blocks. scratch: address
 * table, strip [rows per block, 8], panel [512, 8], re-laid upstream.
 */
export function convWeight(args: usize, begin: i32, end: i32, scratch: usize): void {
  const cOut = int(args, 6), n = int(args, 7) * int(args, 8) * int(args, 5);
  const pixels = int(args, 15), partPixels = int(args, 16), blockRows = int(args, 17), blocks = int(args, 18);
  const upRow = <usize> cOut << 2, outRow = <usize> n << 2;
  const strip = scratch + (<usize> (blockRows + 15 & ~15) << 2);
  const panel = strip + (<usize> (blockRows + 1) << 5);
  const turned = panel + (<usize> OUTER_BLOCK << 5);
  for (let i = 0; i < blockRows; i++) store<u32>(scratch + (<usize> i << 2), <u32> (turned + <usize> i * OUTER_STRIDE));
  for (let unit = begin; unit < end; unit++) {
    const part = unit / blocks;
    const i0 = unit % blocks * blockRows;
    const rows = min(blockRows, cOut - i0);
    const l1 = min(part * partPixels + partPixels, pixels);
    const c = ptr(args, 2) + (<usize> (part * cOut + i0) * n << 2);
    for (let l0 = part * partPixels; l0 < l1; l0 += OUTER_BLOCK) {
      const kc = min(OUTER_BLOCK, l1 - l0);
      transposeBlock(ptr(args, 1) + <usize> l0 * upRow + (<usize> i0 << 2), upRow, kc, rows, turned, OUTER_STRIDE);
      for (let j = 0; j < n; j += 8) {
        const columns = min(8, n - j);
        packInput(args, l0, kc, j, columns, panel);
        const to = c + (<usize> j << 2);
        const add = l0 > part * partPixels;
        block(scratch, rows, 0, 1, <usize> kc << 2, 0, panel, 0, false, 0, columns, to, outRow, strip, add);
      }
    }
    flushStrip(rows, n, c, outRow, strip);
  }
}

/**
 * out[cOut, cIn, taps] = the sum of the parts [parts][cOut][taps][cIn]. One unit is one row.
 * ints: 0 parts, 1 out, 2 cOut, 3 cIn, 4 taps, 5 number of parts.
 */
export function convWeightOut(args: usize, begin: i32, end: i32, _scratch: usize): void {
  const cOut = int(args, 2), cIn = int(args, 3), taps = int(args, 4), parts = int(args, 5);
  const row = <usize> (cIn * taps) << 2;
  const apart = <usize> cOut * row;
  for (let unit = begin; unit < end; unit++) {
    let from = ptr(args, 0) + <usize> unit * row;
    for (let tap = 0; tap < taps; tap++) {
      let to = ptr(args, 1) + <usize> unit * row + (<usize> tap << 2);
      for (let c = 0; c < cIn; c++) {
        let sum: f32 = 0;
        let p = from;
        for (let i = 0; i < parts; i++) {
          sum += load<f32>(p);
          p += apart;
        }
        store<f32>(to, sum);
        from += 4;
        to += <usize> taps << 2;
      }
    }
  }
}
