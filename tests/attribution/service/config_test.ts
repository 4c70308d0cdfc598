import assert from "node:assert/strict";
import { readConfig, settings, variables } from "../../../attribution/service/config.ts";
import { root } from "./server.ts";

const read = (values: Readonly<Record<string, string>>) => readConfig((env) => values[env]);

Deno.test("readConfig() has a default for everything, and takes an empty text for none", () => {
  const config = read({ TRACER_MAX_BATCH: "" });
  assert.equal(config.maxBatch, Number(settings.maxBatch.default));
  assert.equal(config.host, "127.0.0.1");
  assert.deepEqual(config.apiKeys, []);
});

Deno.test("readConfig() reads numbers, sizes, switches and lists", () => {
  const config = read({
    PORT: "0",
    TRACER_MAX_BODY: "1MiB",
    TRACER_MEMORY: "1.5G",
    TRACER_PRELOAD: "true",
    TRACER_CORS: "https://a.example, http://localhost:3000",
    TRACER_HOSTS: "Tracer.Example, [::1] *",
    TRACER_API_KEYS: "0123456789abcdef,fedcba9876543210",
    TRACER_UNSURE_BELOW: "0.25",
  });
  assert.deepEqual(
    [config.port, config.maxBody, config.memoryBytes, config.preload, config.unsureBelow],
    [0, 2 ** 20, 1.5 * 2 ** 30, true, 0.25],
  );
  assert.deepEqual(config.cors, ["https://a.example", "http://localhost:3000"]);
  assert.deepEqual(config.hosts, ["tracer.example", "[::1]", "*"]);
  assert.equal(config.apiKeys.length, 2);
});

Deno.test("readConfig() lists all that is wrong, by the names that the user gave, and repeats no key", () => {
  const values: Record<string, string> = {
    PORT: "70000",
    TRACER_MAX_BATCH: "0",
    TRACER_MEMORY: "much",
    TRACER_DEVICE: "tpu",
    TRACER_CORS: "a.example",
    TRACER_HOSTS: "a.example:8000",
    TRACER_API_KEYS: "secret",
    TRACER_MAX_READING: "1",
  };
  assert.throws(() => read(values), ({ message }: Error) => {
    const lines = message.split("\n");
    assert.equal(lines.length, 8);
    assert.match(message, /^PORT: expected a whole number, from 0 to 65535, got 70000$/m);
    assert.match(message, /^TRACER_DEVICE: expected auto, cpu or webgpu, got tpu$/m);
    assert.match(message, /^TRACER_HOSTS: expected host names without a port, .* got a\.example:8000$/m);
    assert.match(message, /^TRACER_API_KEYS: expected keys of at least 16 characters$/m);
    assert.match(message, /^TRACER_MAX_READING: expected at least TRACER_MAX_BODY/m);
    return true;
  });
});

Deno.test("readConfig() refuses keys that no request could have", () => {
  assert.throws(() => read({ TRACER_API_KEYS: "0123456789abcdef:1" }), {
    message: "TRACER_API_KEYS: expected keys of letters, digits and . _ ~ + / -, as bearer tokens have (RFC 6750)",
  });
});

Deno.test("the task serve may read exactly the environment variables that there are settings for", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
  const allowed = /--allow-env=(\S+)/.exec(tasks.serve)![1].split(",");
  for (const variable of variables) {
    assert.ok(allowed.some((name) => name === variable || (name === "TRACER_*" && variable.startsWith("TRACER_"))));
  }
  assert.deepEqual(allowed.filter((name) => !name.startsWith("TRACER_")).sort(), [
    "DENO_DIR",
    "DENO_WEBGPU_BACKEND",
    "HOME",
    "HOST",
    "MODEL_TRACER_ARITHMETIC",
    "MODEL_TRACER_CARD",
    "MODEL_TRACER_TILES",
    "PATH",
    "PORT",
    "SYSTEMROOT",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
  ]);
  assert.deepEqual((tasks.serve as string).match(/ (--allow-(all|write|run|ffi|sys)\S*|-A\b)/g), [
    " --allow-run=deno", // to print V8's flags
    " --allow-run=deno", // to decode images
    " --allow-sys=systemMemoryInfo", // for the limit on memory
  ]);
});
