/** The parts of a run on a card (card.ts): what is started, for how long at most, and how its results are read. */
import { join } from "node:path";
import { writePng } from "../attribution/images/png.ts";
import { rarTokenizer, rarVariants } from "../models/rar/config.ts";
import { varTokenizer, varVariants } from "../models/var/config.ts";

/** Settings of the run. */
export interface CardOptions {
  /** Limit for weights and activations of the attribution. */
  readonly memory: string;
  /** The card's float32 peak by its data sheet. */
  readonly peakTflops?: string;
  /** Folder of the reference's tensors. */
  readonly golden: string;
  /** Small sizes. */
  readonly quick: boolean;
  /** For files of the run. */
  readonly folder: string;
  /** A Python whose torch has CUDA. */
  readonly python?: string;
}

/** A process of Deno's, and its results. */
export interface Part {
  readonly name: string;
  /** At most so long. */
  readonly seconds: number;
  command(options: CardOptions): Command | Promise<Command>;
  /** Results from what it printed or wrote. Throws when there are none. */
  read(stdout: string, options: CardOptions): unknown;
}

interface Command {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const readJson = async (path: string) => JSON.parse(await Deno.readTextFile(path));

/** `bench` with a file of results, which is the part's result. */
function benchPart(name: string, seconds: number, more: (options: CardOptions) => readonly string[]): Part {
  const fileOf = ({ folder }: CardOptions) => join(folder, `${name}.json`);
  return {
    ...{ name, seconds },
    command: (options) => ({
      args: [
        ...["run", "-A", "tasks/bench.ts", "--device", "webgpu", "--repeat", "3", "--out", fileOf(options)],
        ...options.peakTflops === undefined ? [] : ["--peak-tflops", options.peakTflops],
        ...options.quick ? ["--quick"] : [],
        ...more(options),
      ],
    }),
    read: (_, options) => readJson(fileOf(options)),
  };
}

const torch = ({ python, quick }: CardOptions) =>
  python === undefined || quick ? [] : ["--compare-torch", "--torch-device", "cuda", "--python", python];

/** A set of networks of official size, whose weights are computed when they are loaded. */
async function officialSizes(folder: string): Promise<string> {
  const synthetic = { salt: "card" };
  const family = (tokenizer: unknown, rows: typeof rarVariants | typeof varVariants) => ({
    tokenizer: { synthetic, config: tokenizer },
    variants: Object.fromEntries(rows.map(({ label, config, sampler }) => [label, { synthetic, config, sampler }])),
  });
  const manifest = {
    format: "model-tracer-weights/1",
    name: "official-sizes",
    families: { rar: family(rarTokenizer, rarVariants), var: family(varTokenizer, varVariants) },
  };
  const models = join(folder, "official-sizes");
  await Deno.mkdir(models);
  await Deno.writeTextFile(join(models, "manifest.json"), JSON.stringify(manifest));
  return models;
}

/** Images of smooth waves and noise, all different. */
async function someImages(folder: string, count: number, side: number): Promise<string> {
  const images = join(folder, "images");
  await Deno.mkdir(images);
  for (let i = 0; i < count; i++) {
    let state = i + 1;
    const data = Uint8Array.from({ length: side * side * 3 }, (_, at) => {
      state = Math.imul(state, 1664525) + 1013904223 | 0;
      const x = Math.floor(at / 3) % side, y = Math.floor(at / 3 / side);
      return 128 + 90 * Math.sin(x / (9 + i) + at % 3) * Math.cos(y / 17) + (state >>> 27);
    });
    await Deno.writeFile(join(images, `${i}.png`), writePng({ width: side, height: side, data }));
  }
  return images;
}

const tests: Part = {
  name: "tests",
  seconds: 150,
  command: ({ quick }) => ({
    args: [
      ...["test", "-A", "--no-check", "--parallel", "--reporter=dot", "--ignore=tests/**/*_slow_test.ts"],
      ...quick ? ["tests/core/wgsl/rows_test.ts"] : ["tests/core/wgsl", "tests/core/kernels", "tests/core/tensor"],
    ],
  }),
  read(stdout) {
    // deno-lint-ignore no-control-regex
    const found = /(\d+) passed.*?\| (\d+) failed/.exec(stdout.replaceAll(/\x1b\[[0-9;]*m/g, ""));
    if (!found) throw new Error("card: the tests did not come to an end");
    return { passed: Number(found[1]), failed: Number(found[2]) };
  },
};

const parity: Part = {
  name: "parity",
  seconds: 120,
  command: ({ golden, quick }) => ({
    args: [
      ...["run", "-A", "tasks/parity.ts", golden, "--device", "webgpu", "--json"],
      ...quick ? ["--filter", "case01"] : [],
    ],
  }),
  read(stdout) {
    const lines = stdout.trim().split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
    if (lines.length === 0) throw new Error("card: parity compared nothing");
    const failed = lines.filter(({ verdict }) => verdict !== "ok");
    return { tensors: lines.length, failed };
  },
};

const attribution: Part = {
  name: "attribution",
  seconds: 240,
  async command({ folder, memory, quick }) {
    const models = quick ? "weights/tiny" : await officialSizes(folder);
    const images = await someImages(folder, quick ? 4 : 64, quick ? 64 : 256);
    return {
      args: [
        ...["run", "-A", "tasks/attribute.ts", images, "--models", models, "--device", "webgpu"],
        ...quick ? ["--memory", "1GiB"] : ["--uncalibrated", "--method", "perplexity", "--memory", memory],
        ...["--search", "off", "--report", join(folder, "report"), "--out", join(folder, "submission.csv")],
      ],
    };
  },
  async read(_, { folder }) {
    const { images, seconds, memory, plan, device, settings, method } = await readJson(
      join(folder, "report/summary.json"),
    );
    return { images, seconds, imagesPerSecond: images.done / seconds, memory, plan, device, settings, method };
  },
};

const service: Part = {
  name: "service",
  seconds: 60,
  command: ({ quick }) => ({
    args: ["run", "-A", "tests/attribution/service/bench_load.ts", quick ? "3" : "20", quick ? "4" : "64", "16"],
    env: { DEVICE: "webgpu" },
  }),
  read: (stdout) => stdout.trim().split("\n").map((line) => JSON.parse(line)),
};

/** In the order in which they run: what matters most first, should the time not be enough. */
export const parts: readonly Part[] = [
  tests,
  parity,
  benchPart("kernels", 60, () => ["--only", "matmul,conv,attention", "--seconds", "3"]),
  benchPart("passes", 150, (options) => [
    ...["--only", "passes,scoring,generation,training", "--batch", options.quick ? "1" : "8", "--seconds", "8"],
    ...torch(options),
  ]),
  benchPart("timestamps", 60, ({ quick }) => [
    ...["--profile", "--only", "passes,generation,training", "--batch", quick ? "1" : "8"],
    ...["--filter", quick ? "rarb s" : "8"], // of 8 images: a condition alone is left out
  ]),
  attribution,
  service,
];
