/** RAR's part in parity. */
import { add, sub } from "../../core/tensor/mod.ts";
import { rar as family } from "../../models/rar/family.ts";
import type { FamilyParity } from "../family.ts";
import { tokenizerConfig } from "./configs.ts";
import { fullMaskgitVq, fullRar } from "./full.ts";
import { maskgitVq, rar } from "./small.ts";

/** The row of families.ts. */
export const rarParity: FamilyParity = {
  family,
  cases: [
    { name: /case01/, network: "tokenizer", compute: maskgitVq },
    { name: /case02/, network: "rar", compute: rar },
    { name: /full_/, network: "rar", compute: fullRar },
    { name: /full_/, network: "tokenizer", compute: fullMaskgitVq },
  ],
  /** `tokenizer` may be another family's; `channel_mult` is RAR's. */
  tokenizerConfig({ config: { rar_tokenizer: named, tokenizer } }) {
    if (named !== undefined) return tokenizerConfig(named);
    return tokenizer?.channel_mult === undefined ? null : tokenizerConfig(tokenizer);
  },
  *quantisers(tokenizer) {
    yield {
      prefix: "rar_",
      quantize(f) {
        // The reference hands on f + (fHat - f), which differs from fHat by rounding.
        const { tokens, fHat } = tokenizer.quantize(f);
        return { tokens, fHat: add(f, sub(fHat, f)) };
      },
    };
  },
};
