/** Settings survive being stored: whoever decides by a calibration infers classes as it did. */
import assert from "node:assert/strict";
import * as v from "npm:valibot@1.5.0";
import type { Settings } from "../../../attribution/evidence/evidence.ts";
import { settingsSchema } from "../../../attribution/evidence/schemas.ts";
import { defaultInference } from "../../../attribution/likelihood/class_inference.ts";

const settings: Settings = {
  ...{ condition: "infer", summaries: "summaries/3", extras: "tokens/1", latents: "a" },
  ...{ quantization: "estimate", signals: "all", device: "cpu", weightType: "f16" },
  inference: { ...defaultInference, families: { var: { budget: 10, top: 1 } } },
};

Deno.test("settingsSchema keeps all settings, those of single families too, and refuses what is none", () => {
  assert.deepEqual(v.parse(settingsSchema, JSON.parse(JSON.stringify(settings))), settings);
  const { inference, ...rest } = settings;
  assert.deepEqual(v.parse(settingsSchema, rest), rest);
  for (const families of [{ var: { budget: 10 } }, { var: 10 }, [1]]) {
    assert.throws(() => v.parse(settingsSchema, { ...rest, inference: { ...inference, families } }));
  }
});
