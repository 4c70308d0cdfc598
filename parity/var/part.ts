/** VAR's part in parity. */
import { ScaleMaps } from "../../attribution/quantisation/scale_maps.ts";
import { gradientQuantize } from "../../attribution/quantisation/soft_assign.ts";
import { varFamily as family } from "../../models/var/family.ts";
import type { FamilyParity } from "../family.ts";
import { vqvaeConfig } from "./configs.ts";
import { fullVar, fullVqvae } from "./full.ts";
import { optimisedQuantisation } from "./optquant.ts";
import { varTransformer, vqvae } from "./small.ts";

/** The row of families.ts. */
export const varParity: FamilyParity = {
  family,
  cases: [
    { name: /case03/, network: "vae", compute: vqvae },
    { name: /case04/, network: "var", compute: varTransformer },
    { name: /case05_optquant/, network: "vae", compute: optimisedQuantisation },
    { name: /full_/, network: "var", compute: fullVar },
    { name: /full_/, network: "vae", compute: fullVqvae },
  ],
  /** `tokenizer` may be another family's; `ch_mult` is VAR's. */
  tokenizerConfig({ config: { vae, tokenizer } }) {
    if (vae !== undefined) return vqvaeConfig(vae);
    return tokenizer?.ch_mult === undefined ? null : vqvaeConfig(tokenizer);
  },
  *quantisers(tokenizer, { config: { optimized_quant: given } }) {
    yield { prefix: "var_greedy_", quantize: (f) => tokenizer.quantize(f) };
    const maps = new ScaleMaps(tokenizer);
    yield {
      prefix: "var_opt_",
      quantize: (f) =>
        gradientQuantize(maps, f, tokenizer.quantize(f).tokens, {
          iterations: given.iters,
          lr: given.lr,
          tauStart: given.tau_start,
          tauEnd: given.tau_end,
          stop: given.stop,
          lossOver: "batch",
        }),
      dispose: () => maps.dispose(),
    };
  },
};
