/**
 * `deno task serve`: the HTTP service and its page. Options and environment variables are the settings of
 * attribution/service/config.ts; what a request does is there, too.
 */
import {
  readConfig,
  type ServiceConfig,
  type SettingName,
  settingNames,
  settings,
} from "../attribution/service/config.ts";
import { listen } from "../attribution/service/listen.ts";
import { exitUnlessReady, logLine, onSignals, start } from "../attribution/service/start.ts";
import { parseOptions } from "./cli/args.ts";
import { writeStdout } from "./cli/progress.ts";

function describe(name: SettingName): string {
  const { option, value, help, initial, env } = settings[name];
  const left = `  --${option}${value === undefined ? "" : ` ${value}`}`;
  const first = Array.isArray(initial) ? initial.join(",") : String(initial ?? "");
  const isShown = value !== undefined && first !== "";
  return `${left.padEnd(28)}${help}${isShown ? ` (${first})` : ""} [${env}]`;
}

const usage = `Usage: deno task serve [options]

Serves verdicts over HTTP: POST /v1/attribute, a page at /, /openapi.json, /healthz, /readyz and /metrics. docs/service.md
describes them. Every option can also be given as the environment variable in brackets; sizes as 512MiB or 4GiB.

${settingNames.map(describe).join("\n")}
  --help                    this text

SIGTERM or Ctrl-C: no new connections, every accepted request is answered, exit code 0. A second one ends at once.
Exit code 1: a wrong setting, wrong weights, no device.`;

function config(args: readonly string[]): ServiceConfig | "help" {
  const options = Object.fromEntries(
    settingNames.map((name) => [settings[name].option, { type: settings[name].value ? "string" : "boolean" } as const]),
  );
  const { values, positionals } = parseOptions(args, { ...options, help: { type: "boolean", short: "h" } });
  if (values.help) return "help";
  if (positionals.length > 0) throw new Error(`expected options only, got ${positionals[0]} (--help)`);
  const byOption = values as Readonly<Record<string, string | boolean | undefined>>;
  const given = new Map(settingNames.map((name) => [settings[name].env, byOption[settings[name].option]]));
  return readConfig((env) => {
    const value = given.get(env);
    return value === undefined ? Deno.env.get(env) : value === true ? "1" : String(value);
  }, (name) => `--${settings[name].option}`);
}

async function main(args: readonly string[]): Promise<void> {
  const chosen = config(args);
  if (chosen === "help") {
    writeStdout(usage + "\n");
    return;
  }
  const running = await start(chosen);
  exitUnlessReady(running);
  const listening = listen({ hostname: chosen.host, port: chosen.port }, running.fetch);
  onSignals(async () => {
    const drained = running.service.drain();
    if (chosen.drainDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, chosen.drainDelayMs));
    await (await listening).shutdown();
    await drained;
    running.service.close();
  });
  logLine({ event: "listening", url: (await listening).url });
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    const lines = (error instanceof Error ? error.message : String(error)).split("\n");
    console.error(lines.map((line) => `serve: ${line}`).join("\n"));
    Deno.exit(1);
  }
}
