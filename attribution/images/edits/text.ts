// Edits as text, for command lines and tables: `resize:4,jpeg:90`.

import { checkEdit, type Edit, type EditName, type EditOf } from "./edit.ts";

/** How an edit is written. */
interface Form<E> {
  /** For messages. */
  readonly usage: string;
  /** Of what stands after the name; undefined if it is not of this form. */
  readonly parse: (parameters: readonly string[]) => Omit<E, "name"> | undefined;
  readonly format: (edit: E) => readonly (string | number)[];
}

const FORMS: { readonly [N in EditName]: Form<EditOf<N>> } = {
  jpeg: {
    usage: "jpeg:QUALITY[:444]",
    parse: ([quality, chroma]) =>
      chroma === undefined
        ? { quality: number(quality) }
        : chroma === "444"
        ? { quality: number(quality), subsampling: "4:4:4" }
        : undefined,
    format: ({ quality, subsampling }) => [quality, ...subsampling === "4:4:4" ? ["444"] : []],
  },
  webp: { usage: "webp:QUALITY", ...oneNumber("quality") },
  noise: {
    usage: "noise:LEVELS[:SEED]",
    parse: ([levels, seed = "0"]) => ({ levels: number(levels), seed: number(seed) }),
    format: ({ levels, seed }) => [levels, ...seed === 0 ? [] : [seed]],
  },
  brightness: { usage: "brightness:FACTOR", ...oneNumber("factor") },
  contrast: { usage: "contrast:FACTOR", ...oneNumber("factor") },
  saturation: { usage: "saturation:FACTOR", ...oneNumber("factor") },
  palette: {
    usage: "palette:COLOURS[:dither]",
    parse: ([colours, dither]) =>
      dither === undefined
        ? { colours: number(colours) }
        : dither === "dither"
        ? { colours: number(colours), dither: true }
        : undefined,
    format: ({ colours, dither }) => [colours, ...dither ? ["dither"] : []],
  },
  blur: { usage: "blur:SIGMA", ...oneNumber("sigma") },
  resize: {
    usage: "resize:FACTOR[:FILTER]",
    parse: ([factor, filter]) => ({
      factor: number(factor),
      ...filter !== undefined && { filter: filter as EditOf<"resize">["filter"] },
    }),
    format: ({ factor, filter }) => [factor, ...filter === undefined || filter === "bicubic" ? [] : [filter]],
  },
  resizeBack: { usage: "resizeBack:RATIO", ...oneNumber("ratio") },
  mirror: { usage: "mirror", parse: () => ({}), format: () => [] },
  turn: {
    usage: "turn:90|180|270",
    parse: ([degrees]) => ({ degrees: number(degrees) as 90 | 180 | 270 }),
    format: ({ degrees }) => [degrees],
  },
  crop: {
    usage: "crop:PIXELS or crop:LEFT:TOP:RIGHT:BOTTOM",
    parse: (sides) => {
      if (sides.length !== 1 && sides.length !== 4) return undefined;
      const [left, top = left, right = left, bottom = left] = sides.map(number);
      return { left, top, right, bottom };
    },
    format: ({ left, top, right, bottom }) =>
      left === top && left === right && left === bottom ? [left] : [left, top, right, bottom],
  },
  shift: {
    usage: "shift:X:Y",
    parse: ([x, y]) => ({ x: number(x), y: number(y) }),
    format: ({ x, y }) => [x, y],
  },
  canvas: {
    usage: "canvas:TIMES[+LEFT+TOP][:#RRGGBB] or canvas:WIDTHxHEIGHT[+LEFT+TOP][:#RRGGBB]",
    parse: parseCanvas,
    format: formatCanvas,
  },
  grey: { usage: "grey", parse: () => ({}), format: () => [] },
};

/** Names of the edits. */
export const editNames: readonly EditName[] = Object.keys(FORMS) as EditName[];

/** How each edit is written, for help texts. */
export const editUsages: readonly string[] = Object.values(FORMS).map(({ usage }) => usage);

/**
 * Reads edits, separated by commas; an empty text and `none` mean no edits. Defaults are left out of the result.
 *
 * Throws RangeError that lists what is known, or names the range of a value.
 */
export function parseEdits(text: string): Edit[] {
  if (text.trim() === "" || text.trim() === "none") return [];
  return text.split(",").map((part) => parseEdit(part.trim()));
}

/** The text that parseEdits() reads; `none` for no edits. */
export function formatEdits(edits: readonly Edit[]): string {
  if (edits.length === 0) return "none";
  return edits.map((edit) => {
    const { format } = FORMS[edit.name] as Form<Edit>;
    return [edit.name, ...format(edit)].join(":");
  }).join(",");
}

function parseEdit(text: string): Edit {
  const [name, ...parameters] = text.split(":");
  if (!Object.hasOwn(FORMS, name)) {
    throw new RangeError(`edits: expected edits of ${editUsages.join(", ")}, separated by commas; got "${text}"`);
  }
  const { usage, parse } = FORMS[name as EditName] as Form<Edit>;
  const most = Math.max(...usage.split(" or ").map((form) => form.split(":").length - 1));
  const values = parameters.length > most ? undefined : parse(parameters);
  if (values === undefined || Object.values(values).some((value) => Number.isNaN(value))) {
    throw new RangeError(`edits: expected ${usage}, got "${text}"`);
  }
  return checkEdit({ name, ...values } as Edit);
}

function parseCanvas([size = "", colour]: readonly string[]): Omit<EditOf<"canvas">, "name"> | undefined {
  const match = size.match(/^(?:(\d+)x(\d+)|([\d.]+))(?:([+-]\d+)([+-]\d+))?$/);
  if (match === null) return undefined;
  const [, width, height, times, left, top] = match;
  return {
    ...times === undefined ? { width: number(width), height: number(height) } : { times: number(times) },
    ...left !== undefined && { left: Number(left), top: Number(top) },
    ...colour !== undefined && { colour },
  };
}

function formatCanvas(edit: EditOf<"canvas">): string[] {
  const { left, top, colour } = edit;
  const size = "times" in edit ? `${edit.times}` : `${edit.width}x${edit.height}`;
  const signed = (value: number) => value < 0 ? `${value}` : `+${value}`;
  const place = left === undefined && top === undefined ? "" : `${signed(left ?? 0)}${signed(top ?? 0)}`;
  return [size + place, ...colour === undefined ? [] : [colour]];
}

function oneNumber<Key extends string>(key: Key): Omit<Form<{ readonly [K in Key]: number }>, "usage"> {
  return {
    parse: ([value]) => ({ [key]: number(value) }) as { [K in Key]: number },
    format: (edit) => [edit[key]],
  };
}

/** NaN unless the text is a decimal number. */
function number(text: string | undefined): number {
  return text !== undefined && /^-?\d+(\.\d+)?(e-?\d+)?$/.test(text) ? Number(text) : NaN;
}
