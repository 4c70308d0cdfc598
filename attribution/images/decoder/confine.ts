/** What the decoder process gives up before it takes the first byte of a file. */
import { registerHooks } from "node:module";
import process from "node:process";

const permissions = ["read", "write", "net", "env", "run", "sys", "ffi", "import"] as const;

/** Gives back all permissions of this process. Throws if one is left: then no image must be decoded. */
export function giveUpPermissions(): void {
  for (const name of permissions) {
    if (Deno.permissions.revokeSync({ name }).state === "granted") {
      throw new Error(`decoding: expected no permission, found ${name}`);
    }
  }
}

/**
 * From now on, this thread loads no module and starts no thread. Without permissions it could do neither, but a compiled
 * program can: what does not lie in it, it loads from the file system and asks for no permission (Deno 2.9,
 * `StandaloneModules.read()` in cli/rt/binary.rs).
 */
export function giveUpLoading(): void {
  const refuse = () => {
    throw new Error("decoding: expected no further module");
  };
  registerHooks({ resolve: refuse, load: refuse });
  // Another thread would have no such hooks.
  Reflect.deleteProperty(globalThis, "Worker");
  Reflect.deleteProperty(process, "getBuiltinModule");
  if ("Worker" in globalThis || "getBuiltinModule" in process) {
    throw new Error("decoding: expected no way to start threads");
  }
}
