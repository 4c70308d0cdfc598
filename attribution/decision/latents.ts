/** Latent statistics in a calibration file: of encoders that others trained, whose files have none. */
import * as v from "npm:valibot@1.5.0";
import type { ByFamily } from "../../models/family.ts";
import type { LatentStatistics } from "../../models/latent_statistics.ts";
import { sha256Hex } from "../../util/hash.ts";
import { canonicalJson } from "../../util/json.ts";

/** Float32 values, little-endian, in base64. */
const floats = v.pipe(
  v.string(),
  v.check((text) => decodeFloats(text) !== undefined, "float32 values in base64"),
);

/** By family. */
export const latentsSchema = v.record(
  v.string(),
  v.strictObject({
    /** As `LatentStatistics` has it. */
    noise: floats,
    prior: floats,
    /** Of how many images they were estimated. */
    images: v.pipe(v.number(), v.integer("a whole number"), v.minValue(1, "1 or more")),
  }),
);

/** What a calibration file has. */
export type StoredLatents = v.InferOutput<typeof latentsSchema>;

/** Statistics by family as numbers, and what identifies them. */
export interface SuppliedLatents {
  readonly id: string;
  readonly byFamily: ByFamily<LatentStatistics>;
}

/** The statistics of a calibration file; undefined for one without. */
export async function latentsOf(latents: StoredLatents | undefined): Promise<SuppliedLatents | undefined> {
  if (latents === undefined) return undefined;
  const byFamily = Object.fromEntries(
    Object.entries(latents).map(([family, { noise, prior }]) => [family, {
      noise: decodeFloats(noise)!,
      prior: decodeFloats(prior)!,
    }]),
  );
  const id = await sha256Hex(new TextEncoder().encode(canonicalJson(latents)));
  return { id: id.slice(0, 16), byFamily };
}

/** Statistics as a calibration file has them. */
export function storeLatents({ noise, prior }: LatentStatistics, images: number): StoredLatents[string] {
  return { noise: encodeFloats(noise), prior: encodeFloats(prior), images };
}

function encodeFloats(values: Float32Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => bytes.setFloat32(4 * i, value, true));
  let text = "";
  for (const byte of new Uint8Array(bytes.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

function decodeFloats(text: string): Float32Array<ArrayBuffer> | undefined {
  let bytes: string;
  try {
    bytes = atob(text);
  } catch {
    return undefined;
  }
  if (bytes.length % 4 !== 0) return undefined;
  const view = new DataView(Uint8Array.from(bytes, (char) => char.charCodeAt(0)).buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}
