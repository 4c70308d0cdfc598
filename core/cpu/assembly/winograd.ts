// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * 3x3 NHWC convolution with stride 1 by Winograd's F(2x2, 3x3) (Lavin & Gray 2015, arXiv 1509.09308, section 4.1):
 * every 2x2 tile of the result is A^T [(G g G^T) . (B^T d B)] A, d the 4x4 pixels that it sees, which takes 16 products
 * per channel where the sum over taps takes 36. kernels/winograd.ts chooses where it is used.
 *
 * One unit is a region of tiles of one image times a block of panels. The transformed input V[16][tiles][cIn],
 * transformed panels of weights U[16][PANELS][cIn][8] and the products M[16][tiles][columns] are private and stay in
 * the second-level cache; weights are transformed again for every region, which costs a few percent and needs no memory
 * beside the packed weights.
 */
import { int, ptr, storeTail } from "./args.ts";
import { block, epilogue, PANELS } from "./block.ts";
import { expandHalves } from "./math.ts";

/**
 * The parts of `V`, `U` and `M` are this much further apart than they are long: 16 streams need different cache sets.
 */
export const GAP: usize = 64;

/** Addresses of the pixels (y0 + r, x0 + s) of the padded, up-sampled input, `zeros` outside the image. */
function pixelAddresses(
  args: usize, image: usize, y0: i32, x0: i32, rows: i32, columns: i32, zeros: usize, to: usize,
): void {
  const h = int(args, 3), w = int(args, 4), c = int(args, 5), shift = int(args, 7) - 1;
  y0 -= int(args, 8);
  x0 -= int(args, 9);
  for (let r = 0; r < rows; r++) {
    const y = (y0 + r) >> shift;
    for (let s = 0; s < columns; s++) {
      const x = (x0 + s) >> shift;
      const inside = y >= 0 && y < h && x >= 0 && x < w;
      store<u32>(to, <u32> (inside ? image + (<usize> ((y * w + x) * c) << 2) : zeros));
      to += 4;
    }
  }
}

/** Four channels of a pixel of row r of B^T d, from the pixels at `p` and `q`. */
@inline
function joined(r: i32, p: usize, q: usize): v128 {
  return r == 1 ? f32x4.add(v128.load(p), v128.load(q)) : f32x4.sub(v128.load(p), v128.load(q));
}

/**
 * Row r of B^T d B for one tile, `bytes` bytes of channels: four positions, `apart` bytes apart, from `to` on. With
 * `spread`, every eight channels go `spread` times 32 bytes further than the eight before, else one after the other.
 * B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]. `pixels` holds the addresses of d, its rows `rowBytes` apart.
 */
@inline
export function inputRow(
  r: i32,
  pixels: usize,
  rowBytes: usize,
  bytes: usize,
  to: usize,
  apart: usize,
  spread: usize,
): void {
  const p = pixels + (r == 0 ? 0 : r == 2 ? 2 * rowBytes : rowBytes);
  const q = pixels + (r == 0 || r == 1 ? 2 * rowBytes : r == 2 ? rowBytes : 3 * rowBytes);
  const p0 = <usize> load<u32>(p), p1 = <usize> load<u32>(p, 4);
  const p2 = <usize> load<u32>(p, 8), p3 = <usize> load<u32>(p, 12);
  const q0 = <usize> load<u32>(q), q1 = <usize> load<u32>(q, 4);
  const q2 = <usize> load<u32>(q, 8), q3 = <usize> load<u32>(q, 12);
  let i: usize = 0;
  // Two vectors at a time, which the engine may join into one of twice the width.
  for (; i + 32 <= bytes; i += 32) {
    const t0 = joined(r, p0 + i, q0 + i), t1 = joined(r, p1 + i, q1 + i);
    const t2 = joined(r, p2 + i, q2 + i), t3 = joined(r, p3 + i, q3 + i);
    const s0 = joined(r, p0 + i + 16, q0 + i + 16), s1 = joined(r, p1 + i + 16, q1 + i + 16);
    const s2 = joined(r, p2 + i + 16, q2 + i + 16), s3 = joined(r, p3 + i + 16, q3 + i + 16);
    let v = to + (spread ? i * spread : i);
    v128.store(v, f32x4.sub(t0, t2));
    v128.store(v, f32x4.sub(s0, s2), 16);
    v += apart;
    v128.store(v, f32x4.add(t1, t2));
    v128.store(v, f32x4.add(s1, s2), 16);
    v += apart;
    v128.store(v, f32x4.sub(t2, t1));
    v128.store(v, f32x4.sub(s2, s1), 16);
    v += apart;
    v128.store(v, f32x4.sub(t1, t3));
    v128.store(v, f32x4.sub(s1, s3), 16);
  }
  if (i < bytes) {
    const t0 = joined(r, p0 + i, q0 + i), t1 = joined(r, p1 + i, q1 + i);
    const t2 = joined(r, p2 + i, q2 + i), t3 = joined(r, p3 + i, q3 + i);
    let v = to + (spread ? i * spread : i);
    v128.store(v, f32x4.sub(t0, t2));
    v += apart;
    v128.store(v, f32x4.add(t1, t2));
    v += apart;
    v128.store(v, f32x4.sub(t2, t1));
    v += apart;
    v128.store(v, f32x4.sub(t1, t3));
  }
}

/** V[16][tileRows * tileColumns][cIn], positions `apart` bytes apart. */
function transformInput(pixels: usize, tileRows: i32, tileColumns: i32, cIn: i32, v: usize, apart: usize): void {
  const bytes = <usize> cIn << 2;
  const rowBytes = <usize> (2 * tileColumns + 2) << 2;
  for (let ty = 0; ty < tileRows; ty++) {
    let p = pixels + <usize> (2 * ty) * rowBytes;
    for (let tx = 0; tx < tileColumns; tx++) {
      inputRow(0, p, rowBytes, bytes, v, apart, 0);
      inputRow(1, p, rowBytes, bytes, v + 4 * apart, apart, 0);
      inputRow(2, p, rowBytes, bytes, v + 8 * apart, apart, 0);
      inputRow(3, p, rowBytes, bytes, v + 12 * apart, apart, 0);
      p += 8;
      v += bytes;
    }
  }
}

/** One row of (G g) G^T, given the three values of G g: G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1]. */
@inline
function weightRow(a: v128, b: v128, c: v128, to: usize, apart: usize): void {
  const half = f32x4.splat(0.5);
  const s = f32x4.mul(f32x4.add(a, c), half);
  const d = f32x4.mul(b, half);
  v128.store(to, a);
  v128.store(to + apart, f32x4.add(s, d));
  v128.store(to + 2 * apart, f32x4.sub(s, d));
  v128.store(to + 3 * apart, c);
}

/** One panel of U of one panel g[9][cIn][8], positions `apart` bytes apart. */
function transformWeights(g: usize, cIn: i32, u: usize, apart: usize): void {
  const tap = <usize> cIn << 5;
  const half = f32x4.splat(0.5);
  for (let i: usize = 0; i < tap; i += 16) {
    const p = g + i;
    const q = p + 3 * tap;
    const r = q + 3 * tap;
    const to = u + i;
    const a0 = v128.load(p), b0 = v128.load(p + tap), c0 = v128.load(p + 2 * tap);
    weightRow(a0, b0, c0, to, apart);
    const a2 = v128.load(r), b2 = v128.load(r + tap), c2 = v128.load(r + 2 * tap);
    weightRow(a2, b2, c2, to + 12 * apart, apart);
    const a = f32x4.mul(f32x4.add(a0, a2), half);
    const b = f32x4.mul(f32x4.add(b0, b2), half);
    const c = f32x4.mul(f32x4.add(c0, c2), half);
    const a1 = f32x4.mul(v128.load(q), half);
    const b1 = f32x4.mul(v128.load(q + tap), half);
    const c1 = f32x4.mul(v128.load(q + 2 * tap), half);
    weightRow(f32x4.add(a, a1), f32x4.add(b, b1), f32x4.add(c, c1), to + 4 * apart, apart);
    weightRow(f32x4.sub(a, a1), f32x4.sub(b, b1), f32x4.sub(c, c1), to + 8 * apart, apart);
  }
}

@inline
function put(to: usize, v: v128, n: i32): void {
  if (n >= 4) v128.store(to, v);
  else storeTail(to, v, n);
}

/**
 * A^T M A of each tile, A^T = [1 1 1 0; 0 1 -1 -1]: `columns` columns of `rows` x `width` pixels at c, whose pixels are
 * `cStride` and rows `cRow` bytes apart. M's positions are `apart` and its tiles `tileBytes` bytes apart.
 */
function transformOutput(
  m: usize,
  apart: usize,
  tileBytes: usize,
  rows: i32,
  width: i32,
  columns: i32,
  c: usize,
  cStride: usize,
  cRow: usize,
): void {
  for (let y = 0; y < rows; y += 2) {
    let out = c;
    for (let x = 0; x < width; x += 2) {
      const right = x + 1 < width;
      const below = y + 1 < rows;
      for (let j = 0; j < columns; j += 4) {
        const at = <usize> j << 2;
        let p = m + at;
        let m0 = v128.load(p), m1 = v128.load(p + apart), m2 = v128.load(p + 2 * apart), m3 = v128.load(p + 3 * apart);
        let y00 = f32x4.add(f32x4.add(m0, m1), m2);
        let y01 = f32x4.sub(f32x4.sub(m1, m2), m3);
        p += 4 * apart;
        m0 = v128.load(p), m1 = v128.load(p + apart), m2 = v128.load(p + 2 * apart), m3 = v128.load(p + 3 * apart);
        let y10 = f32x4.add(f32x4.add(m0, m1), m2);
        let y11 = f32x4.sub(f32x4.sub(m1, m2), m3);
        y00 = f32x4.add(y00, y10);
        y01 = f32x4.add(y01, y11);
        p += 4 * apart;
        m0 = v128.load(p), m1 = v128.load(p + apart), m2 = v128.load(p + 2 * apart), m3 = v128.load(p + 3 * apart);
        const s0 = f32x4.add(f32x4.add(m0, m1), m2);
        const s1 = f32x4.sub(f32x4.sub(m1, m2), m3);
        y00 = f32x4.add(y00, s0);
        y01 = f32x4.add(y01, s1);
        y10 = f32x4.sub(y10, s0);
        y11 = f32x4.sub(y11, s1);
        p += 4 * apart;
        m0 = v128.load(p), m1 = v128.load(p + apart), m2 = v128.load(p + 2 * apart), m3 = v128.load(p + 3 * apart);
        y10 = f32x4.sub(y10, f32x4.add(f32x4.add(m0, m1), m2));
        y11 = f32x4.sub(y11, f32x4.sub(f32x4.sub(m1, m2), m3));
        const to = out + at;
        const n = columns - j;
        put(to, y00, n);
        if (right) put(to + cStride, y01, n);
        if (below) {
          put(to + cRow, y10, n);
          if (right) put(to + cRow + cStride, y11, n);
        }
      }
      m += tileBytes;
      out += 2 * cStride;
    }
    c += 2 * cRow;
  }
}

/**
 * ints: 0 x, 1 weight (packed as for conv), 2 out, 3 h, 4 w, 5 cIn (a multiple of 4), 6 cOut, 7 upsample, 8 padTop,
 * 9 padLeft, 10 outH, 11 outW, 12 rows of tiles per region, 13 columns of tiles per region, 14 rows of regions,
 * 15 columns of regions, 16 panels per block, 17 blocks of panels, 18 weight is halves, 19 panels per M, 20.. epilogue.
 * scratch: addresses of the region's pixels, addresses of V's rows, a pixel of zeros, V, U, M, expanded panel (halves).
 */
export function winograd(args: usize, begin: i32, end: i32, scratch: usize): void {
  const h = int(args, 3), w = int(args, 4), cIn = int(args, 5), cOut = int(args, 6);
  const outH = int(args, 10), outW = int(args, 11);
  const mostRows = int(args, 12), mostColumns = int(args, 13);
  const regionRows = int(args, 14), regionColumns = int(args, 15);
  const blockPanels = int(args, 16), nBlocks = int(args, 17), halves = int(args, 18) != 0, group = int(args, 19);
  const most = mostRows * mostColumns;
  const pixel = <usize> cIn << 2;
  const vApart = <usize> most * pixel + GAP;
  const uPanel = <usize> cIn << 5;
  const uApart = PANELS * uPanel + GAP;
  const tileBytes = <usize> group << 5;
  const mApart = <usize> most * tileBytes + GAP;
  const table = scratch + (<usize> ((2 * mostRows + 2) * (2 * mostColumns + 2)) << 2);
  const zeros = table + (<usize> most << 2) + 63 & ~63;
  const v = zeros + pixel + 63 & ~63;
  const u = v + 16 * vApart;
  const m = u + 16 * uApart;
  const expanded = m + 16 * mApart;
  const panelBytes = halves ? <usize> (9 * cIn) << 4 : <usize> (9 * cIn) << 5;
  const cStride = <usize> cOut << 2;
  const cRow = <usize> outW * cStride;
  memory.fill(zeros, 0, pixel);
  for (let i = 0; i < most; i++) store<u32>(table + (<usize> i << 2), <u32> (v + <usize> i * pixel));
  let held = -1;
  for (let unit = begin; unit < end; unit++) {
    const region = unit / nBlocks;
    const regionRow = region / regionColumns % regionRows;
    const z = region / (regionRows * regionColumns);
    const y0 = 2 * mostRows * regionRow;
    const x0 = 2 * mostColumns * (region % regionColumns);
    const rows = min(2 * mostRows, outH - y0);
    const width = min(2 * mostColumns, outW - x0);
    const tileRows = rows + 1 >> 1;
    const tileColumns = width + 1 >> 1;
    if (held != region) {
      held = region;
      const image = ptr(args, 0) + <usize> (z * h * w) * pixel;
      pixelAddresses(args, image, y0, x0, 2 * tileRows + 2, 2 * tileColumns + 2, zeros, scratch);
      transformInput(scratch, tileRows, tileColumns, cIn, v, vApart);
    }
    const last = min(unit % nBlocks * blockPanels + blockPanels, cOut + 7 >> 3);
    const r0 = (z * outH + y0) * outW + x0;
    for (let panel = unit % nBlocks * blockPanels; panel < last; panel += group) {
      const panels = min(group, last - panel);
      for (let i = 0; i < panels; i += PANELS) {
        const count = min(PANELS, panels - i);
        for (let k = 0; k < count; k++) {
          let g = ptr(args, 1) + <usize> (panel + i + k) * panelBytes;
          if (halves) {
            expandHalves(g, expanded, 72 * cIn);
            g = expanded;
          }
          transformWeights(g, cIn, u + <usize> k * uPanel, uApart);
        }
        for (let position = 0; position < 16; position++) {
          block(
            table,
            tileRows * tileColumns,
            <usize> position * vApart,
            1,
            pixel,
            0,
            u + <usize> position * uApart,
            uPanel,
            false,
            0,
            count << 3,
            m + <usize> position * mApart + (<usize> i << 5),
            tileBytes,
            0,
            false,
          );
        }
      }
      const j0 = panel << 3;
      const columns = min(panels << 3, cOut - j0);
      const c = ptr(args, 2) + (<usize> r0 * cOut + j0 << 2);
      transformOutput(m, mApart, tileBytes, rows, width, columns, c, cStride, cRow);
      for (let y = 0; y < rows; y++) {
        epilogue(args, 20, c + <usize> y * cRow, cStride, r0 + y * outW, width, j0, columns, cOut);
      }
    }
  }
}
