import assert from "node:assert/strict";
import { rememberedSearch } from "../../../attribution/run/remembered.ts";
import type { SearchInput } from "../../../attribution/run/image_state.ts";

Deno.test("rememberedSearch() asks once for what was measured of an image, and again for anything new", () => {
  let asked = 0;
  const { level, needs } = rememberedSearch({ level: "quick", needs: () => asked++ % 2 === 0 });
  assert.equal(level, "quick");
  const variants: Record<string, SearchInput["variants"][string]> = {};
  const image: SearchInput = { families: {}, variants };
  const answers = () => [needs(image), needs({ ...image }), asked];
  assert.deepEqual(answers(), [true, true, 1]);
  variants.rarb = { tokens: 4, meanLogProb: -1, perplexity: Math.E };
  assert.deepEqual(answers(), [false, false, 2]);
  assert.equal(needs({ ...image, classes: {} }), true);
  assert.equal(needs({ ...image, families: {} }), false);
  assert.equal(needs({ families: {}, variants: {} }), true, "another image");
});
