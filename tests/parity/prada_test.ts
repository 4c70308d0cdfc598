/** Case 07 with score functions in `prada_weights/` beside it: those of the reference's own fits stand in for the released ones. */
import assert from "node:assert/strict";
import type { Device } from "../../core/tensor/mod.ts";
import { parameterNames } from "../../attribution/likelihood/prada/score_function.ts";
import { writeSafetensors } from "../../models/checkpoint/mod.ts";
import { compare, ParityCase } from "../../parity/case.ts";
import { computeFor } from "../../parity/kinds.ts";
import { withDevices } from "../core/devices.ts";

const golden = "tests/fixtures/golden/case07_prada.json";
const fits = { fit_single: null, fit_scales: [1, 4, 9, 16] } as const;

const entry = (name: string, shape: readonly number[], values: Float32Array) => ({
  name,
  shape,
  dtype: "f32" as const,
  data: () => values,
});

/** A case whose models are the reference's fits: what was `<fit>_final` is their file, `<fit>_scores` what it gives. */
async function caseOfFits(folder: string): Promise<void> {
  const given = (await ParityCase.open(golden))!;
  const tensors: Record<string, unknown> = {}, values = [];
  for (const fit of Object.keys(fits)) {
    for (const [own, from] of [[`${fit}_llh`, `${fit}_x`], [`${fit}_scores`, `${fit}_scores`]]) {
      tensors[own] = given.info(from);
      values.push(entry(own, given.info(from).shape, await given.floats(from)));
    }
    await Deno.mkdir(`${folder}/prada_weights/${fit}`, { recursive: true });
    const parameters = await Promise.all(
      parameterNames.map(async (name) =>
        entry(name, given.info(`${fit}_final:${name}`).shape, await given.floats(`${fit}_final:${name}`))
      ),
    );
    await writeSafetensors(`${folder}/prada_weights/${fit}/final.safetensors`, parameters);
  }
  await writeSafetensors(`${folder}/case07_fits.safetensors`, values);
  const models = Object.fromEntries(
    Object.entries(fits).map(([fit, lengths]) => [fit, { w: [lengths?.length ?? 1] }]),
  );
  const manifest = {
    case: "case07_fits",
    salt: "golden-1",
    config: { scale_lengths_var: fits.fit_scales },
    state_dicts: models,
    fits: {},
    tensors,
  };
  await Deno.writeTextFile(`${folder}/case07_fits.json`, JSON.stringify(manifest));
  given.close();
}

async function verdicts(folder: string, device: Device): Promise<Record<string, string>> {
  const parityCase = (await ParityCase.open(`${folder}/case07_fits.json`))!;
  const found: Record<string, string> = {};
  try {
    for await (const { tensor, values } of computeFor(parityCase)!(parityCase, device)) {
      if (!parityCase.has(tensor)) continue;
      found[tensor] = compare(parityCase, tensor, await parityCase.values(tensor), values, device.info.kind).verdict;
    }
  } finally {
    parityCase.close();
  }
  return found;
}

withDevices("parity: case07 scores with the weights beside it, and lacks those scores without them", async (device) => {
  const folder = await Deno.makeTempDir();
  try {
    await caseOfFits(folder);
    const inputs = { fit_single_llh: "ok", fit_scales_llh: "ok" };
    assert.deepEqual(await verdicts(folder, device), { ...inputs, fit_single_scores: "ok", fit_scales_scores: "ok" });
    // The same number of scales, another function: a wrong score is no agreement.
    const other = `${folder}/prada_weights/fit_single/final.safetensors`;
    const parameters = parameterNames.map((name) => {
      const shape = { alpha: [1], w: [1], "net.0.weight": [16, 1], "net.2.weight": [16, 16] }[name as string] ??
        (name === "net.4.weight" ? [1, 16] : name === "net.4.bias" ? [1] : [16]);
      return entry(name, shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1));
    });
    await writeSafetensors(other, parameters);
    assert.equal((await verdicts(folder, device)).fit_single_scores, "FAIL");
    await writeSafetensors(`${folder}/prada_weights/fit_single/final.pt`, [
      ...parameters.slice(1),
      entry("alpha", [1], Float32Array.of(0.2)),
    ]);
    await assert.rejects(
      verdicts(folder, device),
      /alpha of fit_single differs between final\.pt and final\.safetensors/,
    );
    await Deno.remove(`${folder}/prada_weights`, { recursive: true });
    assert.deepEqual(await verdicts(folder, device), inputs);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
