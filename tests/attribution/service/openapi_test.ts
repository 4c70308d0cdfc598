/** The OpenAPI document: its examples fit its schemas, and every error that the service can give is in it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import * as v from "npm:valibot@1.5.0";
import { errorKinds } from "../../../attribution/service/error_codes.ts";
import { attributionExample, modelsExample, statusExamples } from "../../../attribution/service/openapi_examples.ts";
import { attributeQuery, queryProblem } from "../../../attribution/service/config.ts";
import { attributionSchema, modelsSchema, statusSchema } from "../../../attribution/service/schemas.ts";
import { root } from "./server.ts";

Deno.test("the examples are answers that the service could give", () => {
  assert.deepEqual(v.parse(attributionSchema, attributionExample), attributionExample);
  assert.deepEqual(v.parse(modelsSchema, modelsExample), modelsExample);
  for (const status of Object.values(statusExamples).flat()) assert.deepEqual(v.parse(statusSchema, status), status);
});

Deno.test("every error that the service makes has its words and its status", async () => {
  const known = new Set(errorKinds.map(({ status, code }) => `${status} ${code}`));
  const folder = join(root, "attribution", "service");
  const found = new Set<string>();
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".ts")) continue;
    const text = await Deno.readTextFile(join(folder, name));
    for (const [, status, code] of text.matchAll(/new HttpError\(\s*(\d{3}),\s*"([a-z-]+)"/g)) {
      found.add(`${status} ${code}`);
    }
    for (const [, reason] of text.matchAll(/^ {2}"([a-z-]+)": 4\d\d,$/gm)) {
      assert.ok([...known].some((one) => one.endsWith(` ${reason}`)) || reason === "io", `${name}: ${reason}`);
    }
  }
  found.delete("499 gone"); // nobody is there to read it
  assert.ok(found.size > 12);
  for (const one of found) assert.ok(known.has(one), `${one} is not in error_codes.ts`);
});

Deno.test("what is wrong with a query is said in plain words", () => {
  const problem = (query: Record<string, string>) => {
    const result = v.safeParse(attributeQuery, query);
    assert.ok(!result.success);
    return queryProblem(result.issues[0]);
  };
  assert.equal(problem({ stream: "yes" }), "stream: expected 0 or 1, got yes");
  assert.equal(problem({ size: "1" }), "size: is no parameter; expected stream, maps, timeout_ms");
  assert.equal(problem({ timeout_ms: "0" }), "timeout_ms: expected milliseconds, 1 to 9999999, got 0");
});
