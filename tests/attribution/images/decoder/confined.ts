/** A process with all permissions that loads nothing any more, and a thread of it: what each tries comes out as JSON. */
import process from "node:process";
import { giveUpLoading } from "../../../../attribution/images/decoder/confine.ts";

const isThread = "WorkerGlobalScope" in globalThis;
const thread = isThread ? undefined : new Worker(import.meta.url, { type: "module" });
giveUpLoading();

const here = (path: string) => import.meta.resolve(path);
const blob = URL.createObjectURL(new Blob(["export default 1"], { type: "text/javascript" }));
const tries: Readonly<Record<string, () => unknown>> = {
  "a module": () => import(here("./hostile.ts")),
  "JSON": () => import(here("../../../../deno.json"), { with: { type: "json" } }),
  "a built-in module": () => import("node:" + "worker_threads"),
  "data": () => import("data:text/javascript," + "export default 1"),
  "a blob": () => import(blob),
  "a thread": () => new Worker(here("./odd_thread.ts"), { type: "module" }),
  "a thread of Node's": () => process.getBuiltinModule("node:worker_threads").Worker,
};
const outcomes: Record<string, string> = {};
for (const [name, attempt] of Object.entries(tries)) {
  outcomes[name] = await Promise.resolve().then(attempt).then(() => "done", ({ message }) => message);
}
if (thread === undefined) (globalThis as unknown as { postMessage(message: unknown): void }).postMessage(outcomes);
else {
  thread.onmessage = ({ data }) => {
    console.log(JSON.stringify([outcomes, data]));
    Deno.exit(0);
  };
}
