// AssemblyScript, which the type checker does not know and the formatter breaks (it drops decorators).
// @ts-nocheck
// deno-fmt-ignore-file
/**
 * NHWC convolution. One unit is a band of output rows times a block of panels of one image: the input rows that the
 * band sees are copied, zero-padded and up-sampled, to scratch, where (kx, channel) is one contiguous run for every ky.
 */
import { int, ptr } from "./args.ts";
import { block, epilogue, flushStrip, PANELS } from "./block.ts";

/** As in matmul; several ky are joined into one run of K as long as they fit. */
const K_BLOCK: i32 = 1152;
const K_BLOCK_WITHIN: i32 = 768;

/** Rows y0.. (count of them) of the padded, up-sampled input, columns 0..width-1, to `to`. */
function fillBand(args: usize, image: usize, y0: i32, count: i32, width: i32, to: usize): void {
  const h = int(args, 3), w = int(args, 4), c = int(args, 5);
  const upsample = int(args, 10), padTop = int(args, 11), padLeft = int(args, 12);
  const pixel = <usize> c << 2;
  const rowBytes = <usize> width * pixel;
  const left = min(padLeft, width);
  const inside = max(0, min(w * upsample, width - left));
  const right = width - left - inside;
  for (let r = 0; r < count; r++) {
    const y = y0 + r - padTop;
    if (y < 0 || y >= h * upsample || inside == 0) {
      memory.fill(to, 0, rowBytes);
    } else if (upsample == 2 && r > 0 && (y & 1)) {
      memory.copy(to, to - rowBytes, rowBytes);
    } else {
      const from = image + <usize> (y / upsample * w) * pixel;
      let p = to;
      memory.fill(p, 0, <usize> left * pixel);
      p += <usize> left * pixel;
      if (upsample == 1) {
        memory.copy(p, from, <usize> inside * pixel);
        p += <usize> inside * pixel;
      } else {
        for (let x = 0; x < inside; x++) {
          memory.copy(p, from + <usize> (x >> 1) * pixel, pixel);
          p += pixel;
        }
      }
      memory.fill(p, 0, <usize> right * pixel);
    }
    to += rowBytes;
  }
}

/**
 * ints: 0 x, 1 weight, 2 out, 3 h, 4 w, 5 cIn, 6 cOut, 7 kh, 8 kw, 9 stride, 10 upsample, 11 padTop, 12 padLeft, 13
 * outH, 14 outW, 15 output rows per band, 16 bands, 17 panels per block, 18 blocks of panels, 19 weight is halves, 20..
 * epilogue. scratch: address table (pixels of a band), strip [pixels, 8], expanded panels [PANELS, 1152, 8], padded
 * band.
 */
export function conv(args: usize, begin: i32, end: i32, scratch: usize): void {
  const h = int(args, 3), w = int(args, 4), cIn = int(args, 5), cOut = int(args, 6);
  const kh = int(args, 7), kw = int(args, 8), stride = int(args, 9);
  const outH = int(args, 13), outW = int(args, 14);
  const bandRows = int(args, 15), bands = int(args, 16), blockPanels = int(args, 17), nBlocks = int(args, 18);
  const halves = int(args, 19) != 0;
  const shift = halves ? 1 : 2;
  const run = kw * cIn;
  const panelBytes = <usize> (kh * run) << 3 << shift;
  const cStride = <usize> cOut << 2;
  const width = (outW - 1) * stride + kw;
  const rowBytes = <usize> (width * cIn) << 2;
  const most = bandRows * outW;
  const strip = scratch + (<usize> (most + 15 & ~15) << 2);
  const expanded = strip + (<usize> (most + 1) << 5);
  const band = expanded + (<usize> (K_BLOCK * PANELS) << 5);
  let held = -1;
  for (let unit = begin; unit < end; unit++) {
    const zBand = unit / nBlocks;
    const z = zBand / bands;
    const y0 = zBand % bands * bandRows;
    const rows = min(bandRows, outH - y0);
    const pixels = rows * outW;
    const j0 = (unit % nBlocks) * blockPanels * 8;
    const columns = min(blockPanels * 8, cOut - j0);
    if (held != zBand) {
      held = zBand;
      const image = ptr(args, 0) + (<usize> (z * h * w) * cIn << 2);
      fillBand(args, image, y0 * stride, (rows - 1) * stride + kh, width, band);
      let t = scratch;
      for (let y = 0; y < rows; y++) {
        let p = band + <usize> (y * stride) * rowBytes;
        for (let x = 0; x < outW; x++) {
          store<u32>(t, <u32> p);
          p += <usize> (stride * cIn) << 2;
          t += 4;
        }
      }
    }
    const b = ptr(args, 1) + <usize> (j0 >> 3) * panelBytes;
    const r0 = (z * outH + y0) * outW;
    const c = ptr(args, 2) + (<usize> r0 * cOut + j0 << 2);
    if (run <= K_BLOCK_WITHIN) {
      const gap = rowBytes - (<usize> run << 2);
      const joined = min(kh, K_BLOCK / run);
      for (let ky = 0; ky < kh; ky += joined) {
        const segments = min(joined, kh - ky);
        block(
          scratch,
          pixels,
          <usize> ky * rowBytes,
          segments,
          <usize> run << 2,
          gap,
          b + (<usize> (ky * run) << 3 << shift),
          panelBytes,
          halves,
          expanded,
          columns,
          c,
          cStride,
          strip,
          ky > 0,
        );
      }
    } else {
      for (let ky = 0; ky < kh; ky++) {
        for (let k0 = 0; k0 < run; k0 += K_BLOCK_WITHIN) {
          const kc = min(K_BLOCK_WITHIN, run - k0);
          block(
            scratch,
            pixels,
            <usize> ky * rowBytes + (<usize> k0 << 2),
            1,
            <usize> kc << 2,
            0,
            b + (<usize> (ky * run + k0) << 3 << shift),
            panelBytes,
            halves,
            expanded,
            columns,
            c,
            cStride,
            strip,
            ky + k0 > 0,
          );
        }
      }
    }
    flushStrip(pixels, columns, c, cStride, strip);
    epilogue(args, 20, c, cStride, r0, pixels, j0, columns, cOut);
  }
}
