/**
 * Numbers and text in pickles: little-endian integers, and the text lines of protocol 0. Every function takes one token
 * and throws when it is damaged.
 */

/** Python's two's complement, little-endian integers; a plain number where it is exact. */
export function readInteger(bytes: Uint8Array): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
  return toNumber(BigInt.asIntN(bytes.length * 8, value));
}

function toNumber(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

/** Bytes as text, one character each. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return text;
}

/** INT, LONG, GET and PUT lines: `12`, `-5L`. */
export function parseDecimal(text: string): number | bigint {
  const digits = text.replace(/L$/, "").trim();
  if (!/^[+-]?\d{1,600}$/.test(digits)) throw new Error(`damaged: ${quote(text)} is not an integer`);
  return toNumber(BigInt(digits.replace(/^\+/, "")));
}

/** FLOAT lines: what Python's repr writes. */
export function parseFloatText(text: string): number {
  switch (text) {
    case "nan":
    case "-nan":
      return NaN;
    case "inf":
      return Infinity;
    case "-inf":
      return -Infinity;
  }
  const value = /^[+-]?[\d.]{1,400}(e[+-]?\d{1,9})?$/i.test(text) ? Number(text) : NaN;
  if (Number.isNaN(value)) throw new Error(`damaged: ${quote(text)} is not a number`);
  return value;
}

const SIMPLE_ESCAPES = new Map(
  Object.entries({ n: "\n", r: "\r", t: "\t", a: "\x07", b: "\b", f: "\f", v: "\v" }),
);

/** STRING lines: a quoted Python literal, of bytes shown as one character each. */
export function parseQuoted(text: string): string {
  const mark = text[0];
  if (text.length < 2 || (mark !== "'" && mark !== '"') || text.at(-1) !== mark) {
    throw new Error("damaged: a STRING is not quoted");
  }
  return text.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[^])/g, (_, escape: string) => {
    if (escape.length === 3 && escape[0] === "x") return String.fromCharCode(parseInt(escape.slice(1), 16));
    if (/^[0-7]/.test(escape)) return String.fromCharCode(parseInt(escape, 8) & 0xff);
    return SIMPLE_ESCAPES.get(escape) ?? escape;
  });
}

/** UNICODE lines: `raw-unicode-escape`, in which only \\uXXXX and \\UXXXXXXXX are escapes. */
export function parseRawUnicode(text: string): string {
  return text.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (all, four?: string, eight?: string) => {
    const code = parseInt(four ?? eight!, 16);
    if (code > 0x10ffff) throw new Error(`damaged: ${all} is not a character`);
    return String.fromCodePoint(code);
  });
}
