/**
 * Times the conversion and the loading of a large checkpoint with the width of VAR-d30, and what both are held against:
 * `deno run -A tests/models/download/measure.ts [blocks]`. Makes its files (7 blocks: 2.2 GB and 1.1 GB) in a temporary
 * folder and removes them.
 */
import { join } from "node:path";
import { openDevice } from "../../../core/open_device.ts";
import { convertCheckpoint } from "../../../models/checkpoint/convert.ts";
import { openCheckpoint } from "../../../models/checkpoint/mod.ts";
import { varVariants } from "../../../models/var/config.ts";
import { loadVarVariant } from "../../../models/var/family.ts";
import { transformerSpecs } from "../../../models/var/transformer.ts";
import { writeTorchFile } from "../checkpoint/torch_file.ts";
import { hashFile } from "../../../util/hash.ts";

const [step, folder, blocks = "7"] = Deno.args.length >= 2 ? Deno.args : ["", "", Deno.args[0]];
const config = { ...varVariants[3].config, depth: Number(blocks) };
const specs = transformerSpecs(config);
const GB = 1e9;

/** A checkpoint of noise, written tensor by tensor: no member or file may have 4 GiB. */
async function make(path: string): Promise<void> {
  const noise = Float32Array.from({ length: 1 << 20 }, (_, i) => Math.sin(i * 12.9898) * 0.05);
  await writeTorchFile(path, specs, ({ shape }) => {
    const values = new Float32Array(shape.reduce((product, d) => product * d, 1));
    for (let from = 0; from < values.length; from += noise.length) {
      values.set(noise.subarray(0, values.length - from), from);
    }
    return values;
  });
}

async function readOnce(path: string): Promise<void> {
  using file = await Deno.open(path);
  const buffer = new Uint8Array(1 << 22);
  while (await file.read(buffer) !== null);
}

/** Forgets cached files where this user may; false otherwise. */
async function dropCaches(): Promise<boolean> {
  await new Deno.Command("sync").output();
  return await Deno.writeTextFile("/proc/sys/vm/drop_caches", "1").then(() => true, () => false);
}

async function timed(what: string, path: string, work: () => Promise<void>): Promise<void> {
  const start = performance.now(), before = processorSeconds();
  await work();
  const seconds = (performance.now() - start) / 1000, used = processorSeconds() - before;
  const size = (await Deno.stat(path)).size;
  console.log(
    `${what}: ${seconds.toFixed(2)} s for ${(size / GB).toFixed(2)} GB, ${
      (size / GB / seconds).toFixed(2)
    } GB/s, processor ${used.toFixed(2)} s`,
  );
}

/** Processor time of this process so far, kernel included. */
function processorSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function peak(): string {
  const kilobytes = /VmHWM:\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))?.[1];
  return `peak memory ${Math.round(Number(kilobytes) / 1024)} MiB`;
}

const original = join(folder, "var.pth"), converted = join(folder, "var.safetensors");
const steps: Record<string, () => Promise<void>> = {
  make: () => make(original),
  "read the checkpoint": () => timed("reading it once", original, () => readOnce(original)),
  "write as much as the result has": () =>
    timed("writing it", converted, async () => {
      const size = (await Deno.stat(converted)).size;
      const buffer = new Uint8Array(1 << 22).fill(7);
      using file = await Deno.open(join(folder, "copy"), { write: true, create: true });
      for (let left = size; left > 0;) left -= await file.write(buffer.subarray(0, Math.min(left, buffer.length)));
      await file.sync();
    }).finally(() => Deno.remove(join(folder, "copy"))),
  convert: () =>
    timed("convertCheckpoint()", original, async () => {
      const source = await openCheckpoint(original);
      await convertCheckpoint(source, specs, converted, { what: "var" });
      source.close();
    }),
  hash: () => timed("hashFile() of the result", converted, async () => void await hashFile(converted)),
  "read the result": () => timed("reading it once", converted, () => readOnce(converted)),
  load: async () => {
    const device = await openDevice("cpu");
    for (const what of ["first", "second"]) {
      await timed(`loadVarVariant(), weightType f16, ${what} in a process`, converted, async () => {
        const source = await openCheckpoint(converted);
        const variant = await loadVarVariant(device, source, config, "var", { weightType: "f16" });
        source.close();
        variant.dispose();
        device.trim();
      });
    }
    device.close();
  },
};

if (step === "") {
  const temporary = await Deno.makeTempDir();
  try {
    const run = async (name: string) => {
      const args = ["run", "-A", "--no-check", import.meta.filename!, name, temporary, blocks];
      const { success } = await new Deno.Command(Deno.execPath(), { args, stdout: "inherit", stderr: "inherit" })
        .output();
      if (!success) throw new Error(`measure: ${name} failed`);
    };
    await run("make");
    for (const cold of [false, true]) {
      if (cold && !await dropCaches()) {
        console.log("(files cannot be dropped from memory here: only cached files are measured)");
      } else console.log(cold ? "-- files not in memory" : "-- files in memory");
      for (const name of Object.keys(steps).slice(1)) {
        if (name.startsWith("write") && !await Deno.stat(join(temporary, "var.safetensors")).catch(() => null)) {
          continue;
        }
        if (cold && !await dropCaches()) continue;
        await run(name);
      }
    }
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
} else {
  await steps[step]();
  if (step !== "make") console.log(`  ${step}: ${peak()}`);
}
