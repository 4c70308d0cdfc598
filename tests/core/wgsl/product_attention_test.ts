/** Attention by products in parts: of images, and of query rows where one image is too much, as one part has it. */
import assert from "node:assert/strict";
import type { Kernels } from "../../../core/tensor/mod.ts";
import { uniforms } from "../../../core/tensor/mod.ts";
import { attentionByProducts } from "../../../core/wgsl/kernels/product_attention.ts";
import type { WebGpuDevice } from "../../../core/wgsl/mod.ts";
import { openWebGpuForTests } from "../devices.ts";

Deno.test("attentionByProducts() in parts gives what it gives at once", async () => {
  const device = await openWebGpuForTests({ tiles: "hardware" }) as WebGpuDevice;
  for (const [heads, spare] of [[2, 3], [1, 0]]) {
    const sizes = { batch: 3, heads, headDim: 20, lq: 9, lk: 7, kvCapacity: 7 + spare, scale: 0.5 };
    const width = heads * sizes.headDim, n = sizes.batch * sizes.lq * width;
    const storage = (stream: number, rows: number) => {
      const values = Float32Array.from(uniforms(1, stream, sizes.batch * rows * width), (u) => 2 * u - 1);
      const made = device.alloc(values.byteLength);
      device.write(made, values);
      return made;
    };
    const visible = device.alloc(4 * sizes.lq);
    device.write(visible, Int32Array.from({ length: sizes.lq }, (_, i) => 1 + i % sizes.lk));
    const args = { q: storage(1, 9), k: storage(2, 7 + spare), v: storage(3, 7 + spare), visible, ...sizes };
    const run = async (most?: number) => {
      const out = device.alloc(4 * n);
      attentionByProducts(device, { ...args, out } as Kernels["attention"], most);
      return new Float32Array(await device.read(out, 4 * n));
    };
    const whole = await run();
    const image = 4 * heads * sizes.lq * sizes.lk;
    // Two images and one; one image after the other; four rows of an image.
    for (const most of [2 * image, image, 4 * heads * sizes.lk * 4]) {
      const parts = await run(most);
      const worst = Math.max(...parts.map((value, i) => Math.abs(value - whole[i])));
      assert.ok(worst < 1e-6, `${heads} heads, ${most} bytes: ${worst}`);
    }
    assert.ok(whole.some((value) => Math.abs(value) > 0.1));
  }
  device.close();
});
