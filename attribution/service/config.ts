/**
 * What a server can be told: one table of settings, each with its environment variable, option, default and check.
 * It reads no environment and no command line itself; tasks/serve.ts and main.ts do.
 */
import * as v from "npm:valibot@1.5.0";
import type { DeviceName } from "../../core/open_device.ts";
import { type MethodName, methods } from "../decision/methods.ts";

/** A setting: its text in the environment or on the command line, to its value. */
interface Row<T> {
  readonly env: string;
  readonly option: string;
  /** What stands for the value in the help text; none for a switch. */
  readonly value?: string;
  readonly help: string;
  readonly initial: T;
  /** Throws with what was expected. */
  readonly parse: (text: string) => T;
}

const whole = (low: number, high = Number.MAX_SAFE_INTEGER) => (text: string): number => {
  const value = text.trim() === "" ? NaN : Number(text);
  if (Number.isSafeInteger(value) && value >= low && value <= high) return value;
  throw new Error(
    `expected a whole number, ${
      high === Number.MAX_SAFE_INTEGER ? `${low} or more` : `${low} to ${high}`
    }, got ${text}`,
  );
};

const bytes = (text: string): number => {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|B)?$/i.exec(text.trim());
  const scale = match?.[2] === undefined ? 1 : 1024 ** ("KMGT".indexOf(match[2].toUpperCase()) + 1);
  const value = match === null ? NaN : Math.round(Number(match[1]) * scale);
  if (value >= 1) return value;
  throw new Error(`expected a size such as 4GiB or 32MiB, got ${text}`);
};

const share = (text: string): number => {
  const value = text.trim() === "" ? NaN : Number(text);
  if (value >= 0 && value <= 1) return value;
  throw new Error(`expected a number from 0 to 1, got ${text}`);
};

const oneOf = <const T extends string>(...allowed: readonly T[]) => (text: string): T => {
  if ((allowed as readonly string[]).includes(text)) return text as T;
  throw new Error(`expected ${allowed.join(", ")}, got ${text}`);
};

const flag = (text: string): boolean => {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (/^(0|false|no|off|)$/i.test(text)) return false;
  throw new Error(`expected 1 or 0, got ${text}`);
};

const list = (text: string): readonly string[] => text.split(/[\s,]+/).filter((word) => word !== "");

const origins = (text: string): readonly string[] => {
  for (const origin of list(text)) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw new Error(`expected origins such as https://example.org, got ${origin}`);
    }
  }
  return list(text);
};

/** Short keys can be guessed. */
const keys = (text: string): readonly string[] => {
  if (list(text).some((key) => key.length < 16)) throw new Error("expected keys of at least 16 characters");
  return list(text);
};

function row<T>(
  env: string,
  value: string | undefined,
  help: string,
  parse: (text: string) => T,
  initial: NoInfer<T>,
): Row<T> {
  const name = env === "PORT" || env === "HOST" ? env : env.replace(/^TRACER_/, "");
  return { env, option: name.toLowerCase().replaceAll("_", "-"), value, help, parse, initial };
}

const text = (value: string) => value;

export const settings = {
  port: row("PORT", "N", "port to listen on; 0 for any", whole(0, 65535), 8000),
  host: row("HOST", "ADDRESS", "address to listen on", text, "127.0.0.1"),
  models: row<string | undefined>("TRACER_MODELS", "DIR", "folder of a model set", text, undefined),
  device: row<DeviceName>("TRACER_DEVICE", "NAME", "auto, cpu or webgpu", oneOf("auto", "cpu", "webgpu"), "auto"),
  allowSoftware: row("TRACER_ALLOW_SOFTWARE", undefined, "accept a software WebGPU adapter", flag, false),
  threads: row<number | undefined>(
    "TRACER_THREADS",
    "N",
    "threads of the cpu device; default all",
    whole(1, 256),
    undefined,
  ),
  memoryBytes: row("TRACER_MEMORY", "SIZE", "limit for weights and activations on the device", bytes, 4 * 2 ** 30),
  weightType: row<"f32" | "f16">("TRACER_WEIGHT_TYPE", "TYPE", "f32 or f16", oneOf("f32", "f16"), "f32"),
  method: row<MethodName | undefined>(
    "TRACER_METHOD",
    "NAME",
    `${Object.keys(methods).join(", ")}; default the best that is calibrated`,
    oneOf(...Object.keys(methods)),
    undefined,
  ),
  unsureBelow: row("TRACER_UNSURE_BELOW", "P", "mark verdicts below this confidence `unsure`", share, 0),
  preload: row("TRACER_PRELOAD", undefined, "load all transformers that fit before being ready", flag, false),
  maxBatch: row("TRACER_MAX_BATCH", "N", "images that go through the networks at once, at most", whole(1, 256), 16),
  maxWaitMs: row("TRACER_MAX_WAIT_MS", "MS", "how long the first image waits for others", whole(0, 10_000), 10),
  maxQueue: row("TRACER_MAX_QUEUE", "N", "images accepted and not answered yet, at most", whole(1, 100_000), 64),
  deadlineMs: row("TRACER_DEADLINE_MS", "MS", "time limit of a request", whole(1, 3_600_000), 30_000),
  batchMs: row("TRACER_BATCH_MS", "MS", "time limit of a batch; then the device is reopened", whole(100), 300_000),
  maxBody: row("TRACER_MAX_BODY", "SIZE", "largest body of a request", bytes, 32 * 2 ** 20),
  maxReading: row("TRACER_MAX_READING", "SIZE", "bytes of all bodies that are held at once", bytes, 256 * 2 ** 20),
  maxImages: row("TRACER_MAX_IMAGES", "N", "images of one request", whole(1, 1000), 16),
  maxPixels: row("TRACER_MAX_PIXELS", "N", "largest image", whole(1), 2 ** 24),
  bodyMs: row("TRACER_BODY_MS", "MS", "time limit for receiving a body", whole(10), 15_000),
  decodeMs: row("TRACER_DECODE_MS", "MS", "time limit for decoding an image", whole(10), 10_000),
  decoders: row("TRACER_DECODERS", "N", "workers that decode", whole(1, 64), 2),
  apiKeys: row<readonly string[]>("TRACER_API_KEYS", "KEYS", "keys of which a request needs one", keys, []),
  apiKeysFile: row<string | undefined>("TRACER_API_KEYS_FILE", "FILE", "file with such keys", text, undefined),
  cors: row<readonly string[]>("TRACER_CORS", "ORIGINS", "other sites whose pages may ask", origins, []),
  drainDelayMs: row("TRACER_DRAIN_DELAY_MS", "MS", "after SIGTERM, go on listening for so long", whole(0, 600_000), 0),
  log: row("TRACER_LOG", "off|requests", "what is logged", oneOf("off", "requests"), "requests"),
} as const;

export type ServiceConfig = { readonly [K in keyof typeof settings]: (typeof settings)[K]["initial"] };

export type SettingName = keyof typeof settings;
export const settingNames = Object.keys(settings) as SettingName[];

/** All environment variables that a server reads, for permissions and documents. */
export const variables: readonly string[] = settingNames.map((name) => settings[name].env);

/**
 * The settings by texts under the names of their variables; what is missing has its default. `name` says what a message
 * calls a setting. Throws one error for the user that lists everything that is wrong.
 */
export function readConfig(
  get: (env: string) => string | undefined,
  name: (setting: SettingName) => string = (setting) => settings[setting].env,
): ServiceConfig {
  const problems: string[] = [];
  const entries = settingNames.map((setting) => {
    const { env, parse, initial } = settings[setting] as Row<unknown>;
    const given = get(env);
    if (given === undefined || given === "") return [setting, initial];
    try {
      return [setting, parse(given)];
    } catch (error) {
      // A key that is too short is a secret all the same.
      problems.push(`${name(setting)}: ${(error as Error).message}`);
      return [setting, initial];
    }
  });
  const config = Object.fromEntries(entries) as ServiceConfig;
  if (config.maxReading < config.maxBody) {
    problems.push(`${name("maxReading")}: expected at least ${name("maxBody")}, ${config.maxBody} bytes`);
  }
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return config;
}

/** Query of a request for verdicts. */
export const attributeQuery = v.strictObject({
  /** Answer with server-sent events. */
  stream: v.optional(v.picklist(["0", "1"])),
  /** Add the two maps of every image. */
  maps: v.optional(v.picklist(["0", "1"])),
  /** Milliseconds after which the answer is of no use; never more than the server's own limit. */
  timeout_ms: v.optional(v.pipe(v.string(), v.regex(/^[1-9][0-9]{0,6}$/, "expected milliseconds, 1 to 9999999"))),
});
