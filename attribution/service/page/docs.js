// The OpenAPI document of this server as a page: routes with parameters, examples and answers, and every error in plain
// words. It asks for /openapi.json and nothing else.
import { element, marked, table } from "./dom.js";

const $ = (id) => document.getElementById(id);
let api;

const resolve = (schema) => {
  const name = /^#\/components\/schemas\/(\w+)$/.exec(schema?.$ref ?? "")?.[1];
  return name ? { ...api.components.schemas[name], name } : schema ?? {};
};

/** The type of a value in a few words. */
function typeOf(given) {
  const schema = resolve(given);
  if (schema.name) return schema.name;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  const any = schema.anyOf ?? schema.oneOf;
  if (any) return [...new Set(any.map(typeOf))].join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  if (schema.type === "object" && schema.additionalProperties) {
    return `object of ${typeOf(schema.additionalProperties)}`;
  }
  return schema.format === "binary" ? "bytes of an image" : schema.type ?? "any value";
}

/** The parts of a type that have names, as a list that opens. */
function fields(given, depth = 0) {
  const schema = resolve(given), inner = schema.items ?? schema.additionalProperties;
  const any = schema.anyOf ?? schema.oneOf;
  if (any) {
    const parts = any.map((one) => fields(one, depth)).filter(Boolean);
    return parts.length === 0 ? undefined : element("div", {}, ...parts);
  }
  if (inner && typeof inner === "object") return fields(inner, depth);
  if (!schema.properties) return undefined;
  const rows = Object.entries(schema.properties).map(([name, own]) => {
    const below = fields(own, depth + 1), optional = !schema.required?.includes(name);
    const line = [
      element("code", { text: name }),
      " ",
      element("span", { class: "type", text: typeOf(own) + (optional ? ", may be absent" : "") }),
      own.description ? element("small", { text: ` – ${own.description}` }) : undefined,
    ];
    if (!below) return element("li", {}, ...line);
    return element("li", {}, element("details", { open: depth < 1 }, element("summary", {}, ...line), below));
  });
  return element("ul", { class: "fields" }, ...rows);
}

const block = (text) => element("pre", { tabindex: "0" }, element("code", { text }));
const json = (value) => block(JSON.stringify(value, null, 2));

function operation(path, method, { summary, description, parameters = [], requestBody, responses, security, ...more }) {
  const id = `${method}${path}`.replaceAll("/", "-");
  const parts = [
    element(
      "h2",
      { id },
      element("span", { class: "method", text: method.toUpperCase() }),
      element("code", { text: path }),
    ),
    element("p", { text: `${summary}.${description ? ` ${description}` : ""}${security ? " It needs a key." : ""}` }),
  ];
  for (const { label, source } of more["x-codeSamples"] ?? []) {
    parts.push(element("h3", { text: label }), block(source.replaceAll("http://127.0.0.1:8000", location.origin)));
  }
  if (parameters.length > 0) {
    const rows = parameters.map(({ name, description, schema }) => [name, typeOf(schema), marked(description ?? "")]);
    parts.push(table({ caption: "Parameters of the query", head: ["Name", "Value", "Meaning"], rows, kind: "plain" }));
  }
  if (requestBody) {
    const rows = Object.entries(requestBody.content).map(([type, { schema }]) => {
      return [type, resolve(schema).description ?? typeOf(schema)];
    });
    parts.push(table({ caption: "Body", head: ["Content type", "What it has"], rows, kind: "plain" }));
  }
  const [good] = Object.entries(responses).filter(([status]) => status.startsWith("2"));
  for (const [type, { schema, example }] of Object.entries(good[1].content)) {
    parts.push(element("h3", { text: `Answer ${good[0]}: ${type}` }));
    if (example !== undefined) parts.push(typeof example === "string" ? block(example) : json(example));
    const named = fields(schema);
    if (named) parts.push(element("details", {}, element("summary", { text: "All fields" }), named));
  }
  const failed = Object.entries(responses).filter(([status]) => !status.startsWith("2"));
  if (failed.length > 0) {
    const link = element("a", { href: "#errors", text: "errors" });
    parts.push(element("p", {}, `Other answers: ${failed.map(([status]) => status).join(", ")}; see `, link, "."));
  }
  return { id, title: `${method.toUpperCase()} ${path}`, node: element("section", {}, ...parts) };
}

function errors() {
  const rows = api["x-errors"].map(({ code, status, meaning, advice, example }) => {
    return [
      element("code", { text: code }),
      String(status),
      marked(meaning),
      marked(advice),
      element("code", { text: example }),
    ];
  });
  return element(
    "section",
    {},
    element("h2", { id: "errors", text: "Errors" }),
    element("p", {
      text: "An answer with an error has this body, and X-Request-Id names its line in the server's log.",
    }),
    json({
      error: { code: "not-an-image", message: api["x-errors"].find(({ code }) => code === "not-an-image").example },
    }),
    table({
      caption: "All errors",
      head: ["Code", "Status", "What it means", "What to do", "A message"],
      rows,
      kind: "errors",
    }),
  );
}

async function show() {
  api = await (await fetch("/openapi.json")).json();
  $("about").textContent = `${api.info.title} ${api.info.version}. ${api.info.description}`;
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => operation(path, method, one))
  );
  const links = [...operations, { id: "errors", title: "Errors" }].map(({ id, title }) => {
    return element("li", {}, element("a", { href: `#${id}`, text: title }));
  });
  $("contents").replaceChildren(element("ul", {}, ...links));
  $("content").replaceChildren(...operations.map(({ node }) => node), errors());
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
  document.body.dataset.ready = "";
}
show().catch((error) => $("content").replaceChildren(element("p", { class: "bad", text: error.message })));
