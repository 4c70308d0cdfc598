/**
 * Chooses the build of the kernels by the features of the WebAssembly engine and its flags.
 */
import { environmentVariable } from "../../util/environment.ts";
import type { KernelBuild } from "./pool.ts";

/** Whether the engine has relaxed SIMD: a module of one function that uses f32x4.relaxed_madd. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(
    // deno-fmt-ignore
    new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, // magic, version
      1, 8, 1, 96, 3, 123, 123, 123, 1, 123, // type (v128, v128, v128) -> v128
      3, 2, 1, 0, // one function of it
      10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11, // local.get 0 1 2, f32x4.relaxed_madd
    ]),
  );
}

/** V8's flags under which it joins pairs of 128-bit operations: it does not join across a bounds check. */
export const joiningFlags = ["--experimental-wasm-revectorize", "--no-wasm-bounds-checks"];

/**
 * Whether `DENO_V8_FLAGS` tells V8 to join pairs of 128-bit operations into ones of 256 bits, which it can on x64.
 * False where the variable may not be read (`--allow-env=DENO_V8_FLAGS`).
 */
export function joinsVectors(): boolean {
  if (typeof Deno === "undefined" || Deno.build.arch !== "x86_64") return false;
  const value = environmentVariable("DENO_V8_FLAGS") ?? "";
  const flags = value.split(",").map((flag) => flag.trim().replaceAll("_", "-"));
  return joiningFlags.every((flag) => flags.includes(flag));
}

/** The fastest build that the engine runs. */
export function bestBuild(): KernelBuild {
  if (!hasRelaxedSimd()) return "plain";
  return joinsVectors() ? "wide" : "relaxed";
}
