/**
 * `deno task serve`: the HTTP service and its page. Options and environment variables are the settings of
 * attribution/service/config.ts.
 */
import { checkSettings, settings } from "../attribution/service/config.ts";
import { listen } from "../attribution/service/listen.ts";
import { exitUnlessReady, logLine, onSignals, start } from "../attribution/service/start.ts";
import { defineCommand, type Input, runTask } from "./cli/command.ts";

export const command = defineCommand({
  name: "serve",
  about: "Serves verdicts over HTTP: POST /v1/attribute, a page at /, /openapi.json, /healthz, /readyz and /metrics. " +
    "docs/service.md describes them. Every option can also be given as the environment variable in brackets.",
  usage: ["[options]"],
  options: settings,
  check: checkSettings,
  notes: "SIGTERM or Ctrl-C: no new connections, and every accepted request is answered. A second one ends at once.",
  exitCodes: { 0: "stopped by a signal", 1: "wrong setting or weights or no device", 130: "stopped at once" },
});

/** Of what is logged, the lines that say what went wrong. */
function logErrors(line: Readonly<Record<string, unknown>>): void {
  if ("reason" in line) logLine(line);
}

/** Resolves when the server has been stopped; the process then ends (onSignals). */
async function main({ values: config, progress }: Input<typeof command.options>): Promise<never> {
  const running = await start(config, progress.isQuiet ? { log: logErrors } : {});
  exitUnlessReady(running);
  const listening = listen({ hostname: config.host, port: config.port }, running.fetch);
  onSignals(async () => {
    const drained = running.service.drain();
    if (config.drainDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, config.drainDelayMs));
    await (await listening).shutdown();
    await drained;
    await running.service.close();
  });
  const { url } = await listening;
  if (!progress.isQuiet) logLine({ event: "listening", url });
  return await new Promise(() => {});
}

/** Runs the task as the program (`deno task compile`). */
export const run = (): Promise<never> => runTask(command, main);

if (import.meta.main) await run();
