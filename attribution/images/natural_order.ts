// Natural order of file names: "img2" before "img10". It does not depend on locale or file system, so that all machines
// write the same submission.

/**
 * Compares two relative paths, for `sort`: folder by folder, numbers by value, other characters by code unit. Of
 * numbers with equal value the shorter comes first ("1" before "01"), so that only equal strings compare as 0.
 */
export function compareNaturally(a: string, b: string): number {
  let i = 0;
  let j = 0;
  let byLength = 0;
  while (i < a.length && j < b.length) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(j);
    if (isDigit(x) && isDigit(y)) {
      const [zerosA, endA] = digits(a, i);
      const [zerosB, endB] = digits(b, j);
      // Without leading zeros the longer number is the larger one. So numbers of any length can be compared.
      if (endA - zerosA !== endB - zerosB) return endA - zerosA - (endB - zerosB);
      for (let k = 0; k < endA - zerosA; k++) {
        const difference = a.charCodeAt(zerosA + k) - b.charCodeAt(zerosB + k);
        if (difference !== 0) return difference;
      }
      byLength ||= endA - i - (endB - j);
      i = endA;
      j = endB;
    } else {
      if (x !== y) return rank(x) - rank(y);
      i++;
      j++;
    }
  }
  return a.length - i - (b.length - j) || byLength;
}

/** A path separator comes before every other character, so that the files of a folder stay together. */
function rank(code: number): number {
  return code === 0x2f ? -1 : code;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/**
 * Positions after the leading zeros and after the last digit of the number at `at`. A single "0" has no other digits.
 */
function digits(text: string, at: number): [number, number] {
  let start = at;
  while (text.charCodeAt(start) === 0x30) start++;
  let end = start;
  while (isDigit(text.charCodeAt(end))) end++;
  return [start, end];
}
