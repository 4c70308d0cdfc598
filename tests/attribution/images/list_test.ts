import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "npm:fast-check@4.10.2";
import { listImages } from "../../../attribution/images/list.ts";
import { compareNaturally } from "../../../attribution/images/natural_order.ts";

/** Creates empty files (and their folders), runs the test with the folder's path, and removes everything. */
async function withFiles(files: string[], test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const file of files) {
      await Deno.mkdir(join(folder, file, ".."), { recursive: true });
      await Deno.writeTextFile(join(folder, file), "");
    }
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const namesOf = async (...inputs: string[]) => (await listImages(inputs)).map((image) => image.imageName);

Deno.test("listImages() lists a folder in natural order: img2 before img10", async () => {
  await withFiles(["img10.png", "img2.png", "img1.jpg", "Img3.webp", "a.png"], async (folder) => {
    assert.deepEqual(await listImages([folder]), [
      { path: join(folder, "Img3.webp"), imageName: "Img3.webp" },
      { path: join(folder, "a.png"), imageName: "a.png" },
      { path: join(folder, "img1.jpg"), imageName: "img1.jpg" },
      { path: join(folder, "img2.png"), imageName: "img2.png" },
      { path: join(folder, "img10.png"), imageName: "img10.png" },
    ]);
  });
});

Deno.test("listImages() names images below a folder by their relative path and gives their label folder", async () => {
  await withFiles(["var16/2.png", "rarb/10.png", "rarb/9.png", "0.png", "x/outlier/1.png"], async (folder) => {
    const images = await listImages([folder]);
    assert.deepEqual(images.map(({ imageName, labelFolder }) => [imageName, labelFolder]), [
      ["0.png", undefined],
      ["rarb/9.png", "rarb"],
      ["rarb/10.png", "rarb"],
      ["var16/2.png", "var16"],
      ["x/outlier/1.png", "outlier"],
    ]);
    assert.equal(images[1].path, join(folder, "rarb", "9.png"));
  });
});

Deno.test("listImages() keeps files without a known extension, and leaves out hidden files and sidecars", async () => {
  const files = [
    "photo",
    "scan.tiff",
    "notes.txt",
    "labels.CSV",
    ".hidden.png",
    ".git/x.png",
    "1.png",
    "1.json",
    "0_target.pt",
  ];
  await withFiles(files, async (folder) => {
    assert.deepEqual(await namesOf(folder), ["1.png", "photo", "scan.tiff"]);
  });
});

Deno.test("listImages() takes a file that is named directly, whatever it is called, by its base name", async () => {
  await withFiles(["b/notes.txt", "a/2.png", ".hidden.png"], async (folder) => {
    const inputs = [join(folder, "b/notes.txt"), join(folder, "a/2.png"), join(folder, ".hidden.png")];
    assert.deepEqual(await namesOf(...inputs), [".hidden.png", "2.png", "notes.txt"]);
  });
});

Deno.test("listImages() lists a file once that several inputs reach", async () => {
  await withFiles(["a/1.png", "a/2.png"], async (folder) => {
    assert.deepEqual(await namesOf(join(folder, "a"), join(folder, "a", "2.png"), folder + "/a/."), ["1.png", "2.png"]);
  });
});

Deno.test("listImages() refuses two files that the results could not tell apart", async () => {
  await withFiles(["a/1.png", "b/1.png"], async (folder) => {
    await assert.rejects(
      listImages([join(folder, "a"), join(folder, "b")]),
      /a\/1\.png and .*b\/1\.png would both be called 1\.png in the results: name a folder that contains both/,
    );
    assert.deepEqual(await namesOf(folder), ["a/1.png", "b/1.png"]);
  });
});

Deno.test("listImages() refuses a path that does not exist, no input, and folders without images", async () => {
  await withFiles(["full/x.png", "texts/readme.md", "texts/.x"], async (folder) => {
    await Deno.mkdir(join(folder, "empty/deep"), { recursive: true });
    await assert.rejects(listImages([]), /no input: expected image files, or folders/);
    await assert.rejects(
      listImages([join(folder, "full"), join(folder, "missing")]),
      /missing: expected an image file or a folder, found nothing at this path/,
    );
    await assert.rejects(
      listImages([join(folder, "empty")]),
      /empty: expected PNG, JPEG or WebP files in this folder or below it, got an empty folder/,
    );
    await assert.rejects(listImages([join(folder, "texts")]), /got 2 hidden or other files/);
  });
});

Deno.test("listImages() says of a folder without images that its archive must be unpacked", async () => {
  await withFiles(["below/photos.zip", "notes.txt"], async (folder) => {
    await assert.rejects(listImages([folder]), /got 2 hidden or other files; unpack below\/photos\.zip first$/);
  });
});

Deno.test("listImages() treats a folder that is called like an image as a folder", async () => {
  await withFiles(["x.png/1.png"], async (folder) => {
    assert.deepEqual(await namesOf(folder), ["x.png/1.png"]);
    assert.deepEqual(await namesOf(join(folder, "x.png")), ["1.png"]);
  });
});

Deno.test("listImages() follows links, survives a cycle of them, and keeps a broken one", async () => {
  await withFiles(["a/1.png", "elsewhere/5.png"], async (folder) => {
    const a = join(folder, "a");
    await Deno.symlink(a, join(a, "self"));
    await Deno.symlink(join(folder, "elsewhere"), join(a, "link"));
    await Deno.symlink(join(folder, "gone.png"), join(a, "broken.png"));
    assert.deepEqual(await namesOf(a), ["1.png", "broken.png", "link/5.png"]);
  });
});

Deno.test("compareNaturally() orders numbers by value, at any length", () => {
  const sorted = ["", "a", "a/z", "a0", "a00", "a1", "a01", "a2", "a10", "a10b2", "a10b10", "a99999999999999999998"];
  sorted.push("a99999999999999999999", "a-b", "ab");
  // "-" sorts before digits by code unit.
  sorted.splice(3, 0, ...sorted.splice(sorted.indexOf("a-b"), 1));
  for (let i = 0; i < sorted.length; i++) {
    for (let j = 0; j < sorted.length; j++) {
      const sign = Math.sign(compareNaturally(sorted[i], sorted[j]));
      assert.equal(sign, Math.sign(i - j), `${sorted[i]} against ${sorted[j]}`);
    }
  }
});

Deno.test("compareNaturally() is a total order", () => {
  const name = fc.string({ unit: fc.constantFrom("0", "1", "9", "a", "/", "."), maxLength: 6 });
  fc.assert(
    fc.property(name, name, name, (a, b, c) => {
      assert.equal(Math.sign(compareNaturally(a, b)) + Math.sign(compareNaturally(b, a)), 0);
      assert.equal(compareNaturally(a, b) === 0, a === b);
      if (compareNaturally(a, b) < 0 && compareNaturally(b, c) < 0) assert.ok(compareNaturally(a, c) < 0);
    }),
    { numRuns: 2000 },
  );
});
