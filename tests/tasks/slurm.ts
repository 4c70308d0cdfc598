/**
 * A real Slurm of one node for tests: munge key, configuration and state in a folder of its own, daemons as this user.
 * Where Slurm is not installed, opening one fails and says what to install; nothing is skipped.
 */
import { hostname } from "node:os";
import { join } from "node:path";

const packages = "slurm-wlm munge";

/** Programs of the administrator lie where not every user looks. */
const env = { PATH: `${Deno.env.get("PATH")}:/usr/sbin:/sbin` };

export class Slurm implements AsyncDisposable {
  readonly #dir: string;
  /** What jobs and their commands must see in their environment. */
  readonly env: Record<string, string>;

  private constructor(dir: string) {
    this.#dir = dir;
    this.env = { ...env, SLURM_CONF: join(dir, "slurm.conf") };
  }

  /** Starts munged, slurmctld and slurmd with everything they write in `dir`, and waits until the node takes jobs. */
  static async start(dir: string): Promise<Slurm> {
    const slurm = new Slurm(dir);
    try {
      await slurm.#start();
    } catch (error) {
      await slurm[Symbol.asyncDispose]();
      throw error;
    }
    return slurm;
  }

  async #start(): Promise<void> {
    const dir = this.#dir;
    const at = (name: string) => join(dir, name);
    for (const name of ["state", "spool", "munge"]) await Deno.mkdir(at(name), { mode: 0o700 });
    // munged wants nobody else to be able to reach its key and its log.
    await Deno.chmod(dir, 0o711);
    await Deno.writeFile(at("munge/key"), crypto.getRandomValues(new Uint8Array(128)), { mode: 0o400 });
    const node = hostname().split(".")[0];
    const user = new TextDecoder().decode((await new Deno.Command("id", { args: ["-un"] }).output()).stdout).trim();
    const [control, daemon] = await Promise.all([freePort(), freePort()]);
    await Deno.writeTextFile(
      at("slurm.conf"),
      `ClusterName=test
SlurmctldHost=${node}(127.0.0.1)
SlurmctldPort=${control}
SlurmdPort=${daemon}
AuthType=auth/munge
AuthInfo=socket=${at("munge/socket")},cred_expire=5
SlurmUser=${user}
SlurmdUser=${user}
StateSaveLocation=${at("state")}
SlurmdSpoolDir=${at("spool")}
SlurmctldPidFile=${at("slurmctld.pid")}
SlurmdPidFile=${at("slurmd.pid")}
SlurmctldLogFile=${at("slurmctld.log")}
SlurmdLogFile=${at("slurmd.log")}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
SchedulerParameters=sched_interval=2
NodeName=${node} NodeAddr=127.0.0.1 CPUs=${navigator.hardwareConcurrency} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
`,
    );
    const file = (option: string, name: string) => `--${option}=${at(`munge/${name}`)}`;
    await this.run(
      "munged",
      ...["--force", file("key-file", "key"), file("socket", "socket"), file("pid-file", "pid")],
      ...[file("log-file", "log"), file("seed-file", "seed")],
    );
    await this.run("slurmctld", "-c", "-f", at("slurm.conf"));
    await this.run("slurmd", "-c", "-f", at("slurm.conf"));
    for (const begin = performance.now();;) {
      const state = await this.run("sinfo", "-h", "-o", "%T").catch((error) => `no answer: ${error.message}`);
      if (state.trim() === "idle") return;
      if (performance.now() - begin > 300_000) {
        const logs = await Promise.all(["slurmctld.log", "slurmd.log"].map((name) => Deno.readTextFile(at(name))));
        throw new Error(
          `Slurm: the node is not ready after five minutes (${state.trim()})\n${logs.join("\n").slice(-3000)}`,
        );
      }
      await new Promise((wake) => setTimeout(wake, 200));
    }
  }

  /** Runs a program to its end and returns what it prints. Throws when it fails. */
  async run(program: string, ...args: string[]): Promise<string> {
    let result: Deno.CommandOutput;
    try {
      result = await new Deno.Command(program, { args, env: this.env, stdout: "piped", stderr: "piped" }).output();
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound)) throw cause;
      throw new Error(`${program}: not found. Install Slurm to test on it: apt-get install -y ${packages}`, { cause });
    }
    const [out, problem] = [result.stdout, result.stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (!result.success) throw new Error(`${program} ${args.join(" ")}: ${problem.trim()}`);
    return out;
  }

  /** Ends what was started, jobs first, by process number. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.run("scancel", "--signal=KILL", "--full", "--state=RUNNING", "-u", "root").catch(() => {});
    for (const name of ["slurmd.pid", "slurmctld.pid", "munge/pid"]) {
      const pid = Number(await Deno.readTextFile(join(this.#dir, name)).catch(() => ""));
      if (!(pid > 1)) continue;
      for (let tries = 0; tries < 100 && await isAlive(pid); tries++) {
        if (tries === 0) Deno.kill(pid, "SIGTERM");
        if (tries === 80) Deno.kill(pid, "SIGKILL");
        await new Promise((wake) => setTimeout(wake, 100));
      }
    }
  }
}

async function isAlive(pid: number): Promise<boolean> {
  const state = /^State:\s+(\w)/m.exec(await Deno.readTextFile(`/proc/${pid}/status`).catch(() => ""))?.[1];
  return state !== undefined && state !== "Z";
}

/** A port that nobody listens on now. */
function freePort(): Promise<number> {
  using listener = Deno.listen({ port: 0 });
  return Promise.resolve((listener.addr as Deno.NetAddr).port);
}
