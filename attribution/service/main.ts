/**
 * The entry point for `deno serve`, and for any runtime that takes a module with a fetch handler. All settings come
 * from the environment (config.ts).
 */
import { readConfig, variables } from "./config.ts";
import { exitUnlessReady, onSignals, start } from "./start.ts";

/** Variables without a permission count as not set. */
const readable = new Set(
  variables.filter((variable) => Deno.permissions.querySync({ name: "env", variable }).state === "granted"),
);
const running = await start(readConfig((env) => readable.has(env) ? Deno.env.get(env) : undefined));
exitUnlessReady(running);
onSignals(async () => {
  await running.service.drain();
  // The runtime does not say when the last byte of the last answer is sent.
  await new Promise((resolve) => setTimeout(resolve, 500));
  await running.service.close();
});

export default { fetch: running.fetch };
