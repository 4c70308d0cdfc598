/** The OpenAPI 3.1 document, generated from the schemas that requests and answers have. */
import { toJsonSchema } from "npm:@valibot/to-json-schema@1.8.0";
import type * as v from "npm:valibot@1.5.0";
import { version } from "../../util/version.ts";
import { attributeQuery } from "./config.ts";
import { attributionSchema, errorSchema, eventSchemas, modelsSchema, statusSchema } from "./schemas.ts";

type Schema = v.GenericSchema;

function json(schema: Schema): Record<string, unknown> {
  const { $schema: _, ...rest } = toJsonSchema(schema, { errorMode: "ignore" });
  return rest as Record<string, unknown>;
}

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const content = (name: string, type = "application/json") => ({ [type]: { schema: ref(name) } });
const failures: Readonly<Record<string, string>> = {
  400: "An empty or malformed body, or an unknown query parameter",
  401: "No valid key",
  403: "A page of another site",
  408: "The body did not arrive in time",
  413: "Too many bytes, pixels or images",
  415: "Not a PNG, JPEG or WebP, whatever its content type says",
  422: "A truncated or damaged image",
  503: "The queue is full, or the server starts or stops; see Retry-After",
  504: "The deadline passed",
};

/** The document; `keys` says whether requests need one. */
export function openApi(keys: boolean): Record<string, unknown> {
  const image = { schema: { type: "string", format: "binary" } };
  const query = json(attributeQuery).properties as Record<string, unknown>;
  const about: Record<string, string> = {
    stream: "1: answer with server-sent events (queued, progress, then result or error)",
    maps: "1: with the two maps of every image",
    timeout_ms: "The answer is of no use after so many milliseconds",
  };
  return {
    openapi: "3.1.0",
    info: {
      title: "model-tracer",
      version,
      description: "Which image-autoregressive model made an image, if any of the known ones did.",
    },
    paths: {
      "/v1/attribute": {
        post: {
          summary: "Verdicts on images",
          ...keys && { security: [{ key: [] }] },
          parameters: Object.entries(query).map(([name, schema]) => ({
            ...{ name, in: "query", schema, description: about[name] },
          })),
          requestBody: {
            required: true,
            content: {
              "image/png": image,
              "image/jpeg": image,
              "image/webp": image,
              "application/octet-stream": image,
              "multipart/form-data": {
                schema: { type: "object", properties: { image: { type: "array", items: image.schema } } },
              },
            },
          },
          responses: {
            200: {
              description: "A verdict per image; in a multipart request, an error in the place of an unreadable one",
              content: {
                ...content("Attribution"),
                "text/event-stream": {
                  schema: { type: "string" },
                  "x-events": { queued: ref("Queued"), progress: ref("Progress"), result: ref("Attribution") },
                },
              },
            },
            ...Object.fromEntries(
              Object.entries(failures).map(([status, description]) => [
                status,
                { description, content: content("Error") },
              ]),
            ),
          },
        },
      },
      "/v1/models": {
        get: {
          summary: "The model set, the device and the limits",
          ...keys && { security: [{ key: [] }] },
          responses: { 200: { description: "What answers", content: content("Models") } },
        },
      },
      "/healthz": {
        get: {
          summary: "Whether the process lives",
          responses: {
            200: { description: "It does", content: content("Status") },
            503: { description: "The device cannot be opened any more: restart it", content: content("Status") },
          },
        },
      },
      "/readyz": {
        get: {
          summary: "Whether requests should be sent here",
          responses: {
            200: { description: "The device is warm", content: content("Status") },
            503: { description: "It starts or drains", content: content("Status") },
          },
        },
      },
      "/metrics": {
        get: {
          summary: "Metrics in Prometheus' text format",
          responses: { 200: { description: "Metrics", content: { "text/plain": { schema: { type: "string" } } } } },
        },
      },
    },
    components: {
      ...keys && { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
      schemas: {
        Attribution: json(attributionSchema),
        Models: json(modelsSchema),
        Status: json(statusSchema),
        Error: json(errorSchema),
        Queued: json(eventSchemas.queued),
        Progress: json(eventSchemas.progress),
      },
    },
  };
}
