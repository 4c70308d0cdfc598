/**
 * What can be known of the deployment without a container engine: that the Containerfile copies what is needed and its
 * command runs with its variables, that manifests say what the service understands, and that they agree with each other.
 */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { parseAllDocuments } from "npm:yaml@2.9.1";
import { variables } from "../../attribution/service/config.ts";
import { withFolder } from "../attribution/files.ts";
import { exampleImages, listening, post, root, untilReady } from "../attribution/service/server.ts";

interface Instruction {
  readonly name: string;
  readonly text: string;
}

/** Instructions of the Containerfile, continued lines joined, comments left out. */
async function containerfile(): Promise<Instruction[]> {
  const text = await Deno.readTextFile(join(root, "deploy", "Containerfile"));
  const lines = text.split("\n").filter((line) => !/^\s*(#|$)/.test(line)).join("\n").replaceAll(/\\\n\s*/g, " ");
  return lines.split("\n").map((line) => {
    const [, name, text] = /^([A-Z]+) +(.*)$/.exec(line) ?? assert.fail(`no instruction: ${line}`);
    return { name, text };
  });
}

const instructions = await containerfile();
const all = (name: string) => instructions.filter((each) => each.name === name).map(({ text }) => text);
const environment = Object.fromEntries(
  all("ENV").flatMap((text) => text.split(/ +/)).map((pair) => pair.split("=") as [string, string]),
);

Deno.test("Containerfile: pinned, without root, with port, signal and health check", async () => {
  const known = ["FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"];
  assert.deepEqual(instructions.filter(({ name }) => !known.includes(name)), []);
  const bases = all("FROM");
  assert.equal(bases.length, 2);
  for (const from of bases) {
    assert.match(from, /^[\w/.-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}( AS \w+)?$/, "a version and a digest");
  }
  const readme = await Deno.readTextFile(join(root, "README.md"));
  assert.equal(/bin-([\d.]+)@/.exec(bases[0])![1], /deno@(\S+)/.exec(readme)![1]);
  assert.match(all("USER").at(-1)!, /^[1-9]\d*:[1-9]\d*$/);
  assert.deepEqual([all("EXPOSE")[0], all("STOPSIGNAL")[0]], [environment.PORT, "SIGTERM"]);
  assert.equal(environment.NVIDIA_DRIVER_CAPABILITIES, "all");
  const health = all("HEALTHCHECK")[0];
  assert.match(health, /\/healthz/);
  JSON.parse(health.slice(health.indexOf("[")));
  for (const name of Object.keys(environment).filter((name) => name.startsWith("TRACER_"))) {
    assert.ok(variables.includes(name), name);
  }
  JSON.parse(await Deno.readTextFile(join(root, "deploy", "nvidia_icd.json")));
});

Deno.test("Containerfile: its command has the permissions of the task, and reads the program's folder alone", async () => {
  const [shell, option, line]: string[] = JSON.parse(all("CMD")[0]);
  assert.deepEqual([shell, option], ["sh", "-c"]);
  assert.match(line, /^exec deno run /);
  const own = line.replaceAll("'", "").split(" ").slice(2);
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const flags = (words: readonly string[]) => words.filter((word) => word.startsWith("--allow") && !/read/.test(word));
  assert.deepEqual(flags(own), flags((tasks.serve as string).split(" ")));
  const v8Flags = (words: readonly string[]) => /tasks\/v8_flags\.ts\)(\S*)/.exec(words.join(" "))![1];
  assert.equal(v8Flags(own), v8Flags([tasks.serve]));
  assert.deepEqual(own.filter((word) => /read/.test(word)), ["--allow-read=/app,/run/secrets"]);
});

Deno.test("Containerfile: what it copies, run by its command with its variables, serves and drains", async () => {
  await withFolder(async (app) => {
    for (const copy of all("COPY").filter((text) => !text.startsWith("--from"))) {
      const words = copy.split(/ +/), to = words.pop()!;
      if (to.startsWith("/")) continue;
      for (const from of words) {
        const target = to === "./" ? join(app, from) : join(app, to, to.endsWith("/") ? basename(from) : "");
        await copyAll(join(root, from), target);
      }
    }
    const pruned = await pruneLock(app);
    assert.ok(pruned < 20, `${pruned} packages: the service needs no more`);
    const [shell, ...args] = (JSON.parse(all("CMD")[0]) as string[]).map((arg) => arg.replace("/app", app));
    const cache = JSON.parse(
      await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output()
        .then(({ stdout }) => new TextDecoder().decode(stdout)),
    ).denoDir;
    const start = (env: Record<string, string>) =>
      new Deno.Command(shell, {
        args,
        cwd: app,
        clearEnv: true,
        env: { ...environment, PATH: Deno.env.get("PATH")!, DENO_DIR: cache, PORT: "0", HOST: "127.0.0.1", ...env },
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    const server = await listening(start({ TRACER_DEVICE: "cpu" }));
    await untilReady(server);
    const [image] = await exampleImages(1);
    const answer = post(server, image.bytes).then((response) => response.json());
    assert.equal((await answer).images.length, 1);
    assert.equal(await server.stop("SIGTERM"), 0);

    // As it is, it wants a GPU: on a machine without one it ends, and says what is missing.
    const { code, stderr } = await start({}).output();
    const text = new TextDecoder().decode(stderr);
    if (code !== 0) assert.match(text, /serve: (device: expected a GPU|webgpu: no adapter found)/);
    assert.ok(code !== 0 || /"event":"ready"/.test(text));
  });
});

/** What the image does before it fetches packages. Returns how many are left in the lock file. */
async function pruneLock(app: string): Promise<number> {
  const [run] = all("RUN").filter((text) => text.includes("prune_lock"));
  const line = /^(programs="[^"]*" +&& +deno run .*? \$programs)/.exec(run)![1];
  const { code, stderr } = await new Deno.Command("sh", { args: ["-c", line], cwd: app, stderr: "piped" }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return Object.keys(JSON.parse(await Deno.readTextFile(join(app, "deno.lock"))).npm).length;
}

async function copyAll(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isFile) {
    await Deno.mkdir(join(to, ".."), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  for await (const { name } of Deno.readDir(from)) await copyAll(join(from, name), join(to, name));
}

// deno-lint-ignore no-explicit-any -- manifests are looked at where they have something
type Document = any;

async function documents(...path: string[]): Promise<Document[]> {
  const parsed = parseAllDocuments(await Deno.readTextFile(join(root, "deploy", ...path)), { strict: true });
  return parsed.map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS();
  });
}

function checkContainer(container: Document, port: number): void {
  for (const { name } of container.env) {
    assert.ok(variables.includes(name) || name === "NVIDIA_DRIVER_CAPABILITIES", `${name} is no setting`);
  }
  assert.equal(container.resources.limits["nvidia.com/gpu"], "1");
  assert.equal(container.ports[0].containerPort, port);
  assert.equal(container.startupProbe.httpGet.path, "/readyz");
  assert.equal(container.livenessProbe.httpGet.path, "/healthz");
  assert.equal(container.env.find(({ name }: Document) => name === "TRACER_HOSTS").value, "*");
  const keys = container.env.find(({ name }: Document) => name === "TRACER_API_KEYS_FILE").value;
  assert.ok(container.volumeMounts.some(({ mountPath }: Document) => keys.startsWith(`${mountPath}/`)));
  assert.ok(keys.startsWith("/run/secrets/"), "the container may read there");
}

Deno.test("Kubernetes: a pod with a GPU, restricted, probed, and scaled on a metric that the service has", async () => {
  const [deployment] = await documents("kubernetes", "deployment.yaml");
  const [service, budget, policy] = await documents("kubernetes", "service.yaml");
  const [scaler] = await documents("kubernetes", "autoscaler.yaml");
  const { spec } = deployment.spec.template;
  const [container] = spec.containers;
  checkContainer(container, Number(environment.PORT));
  const labels = deployment.spec.template.metadata.labels;
  for (
    const selector of [deployment.spec.selector.matchLabels, service.spec.selector, budget.spec.selector.matchLabels]
  ) {
    assert.deepEqual(selector, labels);
  }
  assert.deepEqual(policy.spec.podSelector.matchLabels, labels);
  assert.deepEqual(policy.spec.egress, []);
  assert.deepEqual([budget.spec.maxUnavailable, budget.spec.minAvailable], [1, undefined], "one pod alone may go, too");
  assert.equal(service.spec.ports[0].targetPort, container.ports[0].name);
  assert.equal(`${spec.securityContext.runAsUser}:${spec.securityContext.runAsGroup}`, all("USER").at(-1));
  assert.ok(spec.securityContext.runAsNonRoot && container.securityContext.readOnlyRootFilesystem);
  assert.deepEqual(container.securityContext.capabilities.drop, ["ALL"]);
  const mounted = new Set(container.volumeMounts.map(({ name }: Document) => name));
  assert.deepEqual(mounted, new Set(spec.volumes.map(({ name }: Document) => name)));
  assert.equal(scaler.spec.scaleTargetRef.name, deployment.metadata.name);
  const metrics = await Deno.readTextFile(join(root, "attribution", "service", "metrics.ts"));
  const { name } = scaler.spec.metrics[0].pods.metric;
  assert.match(metrics, new RegExp(`"${name.replace("model_tracer_", "")}"`));
});

Deno.test("Cloud Run: one GPU per instance, as many requests as the queue has places, and the same container", async () => {
  const [service] = await documents("cloud-run", "service.yaml");
  const { spec, metadata } = service.spec.template;
  const [container] = spec.containers;
  checkContainer(container, Number(environment.PORT));
  assert.ok(Number(container.resources.limits.cpu) >= 4 && parseInt(container.resources.limits.memory) >= 16);
  assert.equal(metadata.annotations["run.googleapis.com/cpu-throttling"], "false");
  const queue = container.env.find(({ name }: Document) => name === "TRACER_MAX_QUEUE").value;
  assert.equal(String(spec.containerConcurrency), queue);
  assert.equal(spec.nodeSelector["run.googleapis.com/accelerator"], "nvidia-l4");
});
