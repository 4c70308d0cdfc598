import assert from "node:assert/strict";
import { tokenLogProbs } from "../../../attribution/likelihood/mod.ts";
import { openDevice } from "../../../core/open_device.ts";
import { type Device, fromArray, scope, type Tensor } from "../../../core/tensor/mod.ts";
import { openCheckpoint, syntheticSource, type TensorSource } from "../../../models/checkpoint/mod.ts";
import type { Variant } from "../../../models/family.ts";
import { loadRarVariant } from "../../../models/rar/family.ts";
import { transformerSpecs as rarSpecs } from "../../../models/rar/transformer.ts";
import { loadVarVariant } from "../../../models/var/family.ts";
import { transformerSpecs as varSpecs } from "../../../models/var/transformer.ts";
import type { WeightSpec } from "../../../models/weights.ts";

const folder = new URL("../../fixtures/golden/", import.meta.url).pathname;

function source(salt: string, specs: readonly WeightSpec[]): TensorSource {
  return syntheticSource(salt, specs);
}

interface Golden {
  readonly device: Device;
  // deno-lint-ignore no-explicit-any -- each case has its own configuration
  readonly manifest: any;
  readonly tensors: TensorSource;
}

/** Builds the case's variant and the transformer input of its tokens. */
type Build = (golden: Golden, tokens: Tensor) => Promise<{ variant: Variant; input: Tensor }>;

const cases: Record<string, Build> = {
  async case02_rar({ device, manifest }, tokens) {
    const { rar } = manifest.config;
    const config = {
      hiddenSize: rar.hidden_size,
      layers: rar.num_hidden_layers,
      heads: rar.num_attention_heads,
      intermediateSize: rar.intermediate_size,
      tokenCount: rar.image_seq_len,
      classes: rar.condition_num_classes,
      codes: rar.codebook_size,
    };
    return {
      variant: await loadRarVariant(device, source(manifest.salt, rarSpecs(config)), config, "tiny"),
      input: tokens,
    };
  },
  async case04_var_l2norm({ device, manifest, tensors }) {
    const { var: c, vae } = manifest.config;
    const config = {
      depth: c.depth,
      embedDim: c.embed_dim,
      heads: c.num_heads,
      sharedAdaLn: c.shared_aln,
      attnL2Norm: c.attn_l2_norm,
      classes: c.num_classes,
      patchNums: c.patch_nums,
      mlpRatio: c.mlp_ratio,
      codeChannels: vae.z_channels,
      codes: vae.vocab_size,
    };
    const variant = await loadVarVariant(device, source(manifest.salt, varSpecs(config)), config, "tiny");
    const input = fromArray(device, await tensors.readF32("var_input"), manifest.tensors.var_input.shape);
    return { variant, input };
  },
};

for (const [name, build] of Object.entries(cases)) {
  Deno.test(`tokenLogProbs() gives the reference's unconditional log-likelihoods for ${name}`, async () => {
    const manifest = JSON.parse(await Deno.readTextFile(`${folder}${name}.json`));
    const tensors = await openCheckpoint(`${folder}${name}.safetensors`);
    const device = await openDevice("cpu", { threads: 1 });
    try {
      const tokens = fromArray(device, await tensors.readI32("tokens"), manifest.tensors.tokens.shape);
      const { variant, input } = await build({ device, manifest, tensors }, tokens);
      const condition = variant.condition([null]);
      const got = await scope(() => tokenLogProbs(variant, input, tokens, condition)).data();
      const expected = await tensors.readF32("logprob_uncond");
      const error = manifest.float32_vs_float64.per_tensor.logprob_uncond.max_abs;
      const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const tolerance = Math.max(10 * error, 2e-5 * largest); // as the reference data asks for
      assert.equal(got.length, expected.length);
      got.forEach((value, i) =>
        assert.ok(Math.abs(value - expected[i]) <= tolerance, `${i}: ${value}, ${expected[i]}`)
      );
    } finally {
      device.close();
      tensors.close();
    }
  });
}
