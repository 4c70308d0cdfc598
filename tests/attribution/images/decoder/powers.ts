/**
 * What the decoder process may do once it takes questions: it tries, and says on stderr what came of it. Started as
 * decoder_process.ts is, by decoderCommand(), and with the permissions of compiled programs.
 */
import { serveDecoder } from "../../../../attribution/images/decoder/decoder_process.ts";
import { sources } from "../../../../attribution/images/decoder/messages.ts";

void serveDecoder(JSON.parse(Deno.args.at(-1)!));
while (Deno.permissions.querySync({ name: "read", path: sources }).state === "granted") {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const tries: Readonly<Record<string, () => unknown>> = {
  "read its sources": () => Deno.readTextFileSync(new URL(import.meta.url)),
  "read a file": () => Deno.readTextFileSync("/etc/hosts"),
  "list a folder": () => [...Deno.readDirSync("/")],
  "write a file": () => Deno.writeTextFileSync("/tmp/decoder", ""),
  "connect": () => Deno.connect({ hostname: "127.0.0.1", port: 80 }),
  "listen": () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  "fetch": () => fetch("http://127.0.0.1/"),
  "spawn": () => new Deno.Command(Deno.execPath(), { args: ["--version"] }).outputSync(),
  "start itself": () => new Deno.Command("/proc/self/exe", { args: ["--version"] }).outputSync(),
  "see the environment": () => Deno.env.toObject(),
  "see a setting": () => Deno.env.get("TRACER_API_KEYS"),
  "load a library": () => Deno.dlopen("libc.so.6", {}),
  "ask the system": () => Deno.hostname(),
  "ask for memory": () => Deno.systemMemoryInfo(),
  "import what it has not": () => import("file:///etc/hosts" + ".ts"),
  "import what it has": () => import(import.meta.resolve("./hostile.ts")),
  "import data": () => import("data:text/javascript," + "export default 1"),
  "start a thread": () => new Worker("data:text/javascript,", { type: "module" }),
};
const outcomes: Record<string, string> = {};
for (const [name, attempt] of Object.entries(tries)) {
  try {
    await attempt();
    outcomes[name] = "done";
  } catch (error) {
    const { name: kind, message } = error as Error;
    outcomes[name] = ["TypeError", "ReferenceError"].includes(kind) ? message : kind;
  }
}
console.error(JSON.stringify(outcomes));
Deno.exit(0);
