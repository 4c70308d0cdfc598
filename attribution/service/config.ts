/**
 * The settings of a server: one table of options (util/options.ts), each of which is also an environment variable.
 * It reads no environment and no command line; tasks/serve.ts and main.ts do.
 */
import * as v from "npm:valibot@1.5.0";
import {
  type Check,
  choice,
  type Given,
  nameOf,
  type Option,
  readValues,
  real,
  size,
  type Values,
  type ValueType,
  whole,
} from "../../util/options.ts";
import { decidingMethods } from "../decision/methods.ts";
import { searchLevels } from "../search/candidates.ts";

const words: ValueType<readonly string[]> = { parse: (text) => text.split(/[\s,]+/).filter((word) => word !== "") };

const origins: ValueType<readonly string[]> = {
  parse(text) {
    for (const origin of words.parse(text)) {
      if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
        throw new Error(`expected origins such as https://example.org, got ${origin}`);
      }
    }
    return words.parse(text);
  },
};

const hosts: ValueType<readonly string[]> = {
  parse(text) {
    const names = words.parse(text.toLowerCase());
    for (const name of names) {
      if (name === "*" || URL.canParse(`http://${name}`) && new URL(`http://${name}`).hostname === name) continue;
      throw new Error(`expected host names without a port, such as tracer.example.org, or *, got ${name}`);
    }
    return names;
  },
};

/** Short keys can be guessed. A message repeats none: one that is too short is a secret all the same. */
const keys: ValueType<readonly string[]> = {
  parse(text) {
    const keys = words.parse(text);
    if (keys.some((key) => key.length < 16)) throw new Error("expected keys of at least 16 characters");
    if (!keys.every((key) => /^[A-Za-z0-9._~+/-]+=*$/.test(key))) {
      throw new Error("expected keys of letters, digits and . _ ~ + / -, as bearer tokens have (RFC 6750)");
    }
    return keys;
  },
};

/** The rows, each with its environment variable: `maxBatch` is `TRACER_MAX_BATCH`. */
function withVariables<const O extends Readonly<Record<string, Option>>>(rows: O) {
  const named = Object.entries(rows).map(([key, row]) => {
    const name = nameOf(key, row);
    return [key, { ...row, name, env: row.env ?? `TRACER_${name.toUpperCase().replaceAll("-", "_")}` }];
  });
  return Object.fromEntries(named) as {
    readonly [K in keyof O]: O[K] & { readonly name: string; readonly env: string };
  };
}

export const settings = withVariables({
  port: { env: "PORT", value: "N", type: whole(0, 65535), default: "8000", help: "port to listen on; 0 for any" },
  host: { env: "HOST", value: "ADDRESS", default: "127.0.0.1", help: "address to listen on" },
  models: { value: "DIR", help: "model set", unset: "weights/official where it is complete, else weights/tiny" },
  device: {
    value: "NAME",
    type: choice(["auto", "cpu", "webgpu"]),
    default: "auto",
    help: "where to compute; auto takes a GPU where there is one, else the processor",
  },
  allowSoftware: { help: "accept a software WebGPU adapter" },
  threads: { value: "N", type: whole(1, 256), help: "threads of the processor", unset: "all" },
  memoryBytes: {
    name: "memory",
    value: "SIZE",
    type: size,
    help: "limit for weights and activations on the device",
    unset: "three quarters of the free memory, at most 8GiB or what the largest network needs; on a GPU 40GiB",
  },
  weightType: {
    value: "TYPE",
    type: choice(["f32", "f16"]),
    help: "precision in which weights are kept; f16 takes half the memory of f32",
    unset: "that of their files",
  },
  method: {
    value: "NAME",
    type: choice(decidingMethods()),
    help: "how to decide",
    unset: "the best that is calibrated",
  },
  search: {
    value: "HOW",
    type: choice(searchLevels),
    default: "quick",
    help: "how thoroughly images that would be outliers are searched mirrored, turned, cropped or within a canvas",
  },
  unsureBelow: {
    value: "P",
    type: real(0, 1),
    help: "mark verdicts below this confidence as unsure",
    unset: "what the calibration measured",
  },
  preload: { help: "load all transformers that fit before being ready" },
  maxBatch: {
    value: "N",
    type: whole(1, 256),
    default: "16",
    help: "largest number of images that go through the networks at once",
  },
  maxWaitMs: {
    value: "MS",
    type: whole(0, 10_000),
    default: "10",
    help: "how long the first image of a batch waits for others",
  },
  maxQueue: {
    value: "N",
    type: whole(1, 100_000),
    default: "64",
    help: "largest number of images accepted and not answered yet",
  },
  deadlineMs: {
    value: "MS",
    type: whole(1, 3_600_000),
    help: "time limit of a request",
    unset: "30000, or four times what an image is expected to take on this device",
  },
  batchMs: {
    value: "MS",
    type: whole(100),
    help: "time limit of a batch; after it the device is opened again",
    unset: "300000, or four times what its images are expected to take",
  },
  maxBody: { value: "SIZE", type: size, default: "32MiB", help: "largest body of a request" },
  maxReading: { value: "SIZE", type: size, default: "256MiB", help: "bytes of all bodies that are held at once" },
  maxImages: { value: "N", type: whole(1, 1000), default: "16", help: "images of one request" },
  maxPixels: { value: "N", type: whole(1), default: String(2 ** 24), help: "refuse larger images" },
  bodyMs: { value: "MS", type: whole(10), default: "15000", help: "time limit for receiving a body" },
  decodeMs: { value: "MS", type: whole(10), default: "10000", help: "processor time for decoding an image" },
  decoders: { value: "N", type: whole(1, 64), default: "2", help: "processes that decode" },
  apiKeys: { value: "KEYS", type: keys, default: "", help: "keys, one of which every request needs" },
  apiKeysFile: { value: "FILE", help: "file with such keys" },
  cors: { value: "ORIGINS", type: origins, default: "", help: "other sites whose pages may send requests" },
  hosts: {
    value: "NAMES",
    type: hosts,
    default: "",
    help: "names of this server beside localhost, its addresses and --host; * for any",
  },
  drainDelayMs: {
    value: "MS",
    type: whole(0, 600_000),
    default: "0",
    help: "time for which the server goes on listening after SIGTERM",
  },
  log: { value: "WHAT", type: choice(["off", "requests"]), default: "requests", help: "what is logged" },
});

export type ServiceConfig = Values<typeof settings>;

export type SettingName = keyof typeof settings;
export const settingNames = Object.keys(settings) as SettingName[];

/** All environment variables that a server reads, for permissions and documents. */
export const variables: readonly string[] = settingNames.map((name) => settings[name].env);

/** All bodies together need room for the largest one. */
export const checkSettings: Check<typeof settings> = ({ maxReading, maxBody }, name) =>
  maxReading < maxBody ? [`${name("maxReading")}: expected at least ${name("maxBody")}, ${maxBody} bytes`] : [];

/**
 * The settings by texts under the names of their variables; what is missing or empty has its default. Throws one error
 * for the user that lists everything that is wrong.
 */
export function readConfig(get: (env: string) => string | undefined): ServiceConfig {
  const given = (_: string, { env }: Option): Given => {
    const text = get(env!);
    return { from: env!, texts: text ? [text] : undefined };
  };
  return readValues(settings, given, checkSettings);
}

/** What was given, short enough for a message. */
const shown = (given: unknown) => String(given).slice(0, 100) || "nothing";

/** What is wrong with a query, for the user. */
export function queryProblem(issue: v.InferIssue<typeof attributeQuery>): string {
  const name = v.getDotPath(issue) ?? "query";
  if (issue.type !== "strict_object") return `${name}: ${issue.message}`;
  return `${shown(name)}: is no parameter; expected ${Object.keys(attributeQuery.entries).join(", ")}`;
}

/** Query of a request for verdicts. */
export const attributeQuery = v.strictObject({
  /** Answer with server-sent events. */
  stream: v.optional(v.picklist(["0", "1"], (issue) => `expected 0 or 1, got ${shown(issue.input)}`)),
  /** Add the two maps of every image. */
  maps: v.optional(v.picklist(["0", "1"], (issue) => `expected 0 or 1, got ${shown(issue.input)}`)),
  /** Milliseconds after which the answer is of no use; never more than the server's own limit. */
  timeout_ms: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[1-9][0-9]{0,6}$/, (issue) => `expected milliseconds, 1 to 9999999, got ${shown(issue.input)}`),
    ),
  ),
});
