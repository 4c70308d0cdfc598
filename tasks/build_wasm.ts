/**
 * Builds the CPU device's kernels (core/cpu/assembly) into core/cpu/kernels.generated.ts.
 * It is needed only after a change of those sources: the built file is committed, and `--check` proves it up to date.
 *
 *   deno run -A tasks/build_wasm.ts            writes the file
 *   deno run -A tasks/build_wasm.ts --check    exit code 1 when the committed file differs from a fresh build
 */
import asc from "npm:assemblyscript@0.28.9/asc";
import type { KernelBuild } from "../core/cpu/pool.ts";

const sources = new URL("../core/cpu/assembly/", import.meta.url);
const output = new URL("../core/cpu/kernels.generated.ts", import.meta.url);

/** The kernels as a WebAssembly binary. Throws with the compiler's messages. */
export async function compileKernels(build: KernelBuild): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const messages: string[] = [];
  const log = { write: (text: string | Uint8Array) => void messages.push(String(text)) };
  const { error } = await asc.main(
    [
      ...["index.ts", "--outFile", "kernels.wasm", "--runtime", "stub", "--noAssert", "-O3", "--converge"],
      // Memory comes from the device; every thread is an instance of its own over it, so there must be no static data.
      ...["--importMemory", "--sharedMemory", "--initialMemory", "1", "--maximumMemory", "65536"],
      ...["--enable", build === "plain" ? "threads,simd" : "threads,simd,relaxed-simd"],
      ...["--use", build === "wide" ? "abort=,WIDE=1" : "abort="],
    ],
    {
      stdout: log,
      stderr: log,
      readFile(name, _base) {
        // Names are relative to the sources; the compiler adds the extension that imports already have here, and probes for
        // files that do not exist.
        try {
          return Deno.readTextFileSync(new URL(name.replace(/\.ts\.ts$/, ".ts"), sources));
        } catch {
          return null;
        }
      },
      writeFile(name, contents) {
        if (name.endsWith(".wasm")) binary = contents as Uint8Array;
      },
      listFiles: () => [],
    },
  );
  if (error || binary === undefined) {
    throw new Error(`build_wasm: ${messages.join("")}${error?.message ?? "the compiler wrote nothing"}`);
  }
  return binary;
}

async function generate(): Promise<string> {
  const literal = (binary: Uint8Array) => (binary as Uint8Array & { toBase64(): string }).toBase64();
  return `// Built by tasks/build_wasm.ts from core/cpu/assembly; do not edit.
// deno-fmt-ignore-file

/** The kernels with fused multiply-adds of relaxed SIMD, base64. */
export const relaxedKernels = "${literal(await compileKernels("relaxed"))}";

/** The same for an engine that joins two of their operations into one of 256 bits, base64. */
export const wideKernels = "${literal(await compileKernels("wide"))}";

/** The same kernels for engines without relaxed SIMD. */
export const plainKernels = "${literal(await compileKernels("plain"))}";
`;
}

if (import.meta.main) {
  const check = Deno.args.includes("--check");
  const unknown = Deno.args.filter((arg) => arg !== "--check");
  if (unknown.length > 0) {
    console.error(`build_wasm: unknown argument ${unknown[0]}; usage: build_wasm [--check]`);
    Deno.exit(1);
  }
  const fresh = await generate();
  const committed = await Deno.readTextFile(output).catch(() => "");
  if (fresh === committed) {
    console.log("core/cpu/kernels.generated.ts is up to date");
  } else if (check) {
    console.error("core/cpu/kernels.generated.ts is out of date: run `deno run -A tasks/build_wasm.ts` and commit it");
    Deno.exit(1);
  } else {
    await Deno.writeTextFile(output, fresh);
    console.log(`core/cpu/kernels.generated.ts: ${fresh.length} characters`);
  }
}
