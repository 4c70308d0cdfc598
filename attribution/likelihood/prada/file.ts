/**
 * Files of score functions: those that the authors of PRADA released, and those of this project, which hold one score
 * function per model and are read back bit by bit.
 */
import * as v from "npm:valibot@1.5.0";
import {
  checkNames,
  openCheckpoint,
  openSafetensors,
  type SafetensorsEntry,
  type TensorSource,
  withPrefix,
  writeSafetensors,
} from "../../../models/checkpoint/mod.ts";
import {
  type ParameterName,
  parameterNames,
  parameterShapes,
  type ScoreFunction,
  scoreFunction,
} from "./score_function.ts";

/**
 * Reads one released score function, a state dict as PyTorch file (`final.pt`) or safetensors. The file does not tell
 * how many tokens each scale has, so `scaleLengths` must; null for models without scales. Throws, naming what does not
 * fit.
 *
 * Source: jonasricker/prada, prada_weights/<model>/final.pt.
 */
export async function loadReleasedPrada(
  path: string,
  scaleLengths: readonly number[] | null,
): Promise<ScoreFunction> {
  const source = await openCheckpoint(path);
  try {
    return await readScoreFunction(source, scaleLengths);
  } finally {
    source.close();
  }
}

/** Reads a score function from tensors with the reference's names. It does not close the source. */
export async function readScoreFunction(
  source: TensorSource,
  scaleLengths: readonly number[] | null,
): Promise<ScoreFunction> {
  const inputs = source.tensors.get("net.0.weight")?.shape;
  if (inputs?.length === 2 && inputs[1] === 2) {
    throw new Error(
      `${source.label}: net.0.weight expects one input per token, alpha's difference, got 2: ` +
        "a score function of both log-probabilities is not supported",
    );
  }
  const hidden = source.tensors.get("net.0.bias")?.shape[0] ?? 16;
  const shapes = parameterShapes(hidden, scaleLengths?.length ?? 1);
  const specs = parameterNames.map((name) => ({ name, shape: shapes[name], role: "tensor" as const }));
  checkNames(source, specs, {
    what: `a PRADA score function of ${scaleLengths ? `${scaleLengths.length} scales` : "one scale"}`,
  });
  const parameters = {} as Record<ParameterName, Float32Array<ArrayBuffer>>;
  for (const name of parameterNames) parameters[name] = await source.readF32(name);
  return scoreFunction(parameters, scaleLengths, source.label);
}

const format = "model-tracer-prada/1";
const modelsSchema = v.record(
  v.string(),
  v.object({ scaleLengths: v.nullable(v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(1)))) }),
);

/** Content of a file of this project. */
export interface PradaFile {
  /** By model. */
  readonly scoreFunctions: ReadonlyMap<string, ScoreFunction>;
  /** Further metadata, such as how the functions were fitted. */
  readonly notes: Readonly<Record<string, string>>;
}

/**
 * Writes score functions by model (`rarb`, ...) into one safetensors file with tensors `<model>/<parameter>`. `notes`
 * become further metadata. The file appears only when it is complete. Throws on a name that is empty or has a slash.
 */
export async function savePrada(
  path: string,
  scoreFunctions: ReadonlyMap<string, ScoreFunction>,
  notes: Readonly<Record<string, string>> = {},
): Promise<void> {
  if (scoreFunctions.size === 0) throw new RangeError("savePrada: expected at least one score function, got none");
  const entries: SafetensorsEntry[] = [];
  const models: v.InferOutput<typeof modelsSchema> = {};
  for (const [model, { parameters, hidden, scaleLengths }] of scoreFunctions) {
    if (!/^[^/]+$/.test(model)) throw new RangeError(`savePrada: a model's name expects no slash, got "${model}"`);
    models[model] = { scaleLengths: scaleLengths && [...scaleLengths] };
    const shapes = parameterShapes(hidden, scaleLengths?.length ?? 1);
    for (const name of parameterNames) {
      entries.push({ name: `${model}/${name}`, shape: shapes[name], dtype: "f32", data: () => parameters[name] });
    }
  }
  await writeSafetensors(path, entries, { ...notes, format, models: JSON.stringify(models) });
}

/** Reads a file that `savePrada` wrote. Throws on other files, and if tensors and metadata do not agree. */
export async function loadPrada(path: string): Promise<PradaFile> {
  const source = await openSafetensors(path);
  try {
    const { format: fileFormat, models: listed, ...notes } = Object.fromEntries(source.metadata);
    if (fileFormat !== format) {
      throw new Error(
        `${source.label}: expected PRADA score functions of this project (${format}), ` +
          `got ${fileFormat ?? "another file"}; ` +
          "released ones are read one by one, with their scale lengths",
      );
    }
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), modelsSchema), listed);
    if (!parsed.success) throw new Error(`${source.label}: its list of models is damaged: ${parsed.issues[0].message}`);
    const scoreFunctions = new Map<string, ScoreFunction>();
    const known = Object.keys(parsed.output);
    const stray = [...source.tensors.keys()].find((name) => !known.some((model) => name.startsWith(`${model}/`)));
    if (stray !== undefined) throw new Error(`${source.label}: tensor ${stray} belongs to none of ${known.join(", ")}`);
    for (const [model, { scaleLengths }] of Object.entries(parsed.output)) {
      scoreFunctions.set(model, await readScoreFunction(withPrefix(source, `${model}/`), scaleLengths));
    }
    return { scoreFunctions, notes };
  } finally {
    source.close();
  }
}
