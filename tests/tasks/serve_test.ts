/** `deno task serve` as a process: its options, what it refuses, and how it ends. The service itself is tested elsewhere. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { settingNames, settings } from "../../attribution/service/config.ts";
import { withFolder } from "../attribution/files.ts";
import { exampleImages, listening, post, type Server, startServer, withServer } from "../attribution/service/server.ts";
import { resultOf, root, runTask, spawnTask } from "./processes.ts";

Deno.test("serve --help names every option and its environment variable", async () => {
  const { code, stdout } = await runTask("serve", root, "--help");
  assert.equal(code, 0);
  for (const name of settingNames) {
    assert.match(stdout, new RegExp(`--${settings[name].name}\\b.*\\[${settings[name].env}\\]`));
  }
});

Deno.test("serve refuses wrong settings before it listens, all at once", async () => {
  const { code, stderr } = await runTask("serve", root, "--max-batch", "0", "--device", "tpu", "--api-keys", "short");
  assert.equal(code, 1);
  assert.match(stderr, /^serve: --max-batch: expected a whole number, from 1 to 256, got 0$/m);
  assert.match(stderr, /^serve: --device: expected auto, cpu or webgpu, got tpu$/m);
  assert.match(stderr, /^serve: --api-keys: expected keys of at least 16 characters$/m);
  assert.doesNotMatch(stderr, /listening|short/);
  const unknown = await runTask("serve", root, "--max-bacth", "4");
  assert.match(unknown.stderr, /did you mean --max-batch\?/);
  assert.equal(unknown.code, 1);
});

Deno.test("serve ends with exit code 1 and the reason when the model set cannot be opened", async () => {
  await withFolder(async (dir) => {
    // Inside the folder that it may read: elsewhere the permission is what is missing.
    const { code, stderr } = await runTask("serve", root, "--port", "0", "--device", "cpu", "--models", "docs");
    assert.equal(code, 1);
    assert.match(stderr, /^serve: docs\/manifest\.json: expected the manifest of a set of weights/m);
    const outside = await runTask("serve", root, "--port", "0", "--device", "cpu", "--models", dir);
    assert.equal(outside.code, 1);
    assert.match(outside.stderr, /^serve: .*no right to read ".*": add it to --allow-read in the command/m);
  });
});

Deno.test("serve that may not read its page says so, and does not start", async () => {
  const rights = ["--no-prompt", "--allow-net=127.0.0.1", "--allow-read=weights", "--allow-env", "--allow-run=deno"];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", ...rights, "tasks/serve.ts", "--port", "0", "--device", "cpu"],
    cwd: root,
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stderr } = await resultOf(child.spawn());
  assert.equal(code, 1);
  assert.match(stderr, /^serve: no right to read ".*\/service\/page\/.*": add it to --allow-read in the command .*\n$/);
});

Deno.test("serve refuses a file of keys that has none, rather than being open to everybody", async () => {
  const { code, stderr } = await runTask("serve", root, "--port", "0", "--api-keys-file", join(root, "LICENSE-none"));
  assert.equal(code, 1);
  assert.match(stderr, /^serve: TRACER_API_KEYS_FILE: /m);
});

Deno.test("serve says when its port is taken", async () => {
  await withServer([], async ({ port }) => {
    const { code, stderr } = await runTask("serve", root, "--device", "cpu", "--port", String(port));
    assert.equal(code, 1);
    assert.match(stderr, /^serve: .*in use/im);
  });
});

Deno.test("serve: settings come from the environment, options before them", async () => {
  const env = { TRACER_MAX_IMAGES: "3", TRACER_MAX_QUEUE: "7" };
  await withServer(["--max-queue", "9"], async ({ url }) => {
    const { limits } = await (await fetch(`${url}/v1/models`)).json();
    assert.deepEqual([limits.images, limits.queue], [3, 9]);
  }, env);
});

Deno.test("serve goes on listening for the drain delay, not ready any more, and then ends", async () => {
  const [image] = await exampleImages(1);
  const server = await startServer(["--drain-delay-ms", "4000"]);
  const start = performance.now();
  const code = server.stop("SIGTERM");
  await untilDraining(server);
  const late = await post(server, image.bytes);
  assert.equal((await late.json()).images.length, 1);
  assert.equal(await code, 0);
  assert.ok(performance.now() - start >= 4000);
});

Deno.test("serve ends at once at a second signal, and at SIGINT while it still starts", async () => {
  const server = await startServer(["--drain-delay-ms", "600000"]);
  server.process.kill("SIGTERM");
  await untilDraining(server);
  assert.equal(await server.stop("SIGINT"), 130);
  const early = await listening(await spawnTask("serve", root, ["--port", "0", "--device", "cpu"]));
  assert.equal(await early.stop("SIGINT"), 0);
});

/** Waits until a server that was sent a signal says that it takes no more requests. */
async function untilDraining({ url }: Server): Promise<void> {
  for (;;) {
    const response = await fetch(`${url}/readyz`);
    const { status } = await response.json();
    if (response.status === 503) return assert.equal(status, "draining");
  }
}
