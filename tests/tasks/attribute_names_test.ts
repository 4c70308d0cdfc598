/** `attribute` and names of files: hostile ones, lists of them, and tables that name them otherwise. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "npm:csv-parse@6.1.0/sync";
import { splitFileList } from "../../tasks/cli/files_from.ts";
import { readJsonLines, withFolder, writeImages } from "../attribution/files.ts";
import { standIns } from "../sets.ts";
import { resultOf, root, runTask, spawnTask } from "./processes.ts";

const small = ["--models", standIns, "--device", "cpu", "--force"];
const run = (cwd: string, ...args: string[]) => runTask("attribute", cwd, ...args, ...small);

Deno.test("attribute shows names with terminal escapes escaped, and no cell of its table is a formula", async () => {
  await withFolder(async (dir) => {
    const names = ["=cmd|' C'!A0.png", "e\x1b[31m.png", "line\nbreak.png", "-x.png"];
    await writeImages(join(dir, "in"), names.length, 32);
    for (const [i, name] of names.entries()) await Deno.rename(join(dir, "in", `${i}.png`), join(dir, "in", name));
    await Deno.writeTextFile(join(dir, "in", "bad\x1b]0;x\x07.png"), "not an image");
    const { code, stdout, stderr } = await run(dir, "in", "--report", "report");
    assert.equal(code, 2, stderr);
    // deno-lint-ignore no-control-regex -- what must not be there
    assert.doesNotMatch(stdout + stderr, /[\x00-\x09\x0b-\x1f\x7f]/);
    assert.match(stdout, /^e\\u001b\[31m\.png /m);
    assert.match(stdout, /^line\\nbreak\.png /m);
    assert.match(stderr, /unreadable: bad\\u001b\]0;x\\u0007\.png: /);
    const table = parse(await Deno.readTextFile(join(dir, "submission.csv")), { columns: true }) as {
      image_name: string;
    }[];
    assert.ok(table.every(({ image_name }) => !/^[=+\-@\t\r]/.test(image_name)));
    const lines = await readJsonLines(join(dir, "report", "evidence.jsonl"));
    assert.deepEqual(lines.map(({ image }) => image).sort(), [...names, "bad\x1b]0;x\x07.png"].sort());

    // Every line says what it was made with; the images' table of verdicts is a table of labels of the same images.
    const { version } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
    for (const line of lines) {
      assert.equal(line.version, version);
      assert.match(line.commit ?? "0".repeat(40), /^[0-9a-f]{40}/);
      assert.match(line.calibration, /^[0-9a-f]{64}$/);
      assert.deepEqual([line.settings, line.modelSet], [lines[0].settings, lines[0].modelSet]);
    }
    const own = await Deno.readTextFile(join(dir, "submission.csv"));
    await Deno.writeTextFile(
      join(dir, "own.csv"),
      own.split("\n").filter((row) => !row.endsWith(",unreadable")).join("\n"),
    );
    const again = await run(dir, "in", "--labels", "own.csv", "--report", "report");
    assert.match(again.stdout, /\n4 of 4 right \(100\.0 %\); 1 have no row in the table\n$/, again.stderr);
  });
});

Deno.test("attribute finds images in other Unicode forms, and says when two names look the same", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 2, 32);
    await Deno.rename(join(dir, "in", "0.png"), join(dir, "in", "e\u0301.png"));
    await Deno.writeTextFile(join(dir, "labels.csv"), "image_name,label\n\u00e9.png,rarb\n");
    const found = await run(dir, "in", "--labels", "labels.csv", "--report", "report");
    assert.equal(found.code, 0, found.stderr);
    assert.match(found.stdout, /\d of 1 right .*; 1 have no row in the table\n$/);
    await Deno.rename(join(dir, "in", "1.png"), join(dir, "in", "\u00e9.png"));
    const twins = await run(dir, "in", "--report", "report");
    assert.match(twins.stderr, /images: ".*\.png" and ".*\.png" differ only in their Unicode form or in blanks/);
    await Deno.writeTextFile(join(dir, "labels.csv"), "image_name,label\nother.png,rarb\n");
    const none = await run(dir, "in", "--labels", "labels.csv");
    assert.equal(none.code, 1);
    assert.match(
      none.stderr,
      /--labels labels\.csv: has no row for any of the 2 images: .*, got names such as other\.png\n$/,
    );
  });
});

Deno.test("attribute --files-from takes paths with NUL or line ends between them, also from standard input", async () => {
  assert.deepEqual(splitFileList(" a b.png\r\nc.png\n\n"), [" a b.png", "c.png"]);
  assert.deepEqual(splitFileList("a\nb.png\0c \0"), ["a\nb.png", "c "]);
  await withFolder(async (dir) => {
    await writeImages(join(dir, "in"), 2, 32);
    await Deno.rename(join(dir, "in", "1.png"), join(dir, "in", "a\nb.png"));
    await Deno.writeTextFile(join(dir, "list"), "in/0.png\n");
    const one = await run(dir, "--files-from", "list");
    assert.equal(one.code, 0, one.stderr);
    assert.match(one.stdout, /^image .*\nin\/0\.png .*\n$/);
    await Deno.writeTextFile(join(dir, "list"), "in/0.png\0in/a\nb.png\0");
    const two = await run(dir, "--files-from", "list");
    assert.match(two.stdout, /^image .*\nin\/0\.png .*\nin\/a\\nb\.png .*\n$/, two.stderr);
    await writeImages(join(dir, "other"), 1, 32);
    await Deno.writeTextFile(join(dir, "list"), "./other/0.png\nin/0.png\nother\n");
    await Deno.writeTextFile(join(dir, "labels.csv"), "image_name,label\nother/0.png,rarb\n");
    const same = await run(dir, "--files-from", "list", "--labels", "labels.csv");
    assert.match(same.stdout, /^image .*\nin\/0\.png .*\nother\/0\.png .*\n\n/, same.stderr);
    assert.match(same.stdout, /of 1 right .*; 1 have no row in the table\n$/);
    await Deno.writeTextFile(join(dir, "list"), "\n");
    const empty = await run(dir, "--files-from", "list");
    assert.deepEqual([empty.code, empty.stdout], [1, ""]);
    assert.match(empty.stderr, /--files-from list: expected a path per line, or with NUL after each, got none\n$/);
    const process = await spawnTask("attribute", dir, ["--files-from", "-", ...small], {}, "piped");
    const writer = process.stdin.getWriter();
    await writer.write(new TextEncoder().encode("in/a\nb.png\0"));
    await writer.close();
    const piped = await resultOf(process);
    assert.match(piped.stdout, /^image .*\nin\/a\\nb\.png .*\n$/, piped.stderr);
  });
});

Deno.test("attribute without an image that can be read ends with exit code 3", async () => {
  await withFolder(async (dir) => {
    await Deno.mkdir(join(dir, "in"));
    await Deno.writeTextFile(join(dir, "in", "0.png"), "not an image");
    await Deno.symlink("loop.png", join(dir, "in", "loop.png"));
    const { code, stderr } = await run(dir, "in");
    assert.equal(code, 3, stderr);
    assert.match(stderr, /unreadable: loop\.png: is a symbolic link that leads back to itself; /);
    const named = await run(dir, "in/loop.png");
    assert.equal(named.code, 1);
    assert.match(named.stderr, /in\/loop\.png: is a symbolic link that leads back to itself; name the file/);
    const system = await run(dir, "/proc/version");
    assert.equal(system.code, 1);
    assert.match(system.stderr, /\/proc\/version: no right to use .*copy it elsewhere\n$/);
    assert.doesNotMatch(system.stderr, /--allow/);
    const dashed = await run(dir, "-x.png");
    assert.equal(dashed.code, 1);
    assert.match(dashed.stderr, /unknown option -x\.png .*; a file of this name is given as \.\/-x\.png\n$/);
  });
});

Deno.test("attribute without inputs takes Dataset/test in the working folder, and says so", async () => {
  await withFolder(async (dir) => {
    await writeImages(join(dir, "Dataset", "test"), 1, 32);
    const { code, stdout, stderr } = await run(dir);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^attribute: no images were named: using Dataset\/test\n/);
    assert.match(stdout, /^image .*\n0\.png /);
  });
});
