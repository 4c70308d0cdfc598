import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { type FormFile, maxOtherParts, splitForm } from "../../../attribution/service/multipart.ts";

const encoder = new TextEncoder();
const type = "multipart/form-data; boundary=b";

function split(body: string | Uint8Array<ArrayBuffer>, contentType = type): Promise<FormFile[]> {
  return splitForm(contentType, typeof body === "string" ? encoder.encode(body) : body, 16);
}

function part(disposition: string, content = ""): string {
  return `--b\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${content}\r\n`;
}

Deno.test("splitForm() gives the files that a form is made of", async () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.array(fc.constantFrom("\r\n", "--", "-", "b", "\r", "\n"), { maxLength: 50 }).map((words) =>
      encoder.encode(words.join(""))
    ),
  );
  const name = fc.constantFrom("a.png", "bild ü.jpg", "日本.webp", "x".repeat(255), "a;b=c.png", "");
  const file = fc.tuple(name, content).map(([name, bytes]) => ({ name, bytes: Uint8Array.from(bytes) }));
  await fc.assert(
    fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 5 }), async (files) => {
      const form = new FormData();
      form.append("note", "no file");
      for (const { name, bytes } of files) form.append("image", new File([bytes], name));
      const encoded = new Response(form);
      const body = new Uint8Array(await encoded.arrayBuffer());
      assert.deepEqual(await split(body, encoded.headers.get("content-type")!), files);
    }),
    { numRuns: 200 },
  );
});

Deno.test("splitForm() finds a boundary wherever it lies in a large body", async () => {
  const ending = "--b--\r\n", head = part('name="x"; filename="a"').slice(0, -2);
  for (let length = 2 ** 18 - 12; length < 2 ** 18 + 12; length++) {
    const [{ bytes }] = await split(head + "-".repeat(length) + "\r\n" + ending);
    assert.equal(bytes.length, length);
  }
  const [file] = await split("preamble\r\n" + part('name="x"; filename="a"', "content") + ending + "epilogue");
  assert.deepEqual(file, { name: "a", bytes: encoder.encode("content") });
});

Deno.test("splitForm() keeps names as clients write them, and shortens them", async () => {
  const names = [
    ['filename="../../etc/passwd"', "../../etc/passwd"],
    ['filename=""', ""],
    ["filename=plain.png", "plain.png"],
    ['filename="a\\"b.png"', 'a"b.png'],
    ['FileName="A.png"', "A.png"],
    [`filename="${"x".repeat(300)}"`, "x".repeat(255)],
  ];
  for (const [written, name] of names) {
    const files = await split(part(`name="x"; ${written}`, "content") + "--b--\r\n");
    assert.deepEqual(files, [{ name, bytes: encoder.encode("content") }]);
  }
});

Deno.test("splitForm() takes as many files and other parts as are allowed, and not one more", async () => {
  const image = part('name="x"; filename="a"', "content"), other = part('name="y"', "z".repeat(1000));
  const end = "--b--\r\n";
  assert.equal((await split(image.repeat(16) + other.repeat(maxOtherParts) + end)).length, 16);
  const tooMany = (code: string) => ({ name: "HttpError", status: 413, code });
  await assert.rejects(split(image.repeat(17) + end), tooMany("too-many-images"));
  await assert.rejects(split(image + other.repeat(maxOtherParts + 1) + end), tooMany("too-many-parts"));
  const nameless = "--b\r\nX: y\r\n\r\n\r\n";
  await assert.rejects(split(image + nameless.repeat(maxOtherParts + 17) + end), tooMany("too-many-parts"));
  await assert.rejects(split(other + end), { name: "HttpError", status: 400, code: "no-images" });
});

Deno.test("splitForm() reads no further than the limit of parts, and lets others have their turn", async () => {
  const bodies: Record<string, [string, number]> = {
    "files": [part('name="x"; filename="a"').repeat(400_000), 413],
    "fields": [part('name="x"').repeat(600_000), 413],
    "parts without headers": ["--b\r\n\r\n\r\n".repeat(3_000_000), 413],
    "a header without an end": ["--b\r\n" + "X: y\r\n".repeat(5_000_000), 400],
    "a name without an end": [part(`name="x"; filename="${"a".repeat(30_000_000)}"`), 400],
    "delimiters that are none": [part('name="x"; filename="a"') + "\r\n--b?".repeat(4_000_000), 400],
  };
  for (const [what, [body, status]] of Object.entries(bodies)) {
    await assert.rejects(split(encoder.encode(body)), { name: "HttpError", status }, what);
  }
  let turns = 0;
  const timer = setInterval(() => turns++);
  const [{ bytes }] = await split(part('name="x"; filename="a"', "\r\n--a".repeat(4_000_000)) + "--b--\r\n");
  clearInterval(timer);
  assert.equal(bytes.length, 20_000_000);
  assert.ok(turns > 20, `${turns} turns`);
});

Deno.test("splitForm() refuses what is no form, and ends for every cut of one", async () => {
  const malformed = { name: "HttpError", status: 400, code: "malformed-multipart" };
  const form = part('name="y"', "z") + part('name="x"; filename="a"', "content") + "--b--\r\n";
  for (let cut = 0; cut < form.length - "--\r\n".length; cut++) {
    await assert.rejects(split(form.slice(0, cut)), malformed, `cut at ${cut}`);
  }
  await assert.rejects(split(form, "multipart/form-data"), malformed);
  await assert.rejects(split(form, `multipart/form-data; boundary=${"b".repeat(300)}`), malformed);
  await assert.rejects(split("no parts"), malformed);
  await assert.rejects(split(""), malformed);
  await assert.rejects(split("--b--"), { name: "HttpError", status: 400, code: "no-images" });
});
