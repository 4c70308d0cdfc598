/**
 * Case 08: membership features of given logits, conditional and conditional minus unconditional, per token and per
 * image.
 */
import {
  type FeatureKind,
  membershipFeatureNames,
  membershipFeatures,
} from "../attribution/likelihood/membership/features.ts";
import { lossFeatureNames, lossFeatures } from "../attribution/likelihood/membership/loss_features.ts";
import {
  type TokenStatistics,
  tokenStatistics,
  unpackStatistics,
} from "../attribution/likelihood/membership/statistics.ts";
import { tokenText, zlibLength } from "../attribution/likelihood/membership/zlib_length.ts";
import { concat, type Device, fromArray, keep, scope, slice, sub, type Tensor } from "../core/tensor/mod.ts";
import type { ParityCase } from "./case.ts";
import { inputs, type Result } from "./compute.ts";
import { take } from "./layout.ts";

/** Rows of logits that are worked on at a time: few, so that the case goes through several blocks. */
const blockRows = 100;

/** Statistics of rows logits[rows, codes], block by block: [rows, 4]. */
function inBlocks(logits: Tensor, tokens: Tensor): Tensor {
  return scope(() => {
    const blocks: Tensor[] = [];
    for (let row = 0; row < tokens.size; row += blockRows) {
      const end = Math.min(row + blockRows, tokens.size);
      blocks.push(scope(() => tokenStatistics(slice(logits, 0, row, end), slice(tokens, 0, row, end))));
    }
    return keep(concat(blocks, 0));
  });
}

/** A function of every image, one after the other. */
const perImage = (images: readonly TokenStatistics[], of: (image: TokenStatistics, i: number) => ArrayLike<number>) =>
  images.flatMap((image, i) => Array.from(of(image, i)));

/** `values` in the order of the case's names. Throws where the case names what is not computed. */
function byName(names: readonly string[], computed: readonly string[], values: Float64Array): number[] {
  return names.map((name) => {
    const at = computed.indexOf(name);
    if (at < 0) throw new Error(`parity: the case has a feature ${name}, which is not computed`);
    return values[at];
  });
}

/** Statistics and features of every set of logits. */
export async function* membership(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { config, feature_names: names, zlib } = parityCase.manifest;
  const options = { ks: config.ks as number[], maxEntropies: config.max_entropies as number[] };
  const sizes = Object.keys(parityCase.manifest.tensors!).flatMap((name) => name.match(/^logits_(\d+)$/)?.[1] ?? []);
  for (const size of sizes) {
    yield* inputs(parityCase, [`logits_${size}`, `logits_uncond_${size}`, `tokens_${size}`]);
    const [batch, tokenCount, codes] = parityCase.info(`logits_${size}`).shape;
    const tokens = await parityCase.ints(`tokens_${size}`);
    const tokensOf = (image: number) => tokens.subarray(image * tokenCount, (image + 1) * tokenCount);
    for (const [image, expected] of (zlib?.[size] ?? []).entries()) {
      const text = tokenText(tokensOf(image)), length = zlibLength(tokensOf(image));
      if (text !== expected.string || length !== expected.zlib_len) {
        throw new Error(
          `parity: zlib of image ${image} of ${size}: expected ${expected.zlib_len} bytes, got ${length}`,
        );
      }
    }
    const upload = async (name: string) =>
      fromArray(device, await parityCase.floats(name), [batch * tokenCount, codes]);
    const conditional = await upload(`logits_${size}`), unconditional = await upload(`logits_uncond_${size}`);
    const index = fromArray(device, tokens, [batch * tokenCount]);
    for (const kind of ["plain", "cfg"] as const satisfies FeatureKind[]) {
      const logits = kind === "plain" ? conditional.alias() : sub(conditional, unconditional);
      const values = await take(inBlocks(logits, index)) as Float32Array;
      logits.dispose();
      const images = Array.from({ length: batch }, (_, image) => unpackStatistics(values, tokenCount, image));
      const losses = perImage(images, ({ logProbs }) => logProbs.map((l) => -l));
      yield { tensor: `token_losses_${kind}_${size}`, values: losses };
      yield {
        tensor: `features_${kind}_${size}`,
        values: perImage(images, (image, i) => {
          const features = membershipFeatures(kind, image, tokensOf(i), options);
          return byName(names[kind], membershipFeatureNames(kind, options), features);
        }),
      };
      yield { tensor: `logprobas_${kind}_${size}`, values: perImage(images, ({ logProbs }) => logProbs) };
      yield { tensor: `mu_${kind}_${size}`, values: perImage(images, ({ means }) => means) };
      yield { tensor: `sigma_${kind}_${size}`, values: perImage(images, ({ variances }) => variances) };
      yield {
        tensor: `minkpp_${kind}_${size}`,
        values: perImage(
          images,
          ({ logProbs, means, variances }) => logProbs.map((l, t) => (l - means[t]) / (variances[t] + 1e-6)),
        ),
      };
      if (kind === "plain") {
        yield {
          tensor: `features_loss_${size}`,
          values: images.flatMap(({ logProbs }, i) => {
            const features = lossFeatures(logProbs.map((l) => -l), tokensOf(i), options);
            return byName(names.loss, lossFeatureNames(options), features);
          }),
        };
      }
    }
    for (const tensor of [conditional, unconditional, index]) tensor.dispose();
  }
}
