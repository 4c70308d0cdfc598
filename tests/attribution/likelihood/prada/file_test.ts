/** Files of PRADA score functions: released ones in both formats, this project's own bit by bit, and files that are neither. */
import assert from "node:assert/strict";
import { loadPrada, loadReleasedPrada, savePrada } from "../../../../attribution/likelihood/prada/mod.ts";
import {
  parameterNames,
  parameterShapes,
  type ScoreFunction,
} from "../../../../attribution/likelihood/prada/score_function.ts";
import { writeSafetensors } from "../../../../models/checkpoint/mod.ts";
import { tensorsPickle, torchZip } from "../../../models/checkpoint/build.ts";
import { randomScoreFunction } from "./functions.ts";

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A state dict as the authors' PyTorch saved it: one storage per tensor, on a GPU. */
async function releasedFile({ parameters, hidden, scaleLengths }: ScoreFunction): Promise<Uint8Array<ArrayBuffer>> {
  const shapes = parameterShapes(hidden, scaleLengths?.length ?? 1);
  const recipes = parameterNames.map((name, i) => ({
    name,
    shape: shapes[name],
    key: String(i),
    length: parameters[name].length,
  }));
  const text = (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const pickle = text(tensorsPickle(recipes)).replaceAll("X\x03\0\0\0cpu", "X\x06\0\0\0cuda:0");
  assert.ok(pickle.includes("cuda:0"));
  const storages = Object.fromEntries(parameterNames.map((name, i) => [i, new Uint8Array(parameters[name].buffer)]));
  return await torchZip(Uint8Array.from(pickle, (character) => character.charCodeAt(0)), storages);
}

async function writeReleased(path: string, { parameters, hidden, scaleLengths }: ScoreFunction): Promise<void> {
  const shapes = parameterShapes(hidden, scaleLengths?.length ?? 1);
  const entries = parameterNames.map((name) => ({
    name,
    shape: shapes[name],
    dtype: "f32" as const,
    data: () => parameters[name],
  }));
  await writeSafetensors(path, entries);
}

Deno.test("loadReleasedPrada() reads a state dict of PyTorch saved from a GPU, and the same as safetensors", async () => {
  await inFolder(async (folder) => {
    for (const scaleLengths of [null, [1, 4, 9]]) {
      const own = randomScoreFunction(scaleLengths, 16);
      await Deno.writeFile(`${folder}/final.pt`, await releasedFile(own));
      await writeReleased(`${folder}/final.safetensors`, own);
      assert.deepEqual(await loadReleasedPrada(`${folder}/final.pt`, scaleLengths), own);
      assert.deepEqual(await loadReleasedPrada(`${folder}/final.safetensors`, scaleLengths), own);
    }
  });
});

Deno.test("loadReleasedPrada() names what does not fit: scales, names, inputs, values", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/final.safetensors`;
    await writeReleased(path, randomScoreFunction([1, 4, 9]));
    await assert.rejects(
      loadReleasedPrada(path, null),
      /final\.safetensors: does not fit a PRADA score function of one scale: .*w expects \[1\], got \[3\]/,
    );
    const broken = randomScoreFunction(null);
    broken.parameters.alpha[0] = NaN;
    await writeReleased(path, broken);
    await assert.rejects(loadReleasedPrada(path, null), /final\.safetensors: alpha\[0\] is NaN/);
    const two = [{ name: "net.0.weight", shape: [16, 2], dtype: "f32" as const, data: () => new Float32Array(32) }];
    await writeSafetensors(path, two);
    await assert.rejects(loadReleasedPrada(path, null), /one input per token, alpha's difference, got 2/);
    await writeSafetensors(path, [{ ...two[0], name: "other" }]);
    await assert.rejects(loadReleasedPrada(path, null), /missing.*alpha.*; .*unused.*other/);
  });
});

Deno.test("savePrada() and loadPrada() keep score functions bit by bit, and notes", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/prada.safetensors`;
    const scoreFunctions = new Map([
      ["rarb", randomScoreFunction(null, 16, 3)],
      ["var16", randomScoreFunction([1, 4, 9], 8, 4)],
    ]);
    scoreFunctions.get("rarb")!.parameters["net.2.bias"].set([-0, 1e-40, 3.4e38]);
    await savePrada(path, scoreFunctions, { modelSet: "abc", epochs: "3000" });
    const { scoreFunctions: loaded, notes } = await loadPrada(path);
    assert.deepEqual([...loaded.keys()], ["rarb", "var16"]);
    assert.deepEqual(notes, { modelSet: "abc", epochs: "3000" });
    for (const [model, own] of scoreFunctions) {
      assert.deepEqual(loaded.get(model), own);
      for (const name of parameterNames) {
        const bits = (of: ScoreFunction) => new Uint32Array(of.parameters[name].buffer);
        assert.deepEqual(bits(loaded.get(model)!), bits(own));
      }
    }
  });
});

Deno.test("loadPrada() refuses released files, damaged lists and tensors of nobody; savePrada() bad names", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/prada.safetensors`;
    await writeReleased(path, randomScoreFunction(null));
    await assert.rejects(loadPrada(path), /expected PRADA score functions of this project .* got another file/);
    const one = { name: "rarb/alpha", shape: [1], dtype: "f32" as const, data: () => Float32Array.of(1) };
    const write = (models: string) => writeSafetensors(path, [one], { format: "model-tracer-prada/1", models });
    await write("{");
    await assert.rejects(loadPrada(path), /prada\.safetensors: its list of models is damaged/);
    await write(`{"rarb":{"scaleLengths":[0]}}`);
    await assert.rejects(loadPrada(path), /its list of models is damaged/);
    await write(`{"rarl":{"scaleLengths":null}}`);
    await assert.rejects(loadPrada(path), /tensor rarb\/alpha belongs to none of rarl/);
    await write(`{"rarb":{"scaleLengths":null}}`);
    await assert.rejects(loadPrada(path), /does not fit a PRADA score function of one scale: 7 missing \(w, net/);
    await assert.rejects(savePrada(path, new Map()), /at least one score function, got none/);
    await assert.rejects(savePrada(path, new Map([["a/b", randomScoreFunction(null)]])), /no slash, got "a\/b"/);
  });
});
