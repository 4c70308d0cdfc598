/** Runs of `deno task train` as processes that are killed or interrupted, and go on as if they had not been. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { withFolder } from "../attribution/files.ts";
import { writePairs } from "../training/pairs.ts";
import { openDevice } from "../../core/open_device.ts";
import type { FamilyName } from "../../models/family.ts";
import { openSafetensors } from "../../models/checkpoint/mod.ts";
import { lockRun } from "../../training/run_folder.ts";
import { generator } from "../random.ts";
import { standIns } from "../sets.ts";
import { runTask, spawnTask } from "./processes.ts";

const run = (cwd: string, ...args: string[]) => runTask("train", cwd, ...args);

/** Runs until `when` holds for what it has printed so far, then sends the signal: at once, or within the next epoch. */
async function runUntil(
  cwd: string,
  args: string[],
  when: (stdout: string) => boolean,
  signal: Deno.Signal,
  at: "once" | "third" = "third",
) {
  const process = await spawnTask("train", cwd, args);
  let stdout = "";
  const stderr = new Response(process.stderr).text();
  let sent = false;
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
    stdout += text;
    if (!sent && when(stdout)) {
      if (at === "third") {
        // A third into the next epoch, by the speed of the last one.
        const perSecond = Number(/images\/s (\S+)\s*$/.exec(stdout)![1]);
        await new Promise((resolve) => setTimeout(resolve, 1000 * trainingImages / perSecond / 3));
      }
      process.kill(signal);
      sent = true;
    }
  }
  return { code: (await process.status).code, stdout, stderr: await stderr };
}

const trainingImages = 29;

async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
}

/** Runs `body` in a folder with generated pairs of a family. */
async function withPairs(name: FamilyName, count: number, body: (dir: string) => Promise<void>): Promise<void> {
  const device = await openDevice("cpu");
  try {
    await withFolder(async (dir) => {
      await writePairs(device, name, join(dir, "pairs"), count);
      await body(dir);
    });
  } finally {
    device.close();
  }
}

const short = ["--models", standIns, "--device", "cpu", "--batch", "4", "--epochs", "4", "--clip", "1"];

/** Kills one run and interrupts the next; what goes on from them must end with the bytes of a run that never stopped. */
export async function trainInParts(family: FamilyName): Promise<void> {
  await withPairs(family, 32, async (dir) => {
    const args = ["--family", family, "--pairs", "pairs", "--augment", ...short];
    const whole = await run(dir, ...args, "--run", "whole");
    assert.equal(whole.code, 0, whole.stderr);
    const expected = await Deno.readFile(join(dir, "whole", "encoder.safetensors"));

    // Killed in the second epoch, interrupted in the third, then to the end.
    const has = (epoch: number) => (stdout: string) => stdout.includes(`epoch   ${epoch}`);
    const killed = await runUntil(dir, [...args, "--run", "parts"], has(1), "SIGKILL");
    assert.notEqual(killed.code, 0);
    assert.ok(!killed.stdout.includes("epoch   2"), killed.stdout);
    const interrupted = await runUntil(dir, ["--resume", "parts"], has(2), "SIGTERM");
    assert.equal(interrupted.code, 130, interrupted.stderr);
    assert.match(interrupted.stderr, /interrupted and saved; to go on: deno task train --resume parts\n$/);
    const state = await openSafetensors(join(dir, "parts", "state.safetensors"));
    const { epoch, position } = JSON.parse(state.metadata.get("position")!);
    state.close();
    assert.ok(
      epoch === 2 && position > 0 && position < trainingImages,
      `stopped within an epoch: ${epoch}, ${position}`,
    );
    const elsewhere = await run(dir, "--resume", "parts", "--device", "webgpu");
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.stderr, /: was started with --device cpu, got webgpu: start a new run with --run DIR\n$/);
    {
      await using _ = await lockRun("--resume", join(dir, "parts"));
      const second = await run(dir, "--resume", "parts");
      assert.equal(second.code, 1);
      assert.match(
        second.stderr,
        /--resume parts: another process is training this run: wait until it ends, or stop it/,
      );
    }
    // What a process leaves behind that is killed while it saves.
    await Deno.writeTextFile(join(dir, "parts", ".state.safetensors.0123abcd.part"), "");
    const resumed = await run(dir, "--resume", "parts");
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual(await Deno.readFile(join(dir, "parts", "encoder.safetensors")), expected);
    assert.deepEqual(await namesIn(join(dir, "parts")), await namesIn(join(dir, "whole")));
  });
}

/** The same with one interruption on WebGPU, where the run must go on, too. */
export async function trainInPartsOnWebGpu(family: FamilyName): Promise<void> {
  await withPairs(family, 6, async (dir) => {
    const args = ["--family", family, "--pairs", "pairs", "--models", standIns, "--device", "webgpu"];
    args.push("--epochs", "1", "--batch", "2");
    const whole = await run(dir, ...args, "--run", "whole");
    assert.equal(whole.code, 0, whole.stderr);
    assert.match(whole.stdout, /^epoch +0 +held-out .*\nepoch +1 +loss .*\n$/);
    const path = join(dir, "whole", "encoder.safetensors");
    const encoder = await openSafetensors(path);
    assert.equal(encoder.metadata.get("device"), "webgpu");
    encoder.close();

    const started = await runUntil(dir, [...args, "--run", "parts"], (text) => text !== "", "SIGTERM", "once");
    assert.equal(started.code, 130, started.stderr);
    const state = await openSafetensors(join(dir, "parts", "state.safetensors"));
    const { epoch, position } = JSON.parse(state.metadata.get("position")!);
    state.close();
    assert.ok(epoch === 0 && position > 0 && position < 5, `stopped within the epoch: ${epoch}, ${position}`);
    const elsewhere = await run(dir, "--resume", "parts", "--device", "cpu");
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.stderr, /: was started with --device webgpu, got cpu: start a new run with --run DIR\n$/);
    const resumed = await run(dir, "--resume", "parts");
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual(await Deno.readFile(join(dir, "parts", "encoder.safetensors")), await Deno.readFile(path));
  });
}

/**
 * Kills a run many times, at times in the middle of a save, at times before it goes on at all. What goes on from there must
 * end with the bytes of a run that never stopped.
 */
export async function trainThroughKills(family: FamilyName, kills: number): Promise<void> {
  await withPairs(family, 32, async (dir) => {
    const args = ["--family", family, "--pairs", "pairs", ...short, "--epochs", "60", "--save-every", "0"];
    const state = join(dir, "parts", "state.safetensors");
    const saved = async () => (await Deno.stat(state).catch(() => undefined))?.ino;
    const random = generator(5);
    for (let kill = 0; kill < kills; kill++) {
      const before = await saved();
      const process = await spawnTask(
        "train",
        dir,
        before === undefined ? [...args, "--run", "parts"] : ["--resume", "parts"],
      );
      const output = process.output();
      let over = false;
      process.status.then(() => over = true);
      // Every other kill waits for a new save, so that the run gets on. The others come while a process still starts, too.
      const waits = kill % 2 === 0;
      while (waits && !over && await saved() === before) await new Promise((wake) => setTimeout(wake, 5));
      await new Promise((wake) => setTimeout(wake, (waits ? 300 : 1000) * random()));
      if (over) assert.fail(`it ended before kill ${kill + 1}: ${new TextDecoder().decode((await output).stderr)}`);
      process.kill("SIGKILL");
      assert.equal((await output).signal, "SIGKILL");
    }
    const last = await run(dir, "--resume", "parts");
    assert.equal(last.code, 0, last.stderr);
    const whole = await run(dir, ...args, "--run", "whole");
    assert.equal(whole.code, 0, whole.stderr);
    const encoder = (of: string) => Deno.readFile(join(dir, of, "encoder.safetensors"));
    assert.deepEqual(await encoder("parts"), await encoder("whole"));
    assert.deepEqual(await namesIn(join(dir, "parts")), await namesIn(join(dir, "whole")));
  });
}
