import { deepStrictEqual, throws } from "node:assert/strict";
import { operatorOf } from "../../bench/onnx.ts";
import { onnxModel } from "../../bench/onnx_model.ts";

/** Fields of a message of protocol buffers by number: varints as numbers, everything else as bytes. */
function fields(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
  const found = new Map<number, (number | Uint8Array)[]>();
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1, byte: number;
    do {
      byte = bytes[at++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte >= 128);
    return value;
  };
  while (at < bytes.length) {
    const key = varint(), wire = key & 7;
    let value: number | Uint8Array = varint();
    if (wire === 2) {
      const end = at + value;
      value = bytes.subarray(at, end);
      at = end;
    } else if (wire !== 0) throw new Error(`a field with the wire type ${wire}`);
    found.set(key >> 3, [...found.get(key >> 3) ?? [], value]);
  }
  return found;
}

const message = (field: (number | Uint8Array)[] | undefined, i = 0) => fields(field![i] as Uint8Array);
const text = (field: (number | Uint8Array)[] | undefined) =>
  field!.map((bytes) => new TextDecoder().decode(bytes as Uint8Array));

Deno.test("onnxModel() writes a convolution with its constant, padding and shapes where onnx.proto3 has them", () => {
  const operator = operatorOf({ kind: "conv", sizes: [1, 16, 16, 300, 200, 3] });
  const model = fields(onnxModel(operator));
  deepStrictEqual([model.get(1), message(model.get(8)).get(2)], [[7], [13]]);
  const graph = message(model.get(7)), node = message(graph.get(1)), constant = message(graph.get(5));
  deepStrictEqual([text(node.get(1)), text(node.get(2)), text(node.get(4))], [["x", "w"], ["y"], ["Conv"]]);
  const pads = message(node.get(5), 1);
  deepStrictEqual([text(pads.get(1)), pads.get(8), pads.get(20)], [["pads"], [1, 1, 1, 1], [7]]);
  deepStrictEqual([constant.get(1), constant.get(2), text(constant.get(8))], [[200, 300, 3, 3], [1], ["w"]]);
  const raw = (constant.get(9)![0] as Uint8Array).slice();
  deepStrictEqual(new Float32Array(raw.buffer), operator.values);
  const type = message(message(message(graph.get(11)).get(2)).get(1));
  deepStrictEqual(message(type.get(2)).get(1)!.map((dim) => fields(dim as Uint8Array).get(1)), [[1], [300], [16], [
    16,
  ]]);
});

Deno.test("operatorOf() knows matrix products and convolutions only", () => {
  const { x, w, y } = operatorOf({ kind: "matmul", m: 2, n: 3, k: 5 });
  deepStrictEqual([x, w, y], [[2, 5], [5, 3], [2, 3]]);
  throws(() => operatorOf({ kind: "pass", network: "rarb" }), {
    message: "onnxruntime: expected a matrix product or a convolution, got pass",
  });
});
