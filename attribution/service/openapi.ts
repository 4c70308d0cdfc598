/** The OpenAPI 3.1 document, generated from the schemas that requests and answers have. */
import { toJsonSchema } from "npm:@valibot/to-json-schema@1.8.0";
import type * as v from "npm:valibot@1.5.0";
import { version } from "../../util/version.ts";
import { attributeQuery } from "./config.ts";
import { type ErrorKind, errorKinds } from "./error_codes.ts";
import { maxOtherParts, maxPartHeader } from "./multipart.ts";
import {
  attributionExample,
  eventsExample,
  metricsExample,
  modelsExample,
  requestExamples,
  statusExamples,
} from "./openapi_examples.ts";
import { attributionSchema, errorSchema, eventSchemas, modelsSchema, statusSchema } from "./schemas.ts";

type Schema = v.GenericSchema;

function json(schema: Schema): Record<string, unknown> {
  const { $schema: _, ...rest } = toJsonSchema(schema, { errorMode: "ignore" });
  return rest as Record<string, unknown>;
}

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const content = (name: string, example: unknown) => ({ "application/json": { schema: ref(name), example } });
/** Answers of failures by status, each with an example per code. */
function failures(from: (kind: ErrorKind) => boolean): Record<number, readonly [string, unknown]> {
  const byStatus = Object.entries(Object.groupBy(errorKinds.filter(from), ({ status }) => status));
  return Object.fromEntries(byStatus.map(([status, kinds]) => {
    const examples = kinds!.map(({ code, meaning, example }) => {
      return [code, { summary: meaning, value: { error: { code, message: example } } }];
    });
    const body = { schema: ref("Error"), examples: Object.fromEntries(examples) };
    const description = kinds!.map(({ code, meaning, advice }) => `${code}: ${meaning} ${advice}`).join(" ");
    return [Number(status), [description, { "application/json": body }]];
  }));
}

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
          { 200: ["What answers", content("Models", modelsExample)], ...failures(({ from }) => from === "v1") },
          security,
        ),
      },
      "/healthz": {
        get: operation("Whether the process lives", {
          200: ["It does", content("Status", statusExamples["/healthz"][0])],
          503: ["The device cannot be opened any more: restart it", content("Status", statusExamples["/healthz"][1])],
        }),
      },
      "/readyz": {
        get: operation("Whether requests should be sent here", {
          200: ["The device is warm", content("Status", statusExamples["/readyz"][0])],
          503: ["It starts or drains", content("Status", statusExamples["/readyz"][1])],
        }),
      },
      "/metrics": {
        get: operation("Metrics in Prometheus' text format", {
          200: ["Metrics", { "text/plain": { schema: { type: "string" }, example: metricsExample } }],
        }),
      },
    },
    "x-errors": errorKinds,
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
    ...content("Attribution", attributionExample),
    "text/event-stream": {
      schema: { type: "string" },
      example: eventsExample,
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
    ...failures(() => true),
  }, {
    "x-codeSamples": requestExamples.map(({ title, command }) => ({
      ...{ lang: "sh", label: title, source: command("http://127.0.0.1:8000") },
    })),
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
