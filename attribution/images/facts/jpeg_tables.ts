// The quantisation tables that libjpeg makes of a quality (jcparam.c, jpeg_set_quality), and which quality tables have.

/** Table K.1 of ITU T.81, for luma, row by row. */
const standardLuma = [
  ...[
    16,
    11,
    10,
    16,
    24,
    40,
    51,
    61,
    12,
    12,
    14,
    19,
    26,
    58,
    60,
    55,
    14,
    13,
    16,
    24,
    40,
    57,
    69,
    56,
    14,
    17,
    22,
    29,
    51,
  ],
  ...[
    87,
    80,
    62,
    18,
    22,
    37,
    56,
    68,
    109,
    103,
    77,
    24,
    35,
    55,
    64,
    81,
    104,
    113,
    92,
    49,
    64,
    78,
    87,
    103,
    121,
    120,
    101,
  ],
  ...[72, 92, 95, 98, 112, 100, 103, 99],
];

/** Table K.2, for chroma: its upper left corner. All other steps are 99. */
const standardChromaCorner = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56], [47, 66]];
const standardChroma = Array.from({ length: 64 }, (_, i) => standardChromaCorner[i >> 3]?.[i & 7] ?? 99);

/** Place in a row-by-row table of each step in zigzag order (figure A.6). */
const zigzag: readonly number[] = Array.from({ length: 64 }, (_, i) => i).sort((a, b) => {
  const diagonal = (i: number) => (i >> 3) + (i & 7), along = (i: number) => (diagonal(i) % 2 ? i >> 3 : i & 7);
  return diagonal(a) - diagonal(b) || along(a) - along(b);
});

/** libjpeg's table of a quality of 1 to 100, 64 steps row by row. */
export function libjpegTable(quality: number, part: "luma" | "chroma" = "luma"): Uint8Array {
  const scale = quality < 50 ? Math.trunc(5000 / quality) : 200 - 2 * quality;
  const standard = part === "luma" ? standardLuma : standardChroma;
  return Uint8Array.from(standard, (step) => Math.min(255, Math.max(1, Math.trunc((step * scale + 50) / 100))));
}

/** The luma tables of all qualities: index 0 is quality 1. */
export const libjpegLuma: readonly Uint8Array[] = Array.from({ length: 100 }, (_, i) => libjpegTable(i + 1));

/** A file's table, 64 steps in zigzag order, row by row. */
export function inRows(table: Uint16Array): Uint16Array {
  const rows = new Uint16Array(64);
  zigzag.forEach((place, i) => rows[place] = table[i]);
  return rows;
}

/**
 * The quality of which libjpeg makes a file's tables for luma and chroma, given row by row. Null if there is none.
 */
export function exactQuality(luma: Uint16Array, chroma: Uint16Array | undefined): number | null {
  const isSame = (a: Uint16Array, b: Uint8Array) => a.every((step, i) => step === b[i]);
  const index = libjpegLuma.findIndex((table, i) =>
    isSame(luma, table) && (chroma === undefined || isSame(chroma, libjpegTable(i + 1, "chroma")))
  );
  return index < 0 ? null : index + 1;
}

/** The quality, 1 to 100, whose luma table is the nearest one, by the mean of the steps' logarithms. */
export function nearestQuality(luma: ArrayLike<number>): number {
  const level = (table: ArrayLike<number>) =>
    Array.from(table, (step) => Math.log(Math.max(1, step))).reduce((a, b) => a + b);
  const wanted = level(luma);
  let best = 0, least = Infinity;
  libjpegLuma.forEach((table, i) => {
    const distance = Math.abs(level(table) - wanted);
    if (distance < least) [best, least] = [i + 1, distance];
  });
  return best;
}
