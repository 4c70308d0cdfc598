/** The OpenAPI 3.1 document, generated from the schemas that requests and answers have. */
import { toJsonSchema } from "npm:@valibot/to-json-schema@1.8.0";
import type * as v from "npm:valibot@1.5.0";
import { version } from "../../util/version.ts";
import { attributeQuery } from "./config.ts";
import { maxOtherParts, maxPartHeader } from "./multipart.ts";
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
  403: "A page of another site, or a name that is not the server's",
  408: "The body did not arrive in time",
  413: "Too many bytes, pixels, images or parts of a form",
  415: "Not a PNG, JPEG or WebP, whatever its content type says",
  422: "A truncated or damaged image",
  431: "The head of the request is too large",
  503: "The queue is full, the machine is too busy to decode, or the server starts or stops; see Retry-After",
  504: "The deadline passed",
};

const image = { schema: { type: "string", format: "binary" } };
const about: Readonly<Record<string, string>> = {
  stream: "1: answer with server-sent events (queued, progress, then result or error)",
  maps: "1: with the two maps of every image",
  timeout_ms: "The answer is of no use after so many milliseconds",
};

/** The document; `keys` says whether requests need one. */
export function openApi(keys: boolean): Record<string, unknown> {
  const security = keys ? { security: [{ key: [] }] } : {};
  return {
    openapi: "3.1.0",
    info: {
      title: "model-tracer",
      version,
      description: "Which image-autoregressive model made an image, if any of the known ones did.",
    },
    paths: {
      "/v1/attribute": { post: { ...attributeOperation(), ...security } },
      "/v1/models": {
        get: operation(
          "The model set, the device and the limits",
          { 200: ["What answers", content("Models")] },
          security,
        ),
      },
      "/healthz": {
        get: operation("Whether the process lives", {
          200: ["It does", content("Status")],
          503: ["The device cannot be opened any more: restart it", content("Status")],
        }),
      },
      "/readyz": {
        get: operation("Whether requests should be sent here", {
          200: ["The device is warm", content("Status")],
          503: ["It starts or drains", content("Status")],
        }),
      },
      "/metrics": {
        get: operation("Metrics in Prometheus' text format", {
          200: ["Metrics", { "text/plain": { schema: { type: "string" } } }],
        }),
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

/** An operation with its answers, by status: what they mean, and what they hold. */
function operation(summary: string, answers: Readonly<Record<number, readonly [string, unknown]>>, more: object = {}) {
  const responses = Object.entries(answers).map((
    [status, [description, content]],
  ) => [status, { description, content }]);
  return { summary, ...more, responses: Object.fromEntries(responses) };
}

function attributeOperation() {
  const query = json(attributeQuery).properties as Record<string, unknown>;
  const verdicts = {
    ...content("Attribution"),
    "text/event-stream": {
      schema: { type: "string" },
      "x-events": { queued: ref("Queued"), progress: ref("Progress"), result: ref("Attribution") },
    },
  };
  const form = {
    type: "object",
    description: `At most /v1/models' limits.images files and ${maxOtherParts} other parts, which are not used; ` +
      `the header lines of a part have at most ${maxPartHeader} bytes, file names are cut to 255 characters`,
    properties: { image: { type: "array", items: image.schema } },
  };
  return operation("Verdicts on images", {
    200: ["A verdict per image; in a multipart request, an error in the place of an unreadable one", verdicts],
    ...Object.fromEntries(
      Object.entries(failures).map(([status, description]) => [status, [description, content("Error")] as const]),
    ),
  }, {
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
        "multipart/form-data": { schema: form },
      },
    },
  });
}
