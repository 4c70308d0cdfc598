/**
 * Prints the flags of V8 under which processors compute twice as fast, if this Deno knows them (on x64 it does); else
 * one that changes nothing. deno.json starts tasks with them. They also lift the bounds checks of WebAssembly, so images
 * are decoded in another process (attribution/images/decoder/).
 */
import { wideFlags } from "../core/cpu/engine.ts";

/** Whether Deno, started with these arguments, succeeds. */
export type Probe = (args: readonly string[]) => Promise<boolean>;

const probe: Probe = async (args) =>
  (await new Deno.Command("deno", { args: [...args], stdout: "null", stderr: "null" }).output()).success;

/** The flags as `--v8-flags` takes them. Needs the permission to run deno. */
export async function v8Flags(succeeds: Probe = probe): Promise<string> {
  const flags = wideFlags.join(",");
  try {
    if (await succeeds(["eval", "--no-config", "--no-lock", `--v8-flags=${flags}`, "0"])) return flags;
  } catch {
    // There is no deno on the path, so that no other process could decode images either.
  }
  return "--wasm-bounds-checks"; // V8's default
}

/** The words of a command in deno.json, with the flags in the place of the program that prints them. */
export async function wordsOf(command: string, succeeds: Probe = probe): Promise<string[]> {
  const usesFlags = /\$\([^)]*v8_flags\.[jt]s\)/;
  return (usesFlags.test(command) ? command.replace(usesFlags, await v8Flags(succeeds)) : command).split(" ");
}

if (import.meta.main) console.log(await v8Flags());
