/**
 * Chooses the build of the kernels by the features of the WebAssembly engine and its flags.
 */
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

/** The global that the last of `wideFlags` makes. Deno does not tell a program which flags V8 has. */
const mark = "wasmWithoutBoundsChecks";

/**
 * V8's flags under which it joins pairs of 128-bit operations into ones of 256 bits, which it can on x64. It does not join
 * across a bounds check, so the second one leaves them out, in all WebAssembly of the process. The third one adds a
 * global function (to collect garbage) by whose name the program sees that they are set.
 */
export const wideFlags: readonly string[] = [
  "--experimental-wasm-revectorize",
  "--no-wasm-bounds-checks",
  `--expose-gc-as=${mark}`,
];

/** Whether this process runs under `wideFlags`: vectors of 256 bits, and no bounds checks. */
export function liftsBoundsChecks(): boolean {
  return mark in globalThis;
}

/** The fastest build that the engine runs. */
export function bestBuild(): KernelBuild {
  if (!hasRelaxedSimd()) return "plain";
  return liftsBoundsChecks() ? "wide" : "relaxed";
}
