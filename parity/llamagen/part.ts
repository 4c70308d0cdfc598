/** LlamaGen's part in parity. */
import { add, sub } from "../../core/tensor/mod.ts";
import { llamagen as family } from "../../models/llamagen/family.ts";
import type { FamilyParity } from "../family.ts";
import { vqConfig } from "./configs.ts";
import { fullGpt, fullVq } from "./full.ts";
import { images } from "./images.ts";
import { sampler } from "./sampler.ts";
import { vq } from "./tokenizer.ts";
import { gpt, likelihood, rope } from "./transformer.ts";

/** The row of families.ts. */
export const llamagenParity: FamilyParity = {
  family,
  cases: [
    { name: /full_/, network: "gpt", compute: fullGpt },
    { name: /full_/, network: "vq", compute: fullVq },
    { name: /llamagen_rope/, network: "tables", compute: rope },
    { name: /llamagen_sampler/, network: "vocab_size", compute: sampler },
    { name: /llamagen_likelihood/, network: "gpt", compute: likelihood },
    { name: /llamagen_images/, network: "eval", compute: images },
    { name: /llamagen_gpt/, network: "gpt", compute: gpt },
    { name: /llamagen_vq/, network: "vq", compute: vq },
  ],
  tokenizerConfig: ({ config: { vq } }) => (vq === undefined ? null : vqConfig(vq)),
  *quantisers(tokenizer) {
    yield {
      prefix: "llamagen_",
      quantize(f) {
        // The reference hands on f + (fHat - f), which differs from fHat by rounding.
        const { tokens, fHat } = tokenizer.quantize(f);
        return { tokens, fHat: add(f, sub(fHat, f)) };
      },
    };
  },
};
