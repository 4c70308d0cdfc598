/** Names of files on terminals, in CSV cells and in tables with other Unicode forms. */
import assert from "node:assert/strict";
import { explainFileError } from "../../util/file_errors.ts";
import { nameCell, NameMap, nameOfCell, printable, printableText, similarNamesNote } from "../../util/names.ts";

Deno.test("printable() shows controls as JSON does, and leaves all other characters", () => {
  const hostile = "a\x1b[2Jb\n\t\r\x07\x7f\x9b\u202egpj.exe";
  assert.equal(printable(hostile), "a\\u001b[2Jb\\n\\t\\r\\u0007\\u007f\\u009b\\u202egpj.exe");
  assert.equal(JSON.parse(`"${printable(hostile)}"`), hostile);
  for (const name of ["\u00e9.png", "e\u0301.png", "\u732b \u{1f431}.png", 'a"b\\.png']) {
    assert.equal(printable(name), name);
  }
  assert.equal(printableText("a\n\tb\x1b"), "a\n\tb\\u001b");
});

Deno.test("nameCell() gives no cell that a spreadsheet runs, and nameOfCell() gives every name back", () => {
  for (
    const name of ["=cmd|' /C calc'!A0", "+1.png", "-x.png", "@sum", "\tx", "\rx", "'=x", "''@x", "'", "'a", "a=b", ""]
  ) {
    assert.doesNotMatch(nameCell(name), /^[=+\-@\t\r]/);
    assert.equal(nameOfCell(nameCell(name)), name);
  }
  assert.deepEqual(["a.png", "'a.png"].map(nameCell), ["a.png", "'a.png"]);
});

Deno.test("a NameMap finds names in any Unicode form, exactly where several look the same", () => {
  const map = new NameMap<number>();
  map.set("e\u0301.png", 1);
  assert.equal(map.get("\u00e9.png"), 1);
  assert.equal(map.get("e.png"), undefined);
  map.set("\u00e9.png", 2);
  assert.deepEqual(["e\u0301.png", "\u00e9.png", " \u00e9.png"].map((name) => map.get(name)), [1, 2, undefined]);
  assert.equal(
    similarNamesNote("images", map.names()),
    'images: "e\\u{301}.png" and "\\u{e9}.png" differ only in their Unicode form or in blanks: tables are matched exactly',
  );
  assert.equal(similarNamesNote("images", ["a", "b"]), undefined);
});

Deno.test("explainFileError() says what to do about links in a circle and files of the system", () => {
  assert.match(
    explainFileError("Too many levels of symbolic links (os error 40): stat 'x'"),
    /^is a symbolic link that leads back to itself; name the file .*: stat 'x'$/,
  );
  assert.equal(
    explainFileError('/proc/a: Requires all access to "/proc/a", run again with the --allow-all flag'),
    '/proc/a: no right to use "/proc/a": files of the system (/proc, /sys, /dev) are kept from this program; ' +
      "copy it elsewhere",
  );
});

Deno.test("explainFileError() names the permission that is missing, and where it is given", () => {
  assert.equal(
    explainFileError('Requires read access to "/app/page/index.html", run again with the --allow-read flag'),
    'no right to read "/app/page/index.html": add it to --allow-read in the command that starts the program',
  );
  assert.equal(
    explainFileError('a: Requires env access to "PORT", run again with the --allow-env flag; b'),
    'a: no right to see the variable "PORT": add it to --allow-env in the command that starts the program; b',
  );
  assert.equal(
    explainFileError(
      'Requires read access to "/w", specify the required permissions during compilation using `deno compile --allow-read`',
    ),
    'no right to read "/w": a compiled program has the rights that it was compiled with, and reads the folder that it is ' +
      "started in",
  );
});
