/**
 * The HTTP service as a fetch handler. `readConfig` reads its settings by the names of their environment variables, `start`
 * opens device and workers and gives the handler. docs/service.md has the routes.
 */
export { readConfig, type ServiceConfig, type SettingName, settingNames, settings, variables } from "./config.ts";
export { createHandler, type Fetch, type HandlerOptions } from "./handler.ts";
export { listen, type Listener } from "./listen.ts";
export { type Running, start } from "./start.ts";
export { Service, type ServiceOptions } from "./service.ts";
export type { AttributionBody, ErrorBody, ImageResult, ModelsBody, StatusBody } from "./schemas.ts";
