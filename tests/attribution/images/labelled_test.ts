/** Images with labels: folders, tables, and everything that can be wrong with them. */
import { officialLabels } from "../../labels.ts";
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import {
  countLabels,
  limitPerLabel,
  listLabelFolders,
  listLabelled,
  listWithTable,
  readLabels,
} from "../../../attribution/images/labelled.ts";
import { nameCell } from "../../../util/names.ts";
import { withFolder } from "../files.ts";

/** Makes empty files; nothing here opens an image. */
async function touch(dir: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await Deno.mkdir(dirname(join(dir, name)), { recursive: true });
    await Deno.writeTextFile(join(dir, name), "");
  }
}

Deno.test("listLabelFolders() labels images by their folder, and outliers by the folder below it, too", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["rarb/10.png", "rarb/2.png", "outlier/1.png", "outlier/photos/a/1.png", "var16/1.png"]);
    const found = await listLabelFolders("--val", dir, officialLabels);
    assert.deepEqual(found.map(({ imageName, label, source }) => [imageName, label, source]), [
      ["outlier/1.png", "outlier", "outlier"],
      ["outlier/photos/a/1.png", "outlier", "outlier/photos/a"],
      ["rarb/2.png", "rarb", "rarb"],
      ["rarb/10.png", "rarb", "rarb"],
      ["var16/1.png", "var16", "var16"],
    ]);
    assert.deepEqual(countLabels(found, officialLabels), { rarb: 2, var16: 1, outlier: 2 });
  });
});

Deno.test("listLabelFolders() takes the pictures that images were made from, from pictures.csv", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["outlier/1.png", "outlier/2.png", "rarb/1.png"]);
    await Deno.writeTextFile(join(dir, "pictures.csv"), "image_name,picture\noutlier/1.png,fish\noutlier/2.png,fish\n");
    const found = await listLabelFolders("--val", dir, officialLabels);
    assert.deepEqual(found.map(({ picture }) => picture), ["fish", "fish", undefined]);
    await Deno.writeTextFile(join(dir, "pictures.csv"), "image_name\noutlier/1.png\n");
    await assert.rejects(listLabelFolders("--val", dir, officialLabels), /pictures\.csv.*picture/s);
  });
});

Deno.test("listLabelled() lists several folders as one, each with a table of its own, and no name twice", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["a/rarb/1.png", "b/var16/1.png", "b/outlier/1.png", "c/1.png", "d/2.png", "d/3.png", "e/1.png"]);
    const [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map((name) => join(dir, name));
    const names = async (...args: Parameters<typeof listLabelled>) => {
      const { images, unlabelled } = await listLabelled(...args);
      return [images.map(({ imageName, label }) => `${imageName} ${label}`), unlabelled];
    };
    assert.deepEqual(await names("--val", [a, b], undefined, officialLabels), [
      ["rarb/1.png rarb", "outlier/1.png outlier", "var16/1.png var16"],
      0,
    ]);
    assert.deepEqual(await names("--val", a, undefined, officialLabels), [["rarb/1.png rarb"], 0]);
    const [first, second] = [join(dir, "1.csv"), join(dir, "2.csv")];
    await Deno.writeTextFile(first, "image_name,label\n1.png,rarl\n");
    await Deno.writeTextFile(second, "image_name,label\n3.png,outlier\n");
    assert.deepEqual(await names("--val", [c, d], [first, second], officialLabels), [
      ["1.png rarl", "3.png outlier"],
      1,
    ]);
    await assert.rejects(listLabelled("--val", [c, d], first, officialLabels), /--labels: expected a table for each/);
    await assert.rejects(
      listLabelled("--val", [c, e], [first, first], officialLabels),
      /^Error: --val: 1\.png is in two of /,
    );
  });
});

Deno.test("listLabelFolders() refuses folders that are no label and images outside of folders", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["rarb/1.png", "rarbb/1.png", "rarbb/2.png", "3.png"]);
    await assert.rejects(
      listLabelFolders("--val", dir, officialLabels),
      (error: Error) =>
        error.message.startsWith(`--val ${dir}: expected folders named rarb, rarl, `) &&
        error.message.endsWith("outlier, got 1 image outside of them, rarbb (2); did you mean rarb?"),
    );
  });
  await withFolder(async (dir) => {
    await touch(dir, ["1.png", "2.png"]);
    await assert.rejects(
      listLabelFolders("--val", dir, officialLabels),
      /got 2 images outside of them; .* give a table with --labels FILE/,
    );
  });
});

Deno.test("listLabelFolders() names what is not there, what is no folder, and what is empty", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["file.png"]);
    await Deno.mkdir(join(dir, "empty"));
    await assert.rejects(
      listLabelFolders("--train", join(dir, "no"), officialLabels),
      /--train .*no: expected a folder, found nothing/,
    );
    await assert.rejects(
      listLabelFolders("--val", join(dir, "file.png"), officialLabels),
      /expected a folder, this is a file/,
    );
    await assert.rejects(
      listLabelFolders("--val", join(dir, "empty"), officialLabels),
      /empty: expected PNG, JPEG or WebP .* an empty folder/,
    );
  });
});

Deno.test("listWithTable() takes labels and sources from a table, by path or by name", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["a/1.png", "a/2.png", "b/3.png", "b/4.png"]);
    const table = join(dir, "labels.csv");
    await Deno.writeTextFile(
      table,
      '\ufefflabel,image_name,source\nrarb,a/1.png,\n\n"outlier",3.png,photos\nvar16, 2.png ,\n',
    );
    const { images, unlabelled } = await listWithTable("--val", dir, table, officialLabels);
    assert.deepEqual(images.map(({ imageName, label, source }) => [imageName, label, source]), [
      ["a/1.png", "rarb", "rarb"],
      ["a/2.png", "var16", "var16"],
      ["b/3.png", "outlier", "photos"],
    ]);
    assert.equal(unlabelled, 1);
    assert.ok(images.every((image) => !("picture" in image)));
  });
});

Deno.test("listWithTable() takes the pictures that images were made from, where the table names them", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["1.png", "2.png"]);
    const table = join(dir, "labels.csv");
    await Deno.writeTextFile(table, "image_name,label,picture\n1.png,outlier,p17\n2.png,rarb,\n");
    const { images } = await listWithTable("--val", dir, table, officialLabels);
    assert.deepEqual(images.map(({ picture }) => picture), ["p17", undefined]);
  });
});

Deno.test("listWithTable() says which lines of a table are wrong, and why", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["a/1.png", "b/1.png", "2.png"]);
    const table = join(dir, "labels.csv");
    const refuses = async (text: string, message: RegExp) => {
      await Deno.writeTextFile(table, text);
      await assert.rejects(listWithTable("--val", dir, table, officialLabels), message);
    };
    await refuses("image_name,label\n2.png,rar\n", /labels\.csv: line 2: label: expected one of rarb, .*, got rar$/);
    await refuses("image_name,label\n9.png,rarb\n", /line 2: no image called 9\.png in /);
    await refuses("image_name,label\n1.png,rarb\n", /line 2: 1\.png: several images are called so; give the path/);
    await refuses("image_name,label\n2.png,rarb\n2.png,rarb\n", /line 3: 2\.png: has a row already, in line 2/);
    await refuses("name,label\n2.png,rarb\n", /expected the columns image_name and label, got name, label/);
    await refuses("image_name,label\n", /expected the columns image_name and label, got no rows/);
    await refuses('image_name,label\n"2.png,rarb\n', /is not a CSV table/);
    await refuses("image_name,label\n" + "x.png,rarb\n".repeat(8), /; .* and 3 more$/);
    await assert.rejects(listWithTable("--val", dir, join(dir, "no.csv"), officialLabels), /--labels .*no\.csv: /);
  });
});

Deno.test("a table of labels that is nearly right is refused with what to do", async () => {
  await withFolder(async (dir) => {
    await touch(dir, ["1.png"]);
    const table = join(dir, "labels.csv");
    const refuses = async (text: string, message: RegExp) => {
      await Deno.writeTextFile(table, text);
      await assert.rejects(listWithTable("--val", dir, table, officialLabels), message);
      await assert.rejects(readLabels(table, officialLabels), message);
    };
    await refuses(
      "1.png,rarb\n",
      /labels\.csv: .*got 1\.png, rarb: put a first line image_name,label before the rows$/,
    );
    await refuses(
      "image_name;label\n1.png;rarb\n",
      /labels\.csv: .*separated by semicolons; save it as CSV with commas$/,
    );
    await refuses("image_name\tlabel\n1.png\trarb\n", /labels\.csv: .*separated by tabs; save it as CSV with commas$/);
    await refuses("image_name,label\n1.png,RAR-XL\n", /line 2: label: .*, got RAR-XL; did you mean rarxl\?$/);
    await refuses("image_name,label\n1.png,VAR-d16\n", /got VAR-d16; did you mean var16\?$/);
    await refuses("image_name,label\n1.png,real\n", /got real$/);
    await touch(dir, ["RAR-B/2.png"]);
    await assert.rejects(listLabelFolders("--val", dir, officialLabels), /RAR-B \(1\); did you mean rarb\?/);
  });
});

Deno.test("a table names images in any Unicode form, with their blanks, and as no spreadsheet runs them", async () => {
  await withFolder(async (dir) => {
    const names = ["e\u0301.png", " blank.png", "=1+1.png", "'=2.png", "-x.png", "@.png", "blank.png"];
    await touch(dir, names);
    const table = join(dir, "labels.csv");
    const cells = ["\u00e9.png", " blank.png", "'=1+1.png", "''=2.png", "'-x.png", "'@.png"];
    assert.deepEqual(cells.slice(1), names.slice(1, 6).map(nameCell));
    await Deno.writeTextFile(table, ["image_name,label", ...cells.map((cell) => `${cell},rarb`)].join("\n"));
    const { images } = await listWithTable("--val", dir, table, officialLabels);
    assert.deepEqual(new Set(images.map(({ imageName }) => imageName)), new Set(names.slice(0, 6)));
    const labels = await readLabels(table, officialLabels);
    assert.deepEqual(names.map((name) => labels.get(name)), Array.from({ length: 7 }, () => "rarb"));
    await Deno.writeTextFile(table, 'image_name,label\n"blank.png", "rarl"\n" blank.png",rarb\n');
    const twins = await readLabels(table, officialLabels);
    assert.deepEqual([twins.get("blank.png"), twins.get(" blank.png")], ["rarl", "rarb"]);
  });
});

Deno.test("limitPerLabel() keeps images of every label, evenly spaced", () => {
  const images = Array.from({ length: 12 }, (_, i) => ({
    path: `${i}`,
    imageName: `${i}`,
    label: i < 10 ? "rarb" as const : "outlier" as const,
    source: "",
  }));
  assert.deepEqual(limitPerLabel(images, 5).map(({ path }) => Number(path)), [0, 2, 4, 6, 8, 10, 11]);
  assert.equal(limitPerLabel(images, 100).length, 12);
});
