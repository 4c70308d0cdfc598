// Names what a file is that is not decoded here, and says what to do with it.

import { ascii, printable } from "./bytes.ts";

/** The ISO base media brands of videos (ftyp box): MP4, QuickTime, 3GP, DASH. */
const videoBrand = /^(isom|iso\d|mp4\d|avc1|M4V|MSNV|qt {2}|3g[p2]|dash|f4v)/;

/**
 * Another common format and its remedy, as the end of a sentence that begins with "got". Undefined for unknown content.
 */
export function nameOfOtherFormat(bytes: Uint8Array): string | undefined {
  const image = nameOfImage(bytes);
  if (image !== undefined) return `${image}; convert it to PNG`;
  const archive = nameOfArchive(bytes);
  if (archive !== undefined) return `${archive} first and name the images or their folder`;
  const video = nameOfVideo(bytes);
  if (video !== undefined) return `${video}; save the frames to attribute as PNG files`;
  return undefined;
}

/** A text that stands where an image should be, and its remedy. Undefined for other texts. */
export function nameOfText(bytes: Uint8Array): string | undefined {
  const text = ascii(bytes, 0, 512).replace(/^\xef\xbb\xbf/, "").trimStart();
  if (text.startsWith("version https://git-lfs.github.com/spec/")) {
    return "a Git LFS pointer in the place of the image; get the image with: git lfs pull";
  }
  if (/^(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?<(!doctype\s+html|html)[\s>]/i.test(text)) {
    return "a web page (HTML), perhaps the error page of a failed download; download the image again";
  }
  return undefined;
}

function nameOfImage(bytes: Uint8Array): string | undefined {
  const head = ascii(bytes, 0, 4);
  if (head === "GIF8") return "GIF";
  if (head.startsWith("BM") && bytes.length >= 26) return "BMP";
  if (head === "II*\0" || head === "MM\0*" || head === "II+\0" || head === "MM\0+") return "TIFF";
  if (ascii(bytes, 4, 4) === "ftyp") {
    const brand = ascii(bytes, 8, 4);
    if (brand === "avif" || brand === "avis") return "AVIF";
    if (/^(hei|hev|mif1|msf1)/.test(brand)) return "HEIF";
    if (brand === "crx ") return "a raw image (CR3)";
    return undefined;
  }
  if (startsWith(bytes, [0, 0, 0, 0x0c, 0x6a, 0x50]) || startsWith(bytes, [0xff, 0x4f, 0xff, 0x51])) return "JPEG 2000";
  if (startsWith(bytes, [0, 0, 0, 0x0c, 0x4a, 0x58]) || startsWith(bytes, [0xff, 0x0a])) return "JPEG XL";
  if (head === "8BPS") return "a Photoshop file";
  if (head === "%PDF") return "PDF";
  if (head === "qoif") return "QOI";
  if (head === "\x8aMNG") return "MNG";
  if (startsWith(bytes, [0, 0, 1, 0]) && bytes.length >= 22) return "ICO";
  if (/^P[1-7]\s/.test(head)) return "PNM";
  if (/^(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?<svg[\s>]/.test(ascii(bytes, 0, 512).trimStart())) return "SVG";
  return undefined;
}

/** With the first words of the remedy. */
function nameOfArchive(bytes: Uint8Array): string | undefined {
  if (["PK\x03\x04", "PK\x05\x06", "PK\x07\x08"].includes(ascii(bytes, 0, 4))) return "a zip archive; unzip it";
  if (startsWith(bytes, [0x1f, 0x8b])) return "gzip; unpack it";
  if (ascii(bytes, 0, 6) === "7z\xbc\xaf\x27\x1c") return "a 7z archive; unpack it";
  if (ascii(bytes, 0, 4) === "Rar!") return "a rar archive; unpack it";
  if (ascii(bytes, 0, 3) === "BZh") return "bzip2; unpack it";
  if (startsWith(bytes, [0xfd, 0x37, 0x7a, 0x58, 0x5a])) return "xz; unpack it";
  if (startsWith(bytes, [0x28, 0xb5, 0x2f, 0xfd])) return "zstd; unpack it";
  if (ascii(bytes, 257, 5) === "ustar") return "a tar archive; unpack it";
  return undefined;
}

function nameOfVideo(bytes: Uint8Array): string | undefined {
  if (ascii(bytes, 4, 4) === "ftyp") {
    const brand = ascii(bytes, 8, 4), shown = printable(bytes, 8, 4).trim();
    return videoBrand.test(brand) ? `a video (${shown})` : `an ISO media file (${shown})`;
  }
  if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 4) === "AVI ") return "a video (AVI)";
  if (startsWith(bytes, [0x1a, 0x45, 0xdf, 0xa3])) return "a video (Matroska or WebM)";
  return undefined;
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, i) => bytes[i] === byte);
}
