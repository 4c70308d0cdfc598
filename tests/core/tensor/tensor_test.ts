/** Tensors: creation, reading back, reshape, disposal, scopes. */
import assert from "node:assert/strict";
import {
  add,
  affine,
  arange,
  cast,
  clone,
  type Device,
  disposeAll,
  fromArray,
  full,
  keep,
  randomNormal,
  randomUniform,
  scope,
  type Tensor,
  uniforms,
  zeros,
} from "../../../core/tensor/mod.ts";
import { openCpuForTests, withDevices } from "../devices.ts";

/** Runs `body` and asserts that it left no storage behind. */
function withoutLeak(name: string, body: (device: Device) => void | Promise<void>): void {
  withDevices(name, async (device) => {
    const before = device.memory();
    await body(device);
    const after = device.memory();
    assert.equal(after.liveCount, before.liveCount, "number of live storages");
    assert.equal(after.liveBytes, before.liveBytes, "live bytes");
  });
}

withoutLeak("fromArray() takes its type from the array and reads back the same", async (device) => {
  using f = fromArray(device, Float32Array.of(1, -2.5, 3), [3]);
  using list = fromArray(device, [1, 2, 3, 4], [2, 2]);
  using ints = fromArray(device, [1, 2, 3], [3, 1], "i32");
  using u = fromArray(device, Uint32Array.of(5, 7), [2]);
  using half = fromArray(device, new Uint16Array(Float16Array.of(1.5, -2, 4).buffer), [3]);
  assert.equal(f.dtype, "f32");
  assert.deepEqual(await f.data(), Float32Array.of(1, -2.5, 3));
  assert.deepEqual(list.shape, [2, 2]);
  assert.deepEqual(await list.data(), Float32Array.of(1, 2, 3, 4));
  assert.equal(ints.dtype, "i32");
  assert.deepEqual(await ints.ints(), Int32Array.of(1, 2, 3));
  assert.equal(u.dtype, "u32");
  assert.deepEqual([...await u.ints()], [5, 7]);
  assert.equal(half.dtype, "f16");
  using back = cast(half, "f32");
  assert.deepEqual(await back.data(), Float32Array.of(1.5, -2, 4));
});

withoutLeak("fromArray() refuses data that does not fit the shape or type", (device) => {
  assert.throws(
    () => fromArray(device, [1, 2, 3], [2, 2]),
    /^TypeError: fromArray: shape \[2, 2\] needs 4 elements, got 3$/,
  );
  assert.throws(
    () => fromArray(device, Float32Array.of(1), [1], "i32"),
    /^TypeError: fromArray: expected data for i32, got Float32Array$/,
  );
});

withoutLeak("full(), zeros() and arange() fill tensors of every type they promise", async (device) => {
  using a = full(device, [2, 3], -1.5);
  using b = zeros(device, [4]);
  using c = full(device, [3], -7, "i32");
  using d = arange(device, 5);
  using e = full(device, [], 2);
  assert.deepEqual(await a.data(), new Float32Array(6).fill(-1.5));
  assert.deepEqual(await b.data(), new Float32Array(4));
  assert.deepEqual(await c.ints(), Int32Array.of(-7, -7, -7));
  assert.deepEqual(await d.ints(), Int32Array.of(0, 1, 2, 3, 4));
  assert.equal(await e.item(), 2);
});

withoutLeak("full() of f16 fills or refuses, and never writes past its memory", async (device) => {
  let tensor: Tensor;
  try {
    tensor = full(device, [5], 1.5, "f16");
  } catch (error) {
    assert.match((error as Error).message, /f16/);
    return;
  }
  using back = cast(tensor, "f32");
  assert.deepEqual(await back.data(), new Float32Array(5).fill(1.5));
  tensor.dispose();
});

withoutLeak("randomUniform() and randomNormal() are the same numbers on every device", async (device) => {
  using u = randomUniform(device, [3, 5], 11, 2);
  assert.deepEqual(await u.data(), uniforms(11, 2, 15));
  using z = randomNormal(device, [4], 11);
  assert.ok((await z.data()).every(Number.isFinite));
});

withoutLeak("data(), ints() and item() refuse other types and sizes", async (device) => {
  using f = zeros(device, [2]);
  using i = arange(device, 2);
  await assert.rejects(() => i.data(), /^TypeError: data: expected f32, got i32 \[2\]$/);
  await assert.rejects(() => f.ints(), /^TypeError: ints: expected i32 or u32, got f32 \[2\]$/);
  await assert.rejects(() => f.item(), /^TypeError: item: expected one element, got shape \[2\]$/);
  using single = full(device, [1, 1], 9, "i32");
  assert.equal(await single.item(), 9);
});

withoutLeak("reshape() shares memory until the last tensor is disposed", async (device) => {
  const before = device.memory().liveCount;
  const x = fromArray(device, [1, 2, 3, 4, 5, 6], [2, 3]);
  const y = x.reshape(3, -1);
  assert.deepEqual(y.shape, [3, 2]);
  assert.equal(device.memory().liveCount, before + 1);
  x.dispose();
  assert.equal(device.memory().liveCount, before + 1);
  assert.deepEqual(await y.data(), Float32Array.of(1, 2, 3, 4, 5, 6));
  const z = y.reshape(6);
  y.dispose();
  y.dispose(); // a second time is harmless and must not count twice
  assert.deepEqual(await z.data(), Float32Array.of(1, 2, 3, 4, 5, 6));
  z.dispose();
  assert.equal(device.memory().liveCount, before);
});

withoutLeak("reshape() refuses shapes of another size", (device) => {
  using x = zeros(device, [2, 3]);
  for (const shape of [[4], [-1, 4], [-1, -1], [2.5, 2.4], [-2, -3], [-1, 0]]) {
    const message = `TypeError: reshape: [2, 3] does not fit [${shape.join(", ")}]`;
    assert.throws(() => x.reshape(...shape), (error: Error) => String(error) === message);
  }
});

withoutLeak("a disposed tensor refuses every use and names its shape", async (device) => {
  const x = zeros(device, [2, 3]);
  x.dispose();
  assert.ok(x.disposed);
  const used = /^Error: tensor \[2, 3\] was used after it was disposed$/;
  assert.throws(() => affine(x, 2), used);
  assert.throws(() => x.reshape(6), used);
  await assert.rejects(() => x.data(), used);
});

withDevices("operands of two devices are refused", async (device) => {
  const other = await openCpuForTests({ threads: 1 });
  try {
    using x = zeros(device, [2]);
    using y = zeros(other, [2]);
    assert.throws(() => add(x, y), /^TypeError: add: operands live on different devices$/);
  } finally {
    other.close();
  }
});

withoutLeak("scope() frees what it made except what it returns", async (device) => {
  const before = device.memory().liveCount;
  const result = scope(() => {
    const x = fromArray(device, [1, 2], [2]);
    const y = affine(x, 2);
    const z = affine(y, 10);
    return { z, list: [affine(z, 1, 1)], other: 5, map: new Map([["w", affine(z, 0)]]) };
  });
  assert.equal(device.memory().liveCount, before + 3);
  assert.deepEqual(await result.z.data(), Float32Array.of(20, 40));
  assert.deepEqual(await result.list[0].data(), Float32Array.of(21, 41));
  assert.deepEqual(await result.map.get("w")!.data(), Float32Array.of(0, 0));
  disposeAll(result);
});

withoutLeak("scope() hands its result to the enclosing scope", async (device) => {
  const before = device.memory().liveCount;
  const outer = scope(() => {
    const inner = scope(() => affine(fromArray(device, [1], [1]), 3));
    assert.equal(device.memory().liveCount, before + 1);
    return affine(inner, 2);
  });
  assert.equal(device.memory().liveCount, before + 1);
  assert.equal(await outer.item(), 6);
  outer.dispose();
});

withoutLeak("scope() frees everything when its body throws, and keeps working", async (device) => {
  const before = device.memory().liveCount;
  assert.throws(() =>
    scope(() => {
      affine(zeros(device, [4]), 2);
      scope(() => {
        zeros(device, [4]);
        throw new Error("inner");
      });
    }), /^Error: inner$/);
  assert.equal(device.memory().liveCount, before);
  using alone = full(device, [1], 4); // outside of any scope
  assert.equal(await alone.item(), 4);
});

withoutLeak("scope() refuses an async body and frees its tensors", async (device) => {
  const before = device.memory().liveCount;
  let pending: Promise<unknown> | undefined;
  assert.throws(() =>
    scope(() => {
      zeros(device, [4]);
      pending = Promise.resolve(1);
      return pending;
    }), /^TypeError: scope: the body must not be async/);
  await pending;
  assert.equal(device.memory().liveCount, before);
});

withoutLeak("scope() keeps shared memory alive through a returned reshape", async (device) => {
  const y = scope(() => fromArray(device, [1, 2, 3, 4], [4]).reshape(2, 2));
  assert.deepEqual(await y.data(), Float32Array.of(1, 2, 3, 4));
  y.dispose();
});

withoutLeak("scope() leaves tensors of its surroundings alone, also when it returns one", async (device) => {
  const x = fromArray(device, [7], [1]);
  const same = scope(() => x);
  assert.equal(same, x);
  scope(() => void affine(x, 2));
  assert.equal(await x.item(), 7);
  x.dispose();
});

withoutLeak("keep() takes tensors out of all scopes", async (device) => {
  let kept: Tensor | undefined;
  scope(() => {
    scope(() => {
      kept = keep(fromArray(device, [3], [1]));
    });
  });
  assert.equal(await kept!.item(), 3);
  kept!.dispose();
});

withoutLeak("clone() has memory of its own", async (device) => {
  const x = fromArray(device, [1, 2, 3], [3]);
  using y = clone(x);
  x.dispose();
  using z = fromArray(device, [9, 9, 9], [3]); // most likely in the memory of x
  assert.deepEqual(await y.data(), Float32Array.of(1, 2, 3));
  assert.deepEqual(await z.data(), Float32Array.of(9, 9, 9));
});
