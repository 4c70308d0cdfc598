// Brightness and contrast that were changed in bytes, and their inverse. v' = gain v + offset, rounded or cut off to a
// byte, leaves values that no v gives (gain above 1), or values that several v give (below 1). In the histogram these
// stand in a lattice that tells gain and offset. A lossy compression afterwards fills the gaps: then nothing is found.

import type { RgbImage } from "../image.ts";
import type { Levels } from "./facts.ts";
import { sampledRows } from "./statistics.ts";

/** Gains that are looked for, in steps of 1/200. Nearer to 1 the lattice has too few gaps. */
const gains = [0.6, 1.6, 1 / 200] as const, nearest = 0.03;
/** ln of the likelihood ratio from which a lattice is believed. Untouched images stay below 0 (tests). */
const leastEvidence = 150;
/**
 * A contrast about a grey of a whole period leaves the same lattice as a brightness, which is more common: contrast
 * must be better by so many nats.
 */
const contrastCost = 30;
/** Histograms that are smoother than this, see roughness(), have no lattice. */
const leastRoughness = 2;
/** Values at the ends of the range are clipped ones and are left out. */
const first = 1, last = 254;
/** Half width of the window over which a histogram is smooth. */
const reach = 6;
/** A value where the lattice has none speaks against it by so many nats. */
const strayCost = 8;

/**
 * The change of brightness or contrast that an image shows; undefined without one. Tells changes of all channels alike:
 * brightness (offset 0), and contrast about the mean grey.
 */
export function levelsOf(image: RgbImage): Levels | undefined {
  const counts = histogram(image);
  const smooth = smoothed(counts);
  if (roughness(counts, smooth) < leastRoughness) return undefined;
  const mean = meanGrey(image);
  let best: { levels: Levels; evidence: number } | undefined;
  const [low, high, step] = gains;
  for (let k = 0; k <= Math.round((high - low) / step); k++) {
    const gain = low + k * step;
    if (Math.abs(gain - 1) < nearest) continue;
    // Contrast keeps the mean grey, up to rounding and clipping.
    const pivots = [0, ...[-3, -2, -1, 0, 1, 2, 3].map((d) => Math.round(mean) + d)];
    for (const pivot of pivots) {
      for (const rounded of [false, true]) {
        const levels = { gain, offset: (1 - gain) * pivot, rounded };
        const evidence = evidenceOf(levels, counts, smooth) - (pivot === 0 ? 0 : contrastCost);
        if (best === undefined || evidence > best.evidence + 1e-6) best = { levels, evidence };
      }
    }
  }
  return best !== undefined && best.evidence >= leastEvidence ? best.levels : undefined;
}

/** The image before its levels were changed, up to rounding and what was clipped. */
export function undoLevels(image: RgbImage, levels: Levels): RgbImage {
  const sums = new Float64Array(256), counts = new Uint32Array(256);
  for (let value = 0; value < 256; value++) {
    const changed = apply(levels, value);
    if (changed < 0 || changed > 255) continue;
    sums[changed] += value;
    counts[changed]++;
  }
  const table = Uint8Array.from(
    { length: 256 },
    (_, value) =>
      counts[value] > 0
        ? Math.round(sums[value] / counts[value])
        : Math.min(255, Math.max(0, Math.round((value + (levels.rounded ? 0 : 0.5) - levels.offset) / levels.gain))),
  );
  return { ...image, data: image.data.map((value) => table[value]) };
}

/** What a byte becomes, before it is clipped. */
function apply({ gain, offset, rounded }: Levels, value: number): number {
  const changed = Math.fround(gain * value + offset);
  return rounded ? Math.round(changed) : Math.trunc(changed);
}

function histogram(image: RgbImage): Uint32Array {
  const counts = new Uint32Array(256);
  for (const row of sampledRows(image)) for (let i = 0; i < row.length; i++) counts[row[i]]++;
  return counts;
}

/** Mean count of the values around each, clipped ones left out. */
function smoothed(counts: Uint32Array): Float64Array {
  return Float64Array.from({ length: 256 }, (_, value) => {
    const low = Math.max(first, value - reach), high = Math.min(last, value + reach);
    let sum = 0;
    for (let i = low; i <= high; i++) sum += counts[i];
    return sum / (high - low + 1);
  });
}

/** Mean squared deviation of counts from their surroundings, in Poisson variances: about 1 for a smooth histogram. */
function roughness(counts: Uint32Array, smooth: Float64Array): number {
  let sum = 0, used = 0;
  for (let value = first; value <= last; value++) {
    if (smooth[value] < 1) continue;
    sum += (counts[value] - smooth[value]) ** 2 / smooth[value];
    used++;
  }
  return used === 0 ? 0 : sum / used;
}

function meanGrey(image: RgbImage): number {
  let sum = 0, count = 0;
  for (const row of sampledRows(image)) {
    for (let at = 0; at < row.length; at += 3) sum += 0.299 * row[at] + 0.587 * row[at + 1] + 0.114 * row[at + 2];
    count += row.length / 3;
  }
  return sum / count;
}

/**
 * ln of the likelihood ratio of the histogram with the lattice against a smooth one: counts are Poisson variables whose
 * means are in proportion to the number of bytes that become each value. -Infinity where the lattice is not plain to
 * see.
 */
function evidenceOf(levels: Levels, counts: Uint32Array, smooth: Float64Array): number {
  const sources = new Uint8Array(256);
  for (let value = 0; value < 256; value++) {
    const changed = apply(levels, value);
    if (changed >= 0 && changed <= 255) sources[changed]++;
  }
  const low = Math.max(first, apply(levels, 0)), high = Math.min(last, apply(levels, 255));
  const logShares = [0, 1, 2, 3, 4].map((count) => Math.log(count * levels.gain));
  let evidence = 0;
  // Counts and expected counts of values with no, one and two sources.
  const seen = [0, 0, 0], expected = [0, 0, 0];
  let empty = 0, filled = 0;
  for (let value = first; value <= last; value++) {
    if (value < low || value > high) {
      evidence -= strayCost * counts[value];
      continue;
    }
    const kind = Math.min(2, sources[value]);
    seen[kind] += counts[value];
    expected[kind] += smooth[value];
    if (kind === 0) {
      evidence += smooth[value] - strayCost * counts[value];
      continue;
    }
    if (smooth[value] >= 4) counts[value] === 0 ? empty++ : filled++;
    const share = sources[value] * levels.gain;
    evidence += counts[value] * logShares[sources[value]] - smooth[value] * (share - 1);
  }
  if (empty > 0.05 * filled || filled < fewestValues) return -Infinity;
  if (levels.gain > 1) return expected[0] > 0 && seen[0] <= mostStrays * expected[0] ? evidence : -Infinity;
  const ratio = seen[2] / expected[2] / (seen[1] / expected[1]);
  return ratio > 1.6 && ratio < 2.4 ? evidence : -Infinity;
}

/** Fewer values than this are colours of a palette, not a histogram. */
const fewestValues = 40;
/** Of what a smooth histogram has where the lattice has nothing, at most this share is there. */
const mostStrays = 0.02;
