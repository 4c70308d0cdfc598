/**
 * The HTTP service as a fetch handler, for a server of your own. `deno task serve` is the same with a listener.
 *
 * @example
 * ```ts
 * import { openService } from "@model-tracer/model-tracer/service";
 *
 * await using service = await openService({ TRACER_MODELS: "weights/tiny", TRACER_DEVICE: "cpu" });
 * const response = await service.fetch(new Request("http://localhost/healthz"));
 * console.log(response.status); // 200
 * ```
 */
export { type HttpService, openService, type OpenServiceOptions } from "./open_service.ts";
