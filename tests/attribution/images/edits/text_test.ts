import assert from "node:assert/strict";
import {
  drawEdits,
  drawWrongPose,
  type Edit,
  editNames,
  formatEdits,
  ladder,
  type LadderKind,
  ladderKinds,
  parseEdits,
  standardProcessing,
  standardProcessings,
  wrongPoses,
} from "../../../../attribution/images/edits/mod.ts";

Deno.test("parseEdits() reads what formatEdits() writes, for each edit and each option", () => {
  const texts: [text: string, edits: Edit[]][] = [
    ["none", []],
    ["jpeg:90", [{ name: "jpeg", quality: 90 }]],
    ["jpeg:90:444", [{ name: "jpeg", quality: 90, subsampling: "4:4:4" }]],
    ["webp:80", [{ name: "webp", quality: 80 }]],
    ["noise:2", [{ name: "noise", levels: 2, seed: 0 }]],
    ["noise:0.5:9", [{ name: "noise", levels: 0.5, seed: 9 }]],
    ["brightness:1.1,contrast:0.9,saturation:2", [
      { name: "brightness", factor: 1.1 },
      { name: "contrast", factor: 0.9 },
      { name: "saturation", factor: 2 },
    ]],
    ["palette:64", [{ name: "palette", colours: 64 }]],
    ["palette:64:dither", [{ name: "palette", colours: 64, dither: true }]],
    ["blur:0.7", [{ name: "blur", sigma: 0.7 }]],
    ["resize:4,jpeg:90", [{ name: "resize", factor: 4 }, { name: "jpeg", quality: 90 }]],
    ["resize:1.5:nearest", [{ name: "resize", factor: 1.5, filter: "nearest" }]],
    ["resizeBack:0.75", [{ name: "resizeBack", ratio: 0.75 }]],
    ["mirror,turn:90,grey", [{ name: "mirror" }, { name: "turn", degrees: 90 }, { name: "grey" }]],
    ["crop:3", [{ name: "crop", left: 3, top: 3, right: 3, bottom: 3 }]],
    ["crop:1:2:3:4", [{ name: "crop", left: 1, top: 2, right: 3, bottom: 4 }]],
    ["shift:-1:7", [{ name: "shift", x: -1, y: 7 }]],
    ["canvas:3", [{ name: "canvas", times: 3 }]],
    ["canvas:1.5:#00ff7f", [{ name: "canvas", times: 1.5, colour: "#00ff7f" }]],
    ["canvas:640x480", [{ name: "canvas", width: 640, height: 480 }]],
    ["canvas:640x480-10+20:#000000", [
      { name: "canvas", width: 640, height: 480, left: -10, top: 20, colour: "#000000" },
    ]],
  ];
  for (const [text, edits] of texts) {
    assert.deepEqual(parseEdits(text), edits);
    assert.equal(formatEdits(edits), text);
  }
  const seen = new Set(texts.flatMap(([, edits]) => edits.map(({ name }) => name)));
  assert.deepEqual(editNames.filter((name) => !seen.has(name)), []);
  assert.deepEqual(parseEdits(""), []);
  assert.deepEqual(parseEdits(" jpeg:90 , mirror "), parseEdits("jpeg:90,mirror"));
});

Deno.test("formatEdits() keeps the meaning of what parseEdits() would write shorter", () => {
  const edits: Edit[] = [
    { name: "jpeg", quality: 90, subsampling: "4:2:0" },
    { name: "resize", factor: 2, filter: "bicubic" },
    { name: "palette", colours: 8, dither: false },
    { name: "canvas", width: 9, height: 9, left: 0, top: 0 },
  ];
  assert.equal(formatEdits(edits), "jpeg:90,resize:2,palette:8,canvas:9x9+0+0");
});

Deno.test("parseEdits() refuses what it does not know, with what it knows", () => {
  const cases: [text: string, message: RegExp][] = [
    [
      "gif:3",
      /^edits: expected edits of jpeg:QUALITY\[:444\], webp:QUALITY, .*, grey, separated by commas; got "gif:3"$/,
    ],
    ["jpeg", /^edits: expected jpeg:QUALITY\[:444\], got "jpeg"$/],
    ["jpeg:ninety", /expected jpeg:QUALITY/],
    ["jpeg:0x5a", /expected jpeg:QUALITY/],
    ["jpeg:90:422", /expected jpeg:QUALITY/],
    ["jpeg:90:444:1", /expected jpeg:QUALITY/],
    ["jpeg:101", /^jpeg: expected quality as a whole number of 1 to 100, got 101$/],
    ["mirror:1", /^edits: expected mirror, got "mirror:1"$/],
    ["mirror,,grey", /got ""/],
    ["crop:1:2", /^edits: expected crop:PIXELS or crop:LEFT:TOP:RIGHT:BOTTOM, got "crop:1:2"$/],
    ["crop:-3", /^crop: expected left as a whole number of 0 to 65535, got -3$/],
    ["resize:2:cubic", /^resize: expected filter one of nearest, box, bilinear, bicubic, lanczos, got "cubic"$/],
    ["turn:45", /degrees one of 90, 180, 270/],
    ["canvas:big", /expected canvas:TIMES/],
    ["toString:1", /expected edits of/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseEdits(text), (error: Error) => {
      assert.match(error.message, message);
      return error instanceof RangeError;
    });
  }
});

Deno.test("standardProcessings has the 15 rows of the tables, with names of their own", () => {
  const texts = standardProcessings.map(({ edits }) => formatEdits(edits));
  assert.deepEqual(texts, [
    ...["none", "jpeg:95", "jpeg:90", "jpeg:75", "webp:80", "noise:2", "brightness:1.1", "palette:64", "resize:2"],
    ...["resize:4,jpeg:90", "resizeBack:0.75", "mirror", "turn:90", "crop:3", "canvas:3"],
  ]);
  assert.equal(new Set(standardProcessings.map(({ name }) => name)).size, 15);
  assert.equal(standardProcessing("canvas3").edits.length, 1);
  assert.throws(
    () => standardProcessing("jpeg"),
    /^RangeError: processing: expected one of none, jpeg95, .*, got jpeg$/,
  );
});

Deno.test("drawEdits() depends on seed and index only, and reaches each step of each kind", () => {
  const drawn = Array.from({ length: 4000 }, (_, i) => formatEdits(drawEdits(5, i)));
  assert.equal(formatEdits(drawEdits(5, 17)), drawn[17]);
  assert.notDeepEqual(Array.from({ length: 20 }, (_, i) => formatEdits(drawEdits(6, i))), drawn.slice(0, 20));
  const withoutSeed = new Set(drawn.map((text) => text.replace(/(noise:[\d.]+):\d+/, "$1")));
  const all = ladderKinds.flatMap((kind) => ladder[kind].map((edit: Edit) => formatEdits([edit])));
  assert.deepEqual(all.filter((text) => !withoutSeed.has(text)), []);
  const pairs = drawn.filter((text) => text.includes(",")).length / drawn.length;
  assert.ok(Math.abs(pairs - 0.25) < 0.03, `${pairs} are combinations`);
  const seeds = drawn.flatMap((text) => text.match(/noise:[\d.]+:(\d+)/)?.[1] ?? []);
  assert.equal(new Set(seeds).size, seeds.length, "noise differs between images");
});

Deno.test("drawEdits() of some kinds draws these only", () => {
  const names = new Set(
    Array.from({ length: 200 }, (_, i) => drawEdits(1, i, { kinds: ["jpeg", "blur"], combined: 0.5 }))
      .flatMap((edits) => edits.map(({ name }) => name)),
  );
  assert.deepEqual([...names].sort(), ["blur", "jpeg"]);
  assert.ok(
    Array.from({ length: 200 }, (_, i) => drawEdits(1, i, { combined: 0 })).every(({ length }) => length === 1),
  );
  assert.throws(
    () => drawEdits(1, -1),
    /^RangeError: drawEdits: expected index as a whole number of at least 0, got -1$/,
  );
  assert.throws(() => drawEdits(1, 1, { kinds: ["gif" as LadderKind] }), /expected kinds of jpeg, .*, got gif/);
  assert.throws(() => drawEdits(1, 1, { kinds: [] }), /got none/);
});

Deno.test("wrong poses are seven turns and mirrors, and shifts off each even grid", () => {
  const texts = wrongPoses.map(formatEdits);
  assert.equal(new Set(texts).size, texts.length);
  assert.equal(texts.length, 7 + 15 * 15 - 7 * 7);
  const shifts = wrongPoses.slice(7).map(([edit]) => edit as Extract<Edit, { name: "shift" }>);
  assert.ok(shifts.every(({ x, y }) => (x % 2 !== 0 || y % 2 !== 0) && Math.abs(x) <= 7 && Math.abs(y) <= 7));
  const drawn = Array.from({ length: 3000 }, (_, i) => formatEdits(drawWrongPose(3, i)));
  assert.deepEqual(texts.slice(0, 7).filter((text) => !drawn.includes(text)), []);
  const shifted = drawn.filter((text) => text.includes("shift")).length / drawn.length;
  assert.ok(Math.abs(shifted - 2 / 3) < 0.04, `${shifted} are shifted`);
  assert.equal(formatEdits(drawWrongPose(3, 8)), drawn[8]);
});
