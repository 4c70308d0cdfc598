/** `deno task build-wasm`: builds the CPU device's kernels (core/cpu/assembly) into core/cpu/kernels.generated.ts. */
import type { KernelBuild } from "../core/cpu/pool.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";

export const command = defineCommand({
  name: "build-wasm",
  about:
    "Builds the CPU device's kernels from core/cpu/assembly into core/cpu/kernels.generated.ts, which is committed.",
  usage: ["[--check]"],
  options: { check: { help: "write nothing; exit code 1 when the committed file differs from a fresh build" } },
  exitCodes: { 1: "usage or fatal error or (--check) out of date" },
});

const sources = new URL("../core/cpu/assembly/", import.meta.url);
const output = new URL("../core/cpu/kernels.generated.ts", import.meta.url);

/** The kernels as a WebAssembly binary. Throws with the compiler's messages. */
export async function compileKernels(build: KernelBuild): Promise<Uint8Array> {
  const { default: asc } = await import("npm:assemblyscript@0.28.9/asc"); // here: its command line is read without it
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
        // Names are relative to the sources. The compiler adds the extension that imports already have here, and probes
        // for files that do not exist.
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

async function main({ values, progress }: Input<typeof command.options>): Promise<number> {
  const fresh = await generate();
  const committed = await Deno.readTextFile(output).catch(() => "");
  if (fresh === committed) {
    progress.print("core/cpu/kernels.generated.ts is up to date\n");
  } else if (values.check) {
    throw new Error("core/cpu/kernels.generated.ts is out of date: run `deno task build-wasm` and commit it");
  } else {
    await Deno.writeTextFile(output, fresh);
    progress.print(`core/cpu/kernels.generated.ts: ${fresh.length} characters\n`);
  }
  return 0;
}

if (import.meta.main) await runTask(command, main);
