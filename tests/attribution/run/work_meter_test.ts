/** Estimates of the time left, on a clock that the test moves. */
import assert from "node:assert/strict";
import { defaultInference } from "../../../attribution/likelihood/class_inference.ts";
import { networkShare, WorkMeter } from "../../../attribution/run/work_meter.ts";
import { stageCosts } from "../../../attribution/run/work_model.ts";
import { classesStage, posedStage, searchStage } from "../../../attribution/run/work_stages.ts";
import { official } from "../../sets.ts";

/** Numbers from 0 to 1 in a fixed order. */
function drawer(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}

/** A run that is simulated. */
interface Simulated {
  readonly images: number;
  /** Images that the journal has: each takes a millisecond. */
  readonly recalled?: number;
  /** Images per chunk: all stages run over a chunk before the next one begins. */
  readonly chunk: number;
  /** Seconds that a stage takes to load, in every chunk. */
  readonly loading?: number;
  /** By how much stages differ from what their operations say, as a factor up or down. */
  readonly uneven: number;
  /** Share of the images that are searched: of all, or by the number of the image. */
  readonly searched?: number | ((image: number) => number);
  /** Share of the time after which the estimate must hold, where the first minute tells nothing of it. */
  readonly from?: number;
}

/** Operations per second of the simulated device, as a plan measures them. */
const rates = { tokenizer: 100e9, transformer: 60e9 };

/** Runs a simulation, and returns the estimates after every stage with what was really left then, in seconds. */
function simulate({ images, recalled = 0, chunk, loading = 0, uneven, searched = 0.3 }: Simulated) {
  const costs = stageCosts(official(["rar", "var"]), { signals: "core", condition: "infer", search: "quick" });
  let clock = 0;
  const meter = new WorkMeter(costs, { now: () => clock });
  meter.rates = rates;
  meter.start(images, recalled);
  const draw = drawer(7), estimates: { at: number; left: number }[] = [];
  const between = (factor: number) => factor ** (2 * draw() - 1);
  const factors = new Map(costs.map(({ stage }) => [stage, between(uneven)]));
  const pass = (stage: string, count: number) => {
    clock += 1000 * loading;
    for (let i = 0; i < count; i++) {
      const { flops, kind } = costs.find((cost) => cost.stage === stage)!;
      // Images differ, too.
      clock += 1000 * flops / (networkShare * rates[kind]) * factors.get(stage)! * between(1.3);
      meter.add(stage, 1);
      estimates.push({ at: clock / 1000, left: meter.secondsLeft()! });
    }
  };
  for (let i = 0; i < recalled; i++) {
    clock += 1;
    meter.finish(true);
  }
  const own = costs.filter(({ part }) => part !== "search");
  for (let at = recalled; at < images; at += chunk) {
    const count = Math.min(chunk, images - at);
    for (const { stage, kind } of own) {
      if (kind === "transformer") meter.expect(stage, count, count);
    }
    for (const { stage } of own) pass(stage, count);
    const shareOf = (image: number) => typeof searched === "number" ? searched : searched(image);
    const due = Array.from({ length: count }, draw).filter((drawn, i) => drawn < shareOf(at + i)).length;
    meter.expect(searchStage, due, count);
    pass(searchStage, due);
    const found = Math.round(due / 2);
    for (const { stage } of own) meter.expect(posedStage(stage), found, 0);
    for (const { stage } of own) pass(posedStage(stage), found);
    for (let i = 0; i < count; i++) meter.finish(false);
  }
  assert.equal(Math.round(meter.secondsLeft()!), 0);
  const end = clock / 1000;
  return estimates.map(({ at, left }) => ({ at, left, real: end - at, end }));
}

Deno.test("WorkMeter estimates the time left within 20 % after a minute, with uneven stages and images", () => {
  const runs: Record<string, Simulated> = {
    // A minute is less than an image takes: of most stages nothing is known but their operations.
    "all networks loaded, an image at a time": { images: 12, chunk: 1, uneven: 1.1 },
    "batches of 16": { images: 330, chunk: 16, uneven: 1.3 },
    "networks in turns": { images: 60, chunk: 60, loading: 20, uneven: 1.15 },
    "most images recalled": { images: 300, recalled: 260, chunk: 8, uneven: 1.3 },
    "all images searched": { images: 100, chunk: 4, uneven: 1.3, searched: 1, from: 0.1 },
    "sorted, the images that are searched last": {
      ...{ images: 1000, chunk: 16, uneven: 1.3, from: 0.3 },
      searched: (image: number) => image < 300 ? 0.1 : 1,
    },
    "no image searched": { images: 100, chunk: 4, uneven: 1.3, searched: 0, from: 0.1 },
  };
  for (const [name, run] of Object.entries(runs)) {
    const estimates = simulate(run);
    // An estimate within the last minute is off by little in seconds, whatever its share.
    const judged = estimates.filter(({ at, real, end }) => at >= Math.max(60, (run.from ?? 0) * end) && real >= 60);
    const worst = Math.max(...judged.map(({ left, real, end }) => Math.abs(left - real) / end));
    assert.ok(judged.length > 3, name);
    const first = judged[0];
    assert.ok(Math.abs(first.left - first.real) <= 0.2 * first.real, `${name}: ${first.left} s of ${first.real} s`);
    assert.ok(worst <= 0.2, `${name}: at worst off by ${worst} of all the time`);
  }
});

Deno.test("WorkMeter cuts passes so that none takes much longer than it should, and knows nothing without rates", () => {
  const costs = stageCosts(official(["rar", "var"]), { signals: "core", condition: "none" });
  let clock = 0;
  const meter = new WorkMeter(costs, { now: () => clock, passSeconds: 10 });
  meter.start(100);
  const [{ stage, flops }] = costs;
  assert.equal(meter.secondsLeft(), undefined);
  assert.equal(meter.batchOf(stage, 16), 16);
  meter.rates = { tokenizer: flops / networkShare / 4, transformer: 1 };
  assert.equal(meter.batchOf(stage, 16), 2, "4 s an image");
  clock = 20_000;
  meter.add(stage, 1);
  assert.equal(meter.batchOf(stage, 16), 1, "20 s an image");
  clock = 20_500;
  meter.add(stage, 99);
  assert.equal(meter.batchOf(stage, 16), 16);
});

/** RAR's search starts where VAR's has come, as in calibrations that were made when that was the default. */
const started = { ...defaultInference, candidates: 64 };

Deno.test("stageCosts() counts the coarse scales of the lead where it is not open itself", () => {
  const set = official(["rar", "var"]);
  const classes = (openShare: number) => {
    const costs = stageCosts(set, { signals: "core", condition: "infer", inference: started, openShare });
    const of = (name: string) => costs.find(({ stage }) => stage === classesStage(name))!.flops / 1e12;
    return { rar: of("rarb"), var: of("var16") };
  };
  const [both, one] = [classes(1), classes(0.5)];
  assert.equal(one.var, both.var);
  // 16 passes of VAR-d16 under classes that share no prefix.
  assert.ok(Math.abs(one.rar - both.rar - 4.5) < 0.05, `${one.rar - both.rar}`);
  // By default every family searches by itself, as one without another does.
  const alone = (families: string[]) =>
    stageCosts(official(families), { signals: "core", condition: "infer", openShare: 0.5 })
      .find(({ stage }) => stage === classesStage("rarb"))!.flops / 1e12;
  assert.equal(alone(["rar"]), alone(["rar", "var"]));
  assert.ok(alone(["rar"]) > both.rar && alone(["rar"]) < one.rar);
});

Deno.test("stageCosts() counts what a rehearsal with official sizes has counted", () => {
  const costs = stageCosts(official(["rar", "var"]), { signals: "core", condition: "infer", inference: started });
  const sum = (part: string) =>
    costs.filter((cost) => cost.part === part).reduce((total, { flops }) => total + flops / 1e12, 0);
  // Counted by the kernels that ran: 1.9, 14.8 and 31.7 TFLOP. Classes depend on what rounds leave.
  assert.ok(Math.abs(sum("tokenizers") - 1.9) < 0.1, `${sum("tokenizers")}`);
  assert.ok(Math.abs(sum("classes") - 14.8) < 0.8, `${sum("classes")}`);
  assert.ok(Math.abs(sum("likelihoods") - 31.7) < 0.1, `${sum("likelihoods")}`);
});
