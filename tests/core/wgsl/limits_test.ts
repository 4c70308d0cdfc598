/** What WGSL programs need of an adapter: no more than WebGPU guarantees, as no more is asked for (core/wgsl/adapter.ts). */
import assert from "node:assert/strict";
import { openWebGpuDevice } from "../../../core/wgsl/mod.ts";
import { cpuOnly } from "../devices.ts";
import { allPrograms } from "./all_programs.ts";
import { guaranteed, needsOf } from "./needs.ts";

Deno.test("needsOf() reads buffers, textures, invocations and workgroup memory in a program", () => {
  const needs = needsOf(`
    @group(1) @binding(0) var<storage, read> x: array<f32>;
    @group(1) @binding(1) var<storage, read_write> out: array<vec4f>;
    @group(1) @binding(2) var t: texture_2d<f32>;
    var<workgroup> a: array<vec4f, 64>;
    var<workgroup> b: array<f32, 3>;
    var<workgroup> c: atomic<u32>;
    @compute @workgroup_size(8, 4, 2) fn main() {}`);
  assert.deepEqual(needs, { storageBuffers: 2, textures: 1, invocations: 64, workgroupBytes: 1024 + 16 + 16 });
  assert.throws(() => needsOf("var<workgroup> a: Row; @compute @workgroup_size(1) fn main() {}"), /size of Row/);
  assert.throws(() => needsOf("@compute @workgroup_size(n) fn main() {}"), /workgroup_size\(n\)/);
});

Deno.test("no program needs more buffers, threads or workgroup memory than every adapter has", () => {
  const programs = allPrograms();
  const most = { storageBuffers: 0, textures: 0, invocations: 0, workgroupBytes: 0 };
  for (const [label, text] of programs) {
    const needs = needsOf(text);
    for (const name of Object.keys(most) as (keyof typeof most)[]) {
      assert.ok(
        needs[name] <= guaranteed[name],
        `${label}: ${needs[name]} ${name}, guaranteed are ${guaranteed[name]}`,
      );
      most[name] = Math.max(most[name], needs[name]);
    }
  }
  // A walk that missed programs, or a reader that overlooked what they need, would find less.
  assert.ok(programs.size >= 400, `${programs.size} programs`);
  assert.ok(most.storageBuffers >= 6 && most.textures >= 2 && most.invocations >= 128 && most.workgroupBytes >= 4096);
});

if (!cpuOnly) {
  Deno.test("a device has the limits that every adapter has, so that a program beyond them fails everywhere", async () => {
    const device = await openWebGpuDevice({ allowSoftware: true });
    const { limits } = device.adapter.gpu;
    device.close();
    assert.deepEqual(
      [limits.maxStorageBuffersPerShaderStage, limits.maxComputeInvocationsPerWorkgroup],
      [guaranteed.storageBuffers, guaranteed.invocations],
    );
    assert.equal(limits.maxComputeWorkgroupStorageSize, guaranteed.workgroupBytes);
  });
}
