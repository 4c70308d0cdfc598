/** The version of this program, which is the one in deno.json. */
import manifest from "../deno.json" with { type: "json" };

/** As in deno.json, such as `0.2.0`. */
export const version: string = manifest.version;
