/**
 * Times the conversion and the loading of a large checkpoint with the width of VAR-d30, and what both are held against:
 * `deno run -A tests/models/download/measure.ts [blocks]`. Makes its files (7 blocks: 2.2 GB and 1.1 GB) in a temporary
 * folder and removes them.
 */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { openDevice } from "../../../core/open_device.ts";
import { convertCheckpoint } from "../../../models/checkpoint/convert.ts";
import { openCheckpoint } from "../../../models/checkpoint/mod.ts";
import { varVariants } from "../../../models/var/config.ts";
import { loadVarVariant } from "../../../models/var/family.ts";
import { transformerSpecs } from "../../../models/var/transformer.ts";
import { bytes, le, type TensorRecipe, tensorsPickle } from "../checkpoint/build.ts";
import { hashFile } from "../../../util/hash.ts";

const [step, folder, blocks = "7"] = Deno.args.length >= 2 ? Deno.args : ["", "", Deno.args[0]];
const config = { ...varVariants[3].config, depth: Number(blocks) };
const specs = transformerSpecs(config);
const GB = 1e9;

/** A PyTorch zip file, written value by value: no member or file may have 4 GiB. */
async function make(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const directory: Uint8Array[] = [];
  let at = 0;
  const write = async (data: Uint8Array<ArrayBuffer>) => {
    for (let done = 0; done < data.length;) done += await file.write(data.subarray(done));
    at += data.length;
  };
  const member = async (name: string, data: Uint8Array<ArrayBuffer>) => {
    const fields = [
      le(0, 2),
      le(0, 2),
      le(0, 4),
      le(crc32(data), 4),
      le(data.length, 4),
      le(data.length, 4),
      le(name.length, 2),
    ];
    directory.push(
      bytes(
        "PK\x01\x02",
        le(20, 2),
        le(20, 2),
        fields,
        le(0, 2),
        le(0, 2),
        le(0, 2),
        le(0, 2),
        le(0, 4),
        le(at, 4),
        name,
      ),
    );
    await write(bytes("PK\x03\x04", le(20, 2), fields, le(0, 2), name));
    await write(data);
  };
  const length = (shape: readonly number[]) => shape.reduce((product, d) => product * d, 1);
  const recipes = specs.map(({ name, shape }, i): TensorRecipe => ({
    name,
    shape,
    key: String(i),
    length: length(shape),
  }));
  await member("archive/data.pkl", tensorsPickle(recipes));
  const noise = Float32Array.from({ length: 1 << 20 }, (_, i) => Math.sin(i * 12.9898) * 0.05);
  for (const [i, { length }] of recipes.entries()) {
    const values = new Float32Array(length);
    for (let from = 0; from < length; from += noise.length) values.set(noise.subarray(0, length - from), from);
    await member(`archive/data/${i}`, new Uint8Array(values.buffer));
  }
  await member("archive/version", bytes("3\n"));
  const start = at;
  for (const entry of directory) await write(entry as Uint8Array<ArrayBuffer>);
  const count = directory.length;
  await write(bytes("PK\x05\x06", le(0, 4), le(count, 2), le(count, 2), le(at - start, 4), le(start, 4), le(0, 2)));
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
