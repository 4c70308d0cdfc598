/** Case 23: guidance, and the distribution that codes are drawn from, for given logits. */
import { type Device, fromArray } from "../../core/tensor/mod.ts";
import { syntheticInput } from "../../models/checkpoint/mod.ts";
import { guideByFactor } from "../../models/guidance.ts";
import type { ParityCase } from "../case.ts";
import type { Result } from "../compute.ts";
import { take } from "../layout.ts";
import { distribution, samplerOf } from "./transformer.ts";

export async function* sampler(parityCase: ParityCase, device: Device): AsyncGenerator<Result> {
  const { config: { batch, vocab_size: codes }, settings, ties_top_k: ties, salt } = parityCase.manifest;
  const input = (id: string, change: (value: number) => number) =>
    syntheticInput(salt, id, [batch, codes]).map(change) as Float32Array<ArrayBuffer>;
  const distributions = async function* (name: string, values: Float32Array<ArrayBuffer>, all: typeof settings) {
    for (const [i, one] of all.entries()) {
      const logits = fromArray(device, values, [batch, codes]);
      const probabilities = await take(distribution(device, logits, samplerOf(one)));
      logits.dispose();
      yield { tensor: `${name}probs_${i}`, values: probabilities };
      const kept = Array.from(
        { length: batch },
        (_, b) => Array.from(probabilities.subarray(b * codes, (b + 1) * codes)).filter((p) => p > 0).length,
      );
      yield { tensor: `${name}kept_${i}`, values: kept };
    }
  };
  const logits = input("sampler", (value) => 5 * value);
  yield { tensor: "logits", values: logits };
  yield* distributions("", logits, settings);
  const tied = input("ties", (value) => Math.round(3 * value));
  yield { tensor: "ties_logits", values: tied };
  yield* distributions("ties_", tied, (ties as number[]).map((k) => ({ temperature: 1, top_k: k, top_p: 1 })));
  const unconditional = input("cfg_u", (value) => 2 * value), conditional = input("cfg_c", (value) => 2 * value);
  yield { tensor: "cfg_uncond", values: unconditional };
  yield { tensor: "cfg_cond", values: conditional };
  for (const name of Object.keys(parityCase.manifest.tensors!).filter((name) => /^cfg_[\d.]+$/.test(name))) {
    const [c, u] = [conditional, unconditional].map((values) => fromArray(device, values, [batch, codes]));
    yield { tensor: name, values: await take(guideByFactor(c, u, Number(name.slice(4)))) };
    c.dispose();
    u.dispose();
  }
}
