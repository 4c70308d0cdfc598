/** Tables of options: what values they give, and what they refuse. */
import assert from "node:assert/strict";
import { fromArguments, splitArguments } from "../../util/arguments.ts";
import { choice, defineOptions, listOf, readValues, real, size, whole } from "../../util/options.ts";

const options = defineOptions({
  out: { value: "FILE", required: true, help: "where results go" },
  device: { value: "NAME", type: choice(["cpu", "webgpu"]), default: "cpu", help: "where to compute" },
  count: { short: "n", value: "N", type: whole(1, 64), default: "8", help: "images" },
  topP: { value: "P", type: real(0, 1), help: "share" },
  memoryBytes: { name: "memory", value: "SIZE", type: size, env: "MEMORY", default: "4GiB", help: "limit" },
  only: { value: "LIST", type: listOf(choice(["a", "b"])), many: true, help: "these alone" },
  json: { help: "JSON" },
});

function parse(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const parts = splitArguments(args, options);
  const values = readValues(options, fromArguments(parts, (name) => env[name]));
  return { ...parts, values };
}

Deno.test("readValues() gives typed values, and defaults for what is missing", () => {
  const { values, operands, rest } = parse(["a.png", "--out", "x", "-n", "3", "--top-p=0.5", "--json", "b.png"]);
  const expected = { out: "x", device: "cpu", count: 3, topP: 0.5, memoryBytes: 2 ** 32, only: undefined, json: true };
  assert.deepEqual(values, expected);
  assert.deepEqual([operands, rest], [["a.png", "b.png"], []]);
  const usual = parse(["--out", "x"]).values;
  assert.deepEqual([usual.count, usual.topP, usual.json], [8, undefined, false]);
});

Deno.test("an option may be given more than once where its row says so; else the last one counts", () => {
  const { values } = parse(["--out", "x", "--only", "a,b", "--only", "a", "-n", "1", "-n", "2"]);
  assert.deepEqual([values.only, values.count], [[["a", "b"], ["a"]], 2]);
});

Deno.test("an option of values with commas between them adds up where it is given more than once", () => {
  const options = defineOptions({ only: { value: "NAMES", type: listOf(choice(["a", "b", "c"])), help: "" } });
  const only = (...args: string[]) => readValues(options, fromArguments(splitArguments(args, options))).only;
  assert.deepEqual(only("--only", "a,b", "--only=c"), ["a", "b", "c"]);
  assert.throws(() => only("--only", "a", "--only", "d"), { message: "--only: expected a, b or c, got d" });
});

Deno.test("an environment variable counts where the option is not given, and an empty one does not", () => {
  const memory = (args: string[], text: string) => parse(["--out", "x", ...args], { MEMORY: text }).values.memoryBytes;
  assert.deepEqual(
    [memory([], "1KiB"), memory([], ""), memory(["--memory", "2KiB"], "1KiB")],
    [1024, 2 ** 32, 2048],
  );
  assert.throws(() => memory([], "much"), { message: "MEMORY: expected a size such as 4GiB or 512MiB, got much" });
});

Deno.test("readValues() lists everything that is wrong at once", () => {
  assert.throws(() => parse(["--device", "gpu", "--count", "0", "--top-p", "2", "--only", "a,"]), {
    message: [
      "expected --out FILE (--help)",
      "--device: expected cpu or webgpu, got gpu",
      "--count: expected a whole number, from 1 to 64, got 0",
      "--top-p: expected a number, from 0 to 1, got 2",
      "--only: expected a or b, got nothing",
    ].join("\n"),
  });
});

Deno.test("splitArguments() refuses unknown options with a suggestion, missing values and values of switches", () => {
  for (
    const [args, message] of [
      [["--divice", "cpu"], "unknown option --divice; did you mean --device? (--help lists them)"],
      [["--everything"], "unknown option --everything (--help lists them)"],
      [["--out", "--json"], "--out: expects a value (--help)"],
      [["--out"], "--out: expects a value (--help)"],
      [["--json=1"], "--json: takes no value, got 1"],
    ] as const
  ) assert.throws(() => splitArguments(args, options), { message });
});

Deno.test("splitArguments() keeps the words after -- apart, whatever they look like", () => {
  const { operands, rest } = splitArguments(["a", "--json", "--", "b", "--out"], options);
  assert.deepEqual([operands, rest], [["a"], ["b", "--out"]]);
});
