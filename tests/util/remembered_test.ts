import assert from "node:assert/strict";
import { Remembered } from "../../util/remembered.ts";

Deno.test("Remembered makes a value once for an object and its parts", () => {
  const known = new Remembered<number>(), key = {}, part = {};
  let made = 0;
  const of = (...parts: unknown[]) => known.of(key, parts, () => ++made);
  assert.deepEqual([of(part, 1), of(part, 1), of(part, 2), of({}, 2), of(part, 1)], [1, 1, 2, 3, 4]);
  assert.equal(known.of({}, [part, 1], () => -1), -1, "another object");
  assert.equal(of(part, 1), 4);
});
