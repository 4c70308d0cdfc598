/**
 * What the decoder process may do once it takes questions: it tries, and says on stderr what came of it. Started as
 * decoder_process.ts is, by decoderCommand().
 */
import { serveDecoder } from "../../../../attribution/images/decoder/decoder_process.ts";
import { sources } from "../../../../attribution/images/decoder/messages.ts";

void serveDecoder(JSON.parse(Deno.args[0]));
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
  "see the environment": () => Deno.env.toObject(),
  "load a library": () => Deno.dlopen("libc.so.6", {}),
  "ask the system": () => Deno.hostname(),
  "import what it has not": () => import("file:///etc/hosts" + ".ts"),
};
const outcomes: Record<string, string> = {};
for (const [name, attempt] of Object.entries(tries)) {
  try {
    await attempt();
    outcomes[name] = "done";
  } catch (error) {
    outcomes[name] = (error as Error).name === "TypeError" ? (error as Error).message : (error as Error).name;
  }
}
console.error(JSON.stringify(outcomes));
Deno.exit(0);
