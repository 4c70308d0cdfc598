/**
 * From settings to a running handler: keys, page, service, and what a signal does to work in progress. The caller
 * listens: main.ts under `deno serve`, or ../../tasks/serve.ts.
 */
import { explainFileError } from "../../util/file_errors.ts";
import { readConfig, type ServiceConfig, settings } from "./config.ts";
import { createHandler, type Fetch } from "./handler.ts";
import { loadPage } from "./page.ts";
import { Service, type ServiceOptions } from "./service.ts";

export interface Running {
  readonly fetch: Fetch;
  readonly service: Service;
}

/** Reads keys and page, and starts the workers. Throws an error for the user when the file of keys cannot be used. */
export async function start(config: ServiceConfig, options: Omit<ServiceOptions, "config"> = {}): Promise<Running> {
  const apiKeys = [...config.apiKeys, ...await keysOf(config.apiKeysFile)];
  const page = await loadPage();
  const service = new Service({ log: logLine, ...options, config });
  return { fetch: createHandler({ service, apiKeys, page }), service };
}

async function keysOf(file: string | undefined): Promise<readonly string[]> {
  if (file === undefined) return [];
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    throw new Error(`${settings.apiKeysFile.env}: ${(cause as Error).message}`, { cause });
  }
  const { apiKeys } = readConfig((env) => env === settings.apiKeys.env ? text : undefined);
  // An empty secret must not open the server to everybody.
  if (apiKeys.length === 0) throw new Error(`${settings.apiKeysFile.env}: expected keys in the file, found none`);
  return apiKeys;
}

/** Writes a line of JSON to stderr, for log collectors. */
export function logLine(line: Readonly<Record<string, unknown>>): void {
  console.error(JSON.stringify({ time: new Date().toISOString(), ...line }));
}

/**
 * Calls `stop` at the first SIGTERM or Ctrl-C, and ends the process when it is done: exit code 0 when everything that
 * was accepted has been answered. A second signal ends it at once.
 */
export function onSignals(stop: () => Promise<void>): void {
  let stopping = false;
  const handle = () => {
    if (stopping) Deno.exit(130);
    stopping = true;
    logLine({ event: "stopping" });
    stop().then(() => Deno.exit(0), (error) => {
      logLine({ event: "error", reason: (error as Error).message });
      Deno.exit(1);
    });
  };
  Deno.addSignalListener("SIGINT", handle);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", handle);
}

/**
 * A device that cannot be opened when the server starts ends it: an orchestrator shows the message and tries elsewhere.
 */
export function exitUnlessReady({ service }: Running): void {
  service.ready.catch((error: Error) => {
    if (service.status.status === "draining") return; // it was stopped before it was ready
    for (const line of explainFileError(error.message).split("\n")) console.error(`serve: ${line}`);
    Deno.exit(1);
  });
}
