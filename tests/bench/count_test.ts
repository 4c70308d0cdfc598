/** Counts of passes on the stub device, held; and the parts that count: the model, the reading of WGSL and of SPIR-V. */
import assert from "node:assert/strict";
import { countWorkloads } from "../../bench/count/cases.ts";
import { Counter, type PassCount } from "../../bench/count/counter.ts";
import { type Launch, launchSeconds, residentGroups, tileRate } from "../../bench/count/model.ts";
import { countAll } from "../../bench/count/report.ts";
import { groupSizes } from "../../bench/count/program_text.ts";
import { attentionTileOf } from "../../bench/count/tiles.ts";
import { loopCost } from "../../bench/count/spirv.ts";
import { rarFlops } from "../../bench/flops.ts";
import { cards } from "../../bench/stub/cards.ts";
import { openStubDevice } from "../../bench/stub/gpu.ts";
import type { Kernels } from "../../core/tensor/mod.ts";
import { rarVariants } from "../../models/rar/config.ts";
import { families } from "../../models/registry.ts";

/** Counts one case, with the WGSL of the programs that it uses. */
async function count(name: string): Promise<PassCount & { wgsl: ReadonlyMap<string, string> }> {
  const workload = countWorkloads().find(({ names }) => names.includes(name))!;
  const { device, stub } = openStubDevice();
  const counter = new Counter(device, stub);
  const open = await workload.open(device);
  const counted = await counter.count(name, open.cases.find((found) => found.name === name)!.run);
  open.close();
  return { ...counted, wgsl: stub.pipelines };
}

const launch: Launch = {
  ...{ groups: 264, threads: 256, sharedBytes: 16384, registers: 104, tileFlop: 264e9, rate: 1, bytes: 1 },
  loadBytes: 32,
};
const h200 = cards.h200;
const close = (value: number, wanted: number) => assert.ok(Math.abs(value / wanted - 1) < 1e-9, `${value}, ${wanted}`);

Deno.test("the model: whole waves take as long as the work at the card's peak, a workgroup more takes a wave more", () => {
  assert.equal(residentGroups(launch), 2);
  close(launchSeconds(h200, launch), 264e9 / h200.flopsPerSecond);
  const one = launchSeconds(h200, { ...launch, groups: 265, tileFlop: 265e9 });
  // One workgroup of 8 warps reaches 0.3 + 0.7 * 8 / 16 of a multiprocessor.
  close(one, 264e9 / h200.flopsPerSecond + 1e9 / (h200.flopsPerSecond / 132 * 0.65));
});

Deno.test("the model: half of the threads of a warp do nothing where a workgroup has 16", () => {
  const wide = { ...launch, groups: 132 * 32, threads: 32, registers: 32 };
  close(launchSeconds(h200, { ...wide, threads: 16 }) / launchSeconds(h200, wide), 2);
});

Deno.test("the model: traffic takes the bandwidth that the loads under way allow", () => {
  const copy = { ...launch, groups: 132 * 32, threads: 64, sharedBytes: 0, registers: 32, tileFlop: 0, bytes: 1e9 };
  close(launchSeconds(h200, copy), 1e9 / h200.bytesPerSecond);
  // 12 workgroups of 64 threads have 12 * 64 * 32 bytes under way for 600 ns.
  close(launchSeconds(h200, { ...copy, groups: 12, bytes: 1e6 }), 1e6 / (12 * 64 * 32 / 600e-9));
});

Deno.test("the model: 8 x 8 results per thread reach the peak, 4 x 4 0.6 of it", () => {
  close(tileRate(8, 8), 1);
  close(tileRate(4, 4), 0.6);
});

const wgsl = `
@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
var<workgroup> block: array<f32, 64>;
@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) lid: u32) {
  var s = vec4f(0.0);
  for (var base = 0u; base < arrayLength(&a); base += 8u) {
    block[lid] = a[base + lid].x;
    workgroupBarrier();
    for (var k = 0u; k < 8u; k++) { s += block[k] * a[k]; }
    workgroupBarrier();
  }
  out[lid] = s.x;
}`;

Deno.test("groupSizes() reads threads, workgroup memory, accumulators and loads of a program", () => {
  assert.deepEqual(groupSizes(wgsl), {
    ...{ threads: 32, sharedBytes: 256, registers: 44, loadBytes: { a: 32, out: 8 } },
  });
  assert.throws(() => groupSizes("fn main() {}"), /no @workgroup_size/);
});

Deno.test("loopCost() counts a loop of unknown length once around, inner loops of known length as often as they run", () => {
  const { multiplyAdds, sharedLoads, limits, instructions } = loopCost(wgsl);
  assert.equal(multiplyAdds, 8 * 4);
  assert.equal(sharedLoads, 8);
  assert.equal(limits, 8 + 1); // one for each index into the workgroup memory
  assert.ok(instructions > 8 * (4 + 1) + limits && instructions < 8 * 30, `${instructions}`);
  assert.throws(() => loopCost("@compute @workgroup_size(1) fn main() {}"), /no loop of multiply-adds/);
});

Deno.test("counts: a pass of RAR-B", async () => {
  const { dispatches, buffersMade, bindGroupsMade, flop, wgsl } = await count("rarb same condition, batch 8");
  assert.ok(dispatches <= 440, `${dispatches} dispatches`);
  assert.deepEqual([buffersMade, bindGroupsMade], [0, 0]);
  assert.equal(flop, 8 * rarFlops(rarVariants[0].config).image);
  for (const [name, text] of wgsl) {
    if (!/^matmul:(128x128|128x64|160x64|64x64),/.test(name)) continue;
    const tile = loopCost(text);
    assert.ok(tile.instructions <= 1.5 * tile.multiplyAdds, `${name}: ${tile.instructions} for ${tile.multiplyAdds}`);
    assert.ok(64 * tile.sharedLoads <= 4 * tile.multiplyAdds, `${name}: ${tile.sharedLoads}`);
  }
});

Deno.test("counts: in every pass of every network products fill the card, compute little beside what is wanted, and no buffer is made", async () => {
  const { passes } = await countAll("");
  for (const { name, tileOverReal, scheduleEfficiency, buffersMade } of passes) {
    assert.ok(tileOverReal <= 1.1, `${name}: tiles compute ${tileOverReal} of what is wanted`);
    assert.ok(scheduleEfficiency >= 0.9, `${name}: ${scheduleEfficiency} of the card's speed`);
    assert.equal(buffersMade, 0, name);
  }
  const named = (text: string) => passes.filter(({ name }) => name.includes(text)).length;
  for (const { label } of families.flatMap(({ officialVariants }) => officialVariants)) {
    assert.ok(named(`${label} same condition`) >= 1, label);
  }
  assert.deepEqual([named("encoder"), named("decoder"), named("rarb step"), named("training step")], [4, 4, 1, 4]);
  const scoring = passes.find(({ name }) => name === "var16 scoring, 16 images, two conditions")!;
  assert.ok(scoring.dispatches <= 1200, `${scoring.dispatches} dispatches`);
});

Deno.test("counts: blocks of attention read their keys and values for several products each", async () => {
  const { wgsl, dispatches } = await count("rarb step, 8 images with guidance");
  assert.ok(dispatches <= 345, `${dispatches} dispatches`);
  assert.ok([...wgsl.keys()].some((name) => name.startsWith("attention:step,")));
  const { wgsl: pass } = await count("var16 same condition, batch 4");
  const { sharedLoads, multiplyAdds } = loopCost(pass.get("attention:block,64")!);
  assert.ok(64 * sharedLoads <= 4.5 * multiplyAdds, `${sharedLoads} loads for ${multiplyAdds} multiply-adds`);
});

Deno.test("attentionTileOf() pads rows and keys to blocks, and goes on to the last key that a row of a block sees", () => {
  const program = { kernel: "attention", variant: "block,64", build: () => assert.fail() };
  const sizes = { batch: 2, heads: 3, headDim: 64, lq: 40, lk: 40 } as Kernels["attention"];
  const flopOf = (pairs: number) => 2 * 3 * 4 * pairs * 64;
  assert.equal(attentionTileOf(program, sizes, undefined)!.flop, flopOf(64 * 64));
  const causal = Array.from({ length: 40 }, (_, i) => i + 1);
  const { flop, rate } = attentionTileOf(program, sizes, causal)!;
  assert.equal(flop, flopOf(32 * 32 + 32 * 64));
  assert.ok(rate > tileRate(4, 8) && rate < tileRate(4, 16));
  assert.equal(attentionTileOf({ ...program, variant: "step,64" }, sizes, causal), undefined);
});
