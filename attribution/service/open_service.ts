/** The service inside of another program: its handler without a listener, settings from a record instead of the environment. */
import { readConfig } from "./config.ts";
import { start } from "./start.ts";

/** A service that answers. Dispose it, or its workers keep the process alive. */
export interface HttpService extends AsyncDisposable {
  /** Resolves when the device is warm; rejects when it cannot be opened. Until then requests are answered with 503. */
  readonly ready: Promise<void>;
  /** Answers every request, and never rejects. docs/service.md has the routes. */
  fetch(request: Request): Promise<Response>;
}

/** Options of `openService`. */
export interface OpenServiceOptions {
  /** Receives one line per event; never a name, a key or a byte of an image. Nothing is logged by default. */
  readonly log?: (line: Readonly<Record<string, unknown>>) => void;
}

/**
 * Starts a service. `settings` has the names and texts of the environment variables in docs/service.md, such as
 * `{ TRACER_MODELS: "weights/tiny", TRACER_DEVICE: "cpu" }`; the rest has its default. Rejects with a list of all settings
 * that are wrong, and where it may not run the processes without permissions that decode images (`--allow-run=deno`).
 */
export async function openService(
  settings: Readonly<Record<string, string>> = {},
  { log = () => {} }: OpenServiceOptions = {},
): Promise<HttpService> {
  const { fetch, service } = await start(readConfig((name) => settings[name]), { log });
  return {
    get ready() {
      return service.ready.then(() => {});
    },
    fetch,
    async [Symbol.asyncDispose]() {
      await service.drain();
      await service.close();
    },
  };
}
