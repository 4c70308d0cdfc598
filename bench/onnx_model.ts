/**
 * Models of one operator in the format of ONNX, for onnxruntime: a matrix product with a constant, or a convolution.
 * Fields and numbers are those of onnx/onnx.proto3 (github.com/onnx/onnx); the encoding is that of protocol buffers.
 */

/** A field: its number and its value; a number is a varint, bytes and strings are length-delimited. */
type Field = readonly [number: number, value: number | string | Uint8Array];

const floatType = 1, intsAttribute = 7;

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

function message(...fields: Field[]): Uint8Array<ArrayBuffer> {
  const parts = fields.flatMap(([number, value]) => {
    if (typeof value === "number") return [Uint8Array.from([...varint(number * 8), ...varint(value)])];
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    return [Uint8Array.from([...varint(number * 8 + 2), ...varint(bytes.length)]), bytes];
  });
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** ValueInfoProto of a float tensor. */
function valueInfo(name: string, shape: readonly number[]): Uint8Array {
  const dims = shape.map((size): Field => [1, message([1, size])]);
  return message([1, name], [2, message([1, message([1, floatType], [2, message(...dims)])])]);
}

/** AttributeProto of whole numbers. */
function integers(name: string, values: readonly number[]): Field {
  return [5, message([1, name], ...values.map((value): Field => [8, value]), [20, intsAttribute])];
}

/** One operator that takes `x` and the constant `w` to `y`. */
export interface OnnxOperator {
  readonly type: "MatMul" | "Conv";
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly y: readonly number[];
  /** Values of `w`, in its order. */
  readonly values: Float32Array<ArrayBuffer>;
  /** Whole-number attributes, such as `pads`. */
  readonly attributes?: Readonly<Record<string, readonly number[]>>;
}

/** The model as the bytes of a ModelProto, with the operator set 13. */
export function onnxModel({ type, x, w, y, values, attributes = {} }: OnnxOperator): Uint8Array<ArrayBuffer> {
  const constant = message(
    ...w.map((size): Field => [1, size]),
    [2, floatType],
    [8, "w"],
    [9, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)],
  );
  const rows = Object.entries(attributes).map(([name, numbers]) => integers(name, numbers));
  const node = message([1, "x"], [1, "w"], [2, "y"], [4, type], ...rows);
  const graph = message([1, node], [2, "case"], [5, constant], [11, valueInfo("x", x)], [12, valueInfo("y", y)]);
  return message([1, 7], [7, graph], [8, message([1, ""], [2, 13])]);
}
