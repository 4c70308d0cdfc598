// Reads text and numbers from the bytes of a file.

/** Bytes as Latin-1 text. It is shorter at the end of the file. */
export function ascii(bytes: Uint8Array, at: number, count: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + count));
}

/** Bytes as text for messages. Unprintable bytes become dots. */
export function printable(bytes: Uint8Array, at: number, count: number): string {
  return ascii(bytes, at, count).replace(/[^ -~]/g, ".");
}

/** A 24-bit little-endian number. */
export function uint24(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
}

/** A view of the same bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
