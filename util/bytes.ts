/**
 * Sizes in bytes as people write them, with binary units.
 */

/** `512 B`, `1.50 KiB`, `7.49 GiB`: three digits. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes, unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toPrecision(3)} ${units[unit]}`;
}

/** Bytes of `4GiB`, `512MiB`, `1.5G` (all units are binary) or a plain number; NaN for anything else and below 1. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|B)?$/i.exec(text.trim());
  const scale = match?.[2] === undefined ? 1 : 1024 ** ("KMGT".indexOf(match[2].toUpperCase()) + 1);
  const bytes = match === null ? NaN : Math.round(Number(match[1]) * scale);
  return bytes >= 1 ? bytes : NaN;
}
